"""What a dashboard of ours is put together from, by grafana-foundation-sdk. Must not know what any panel is about."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, TypeVar

from grafana_foundation_sdk.builders import bargauge, gauge, heatmap, stat, statetimeline, timeseries
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.grafana.provisioning import DATASOURCE_UID

#: Which Prometheus is asked: a variable, so that a dashboard can be imported beside another datasource.
DATASOURCE = dashboard.DataSourceRef(type_val="prometheus", uid="${datasource}")

#: Which of its editor's forms Grafana shows for a variable's query.
LABEL_VALUES = 1

GREEN, YELLOW, ORANGE, RED, BLUE, PURPLE = "green", "yellow", "orange", "red", "blue", "purple"

Panel = TypeVar("Panel", timeseries.Panel, stat.Panel, gauge.Panel, bargauge.Panel, statetimeline.Panel, heatmap.Panel)
#: A value (percent, seconds, …) and the colour from it on; None is where it begins.
Steps = Sequence[tuple[float | None, str]]


def query(expr: str, legend: str = "") -> Dataquery:
    """A query over the time shown; `legend` names its series, labels in double braces."""
    return Dataquery().expr(expr).legend_format(legend).range().datasource(DATASOURCE)


def latest(expr: str, legend: str = "") -> Dataquery:
    """A query for this moment only."""
    return query(expr, legend).instant()


def described(panel: Panel, number: int, title: str, text: str, size: tuple[int, int]) -> Panel:
    """The panel with its id, which stays the same for ever, its words and its size: columns of 24, and rows."""
    return panel.id(number).title(title).description(text).span(size[0]).height(size[1]).datasource(DATASOURCE)


def asking(panel: Panel, *queries: Dataquery) -> Panel:
    """The panel with these queries, called A, B, … in their order."""
    for letter, each in zip(ascii_uppercase, queries, strict=False):
        panel.with_target(each.ref_id(letter))
    return panel


def thresholds(*steps: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Colours by value, in the unit of the panel."""
    return (
        builders.ThresholdsConfig()
        .mode(dashboard.ThresholdsMode.ABSOLUTE)
        .steps([dashboard.Threshold(value=value, color=color) for value, color in steps])
    )


def colored_by_threshold() -> builders.FieldColor:
    """A value takes the colour of the threshold that it reached."""
    return builders.FieldColor().mode(dashboard.FieldColorModeId.THRESHOLDS)


def named(texts: dict[str, tuple[str, str]]) -> dashboard.ValueMapping:
    """Words and colours in place of numbers."""
    return dashboard.ValueMap(
        options={
            value: dashboard.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(texts.items())
        }
    )


def lines(unit: str, *, fill: int = 10, stacked: bool = False, limits: Steps = ()) -> timeseries.Panel:
    """Values over time, from 0; `limits` are drawn as dashed lines, in the unit of the panel."""
    panel = (
        timeseries.Panel()
        .unit(unit)
        .min(0)
        .line_width(1)
        .fill_opacity(fill)
        .show_points(common.VisibilityMode.NEVER)
        .legend(legend())
        .tooltip(
            common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING)
        )
        .thresholds(thresholds(*(limits or [(None, GREEN)])))
    )
    if stacked:
        panel.stacking(common_builders.StackingConfig().group("A").mode(common.StackingMode.NORMAL))
    if limits:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
    return panel


def on_the_right(panel: timeseries.Panel, ref: str, unit: str) -> timeseries.Panel:
    """The panel with the series of one of its queries on an axis of their own, in another unit."""
    unit_of = dashboard.DynamicConfigValue("unit", unit)
    return panel.override_by_query(ref, [unit_of, dashboard.DynamicConfigValue("custom.axisPlacement", "right")])


def legend() -> common_builders.VizLegendOptions:
    """Below the panel, with what each series is now and was at most."""
    return (
        common_builders.VizLegendOptions()
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs(["lastNotNull", "max"])
    )


def number(unit: str, *steps: tuple[float | None, str], sparkline: bool = True) -> stat.Panel:
    """One large number, and its way there below it."""
    graph = common.BigValueGraphMode.AREA if sparkline else common.BigValueGraphMode.NONE
    return (
        stat.Panel()
        .unit(unit)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(graph)
        .color_scheme(colored_by_threshold())
        .thresholds(thresholds(*(steps or [(None, BLUE)])))
    )


def dials(unit: str, most: float, *steps: tuple[float | None, str]) -> gauge.Panel:
    """A dial a series, from 0 to `most`."""
    return (
        gauge.Panel()
        .unit(unit)
        .min(0)
        .max(most)
        .decimals(0)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .show_threshold_markers(True)
        .color_scheme(colored_by_threshold())
        .thresholds(thresholds(*steps))
    )


def bars(unit: str) -> bargauge.Panel:
    """A bar a series, from 0, with its value."""
    return (
        bargauge.Panel()
        .unit(unit)
        .min(0)
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(colored_by_threshold())
        .thresholds(thresholds((None, BLUE)))
    )


def states(texts: dict[str, tuple[str, str]]) -> statetimeline.Panel:
    """A bar a series, coloured by the state it was in."""
    return (
        statetimeline.Panel()
        .unit("none")
        .mappings([named(texts)])
        # not by threshold: then Grafana merges states by thresholds too, and looks at no mapping
        .color_scheme(builders.FieldColor().mode(dashboard.FieldColorModeId.FIXED))
        .thresholds(thresholds((None, GREEN)))
        .merge_values(True)
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.8)
        .line_width(0)
        .fill_opacity(70)
        .legend(common_builders.VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM))
    )


def density(unit: str) -> heatmap.Panel:
    """Where the observations of a histogram lay, over time; darker is more. `unit` is that of the buckets."""
    return (
        heatmap.Panel()
        .calculate(False)
        .unit("short")
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .scale(HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .cell_gap(1)
        .show_legend()
        .hide_from(common_builders.HideSeriesConfig().legend(False).tooltip(False).viz(False))
    )


def bucketed(expr: str) -> Dataquery:
    """A query of `queries.buckets`, for `density`."""
    return query(expr, "{{le}}").format(PromQueryFormat.HEATMAP)


class Events(dashboard.AnnotationQuery, Builder[dashboard.AnnotationQuery]):
    """An annotation from Prometheus. The SDK knows those of Grafana's own store; `more` is what Prometheus' have beside."""

    def __init__(self, *, more: dict[str, Any], **known: Any) -> None:
        super().__init__(datasource=DATASOURCE, hide=False, enable=True, **known)
        self.more = more

    def build(self) -> dashboard.AnnotationQuery:
        """Itself: it is asked like a builder."""
        return self

    def to_json(self) -> dict[str, object]:
        """As Grafana stores it, with the query in its old place and in its new one."""
        target = {"expr": self.expr, "refId": "Anno", "interval": self.more["step"]}
        return {**super().to_json(), **self.more, "target": target}


def events(name: str, color: str, expr: str, text: str, *, timed_by_value: bool = False) -> Events:
    """Marks where `expr` is above 0, or at its values (milliseconds); `text` may name labels in double braces."""
    more = {
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "job,substation_id",
        "step": "5s",
        "useValueForTime": timed_by_value,
    }
    return Events(name=name, icon_color=color, expr=expr, more=more)


def choice(name: str, label: str, text: str, asked: str, *, several: bool) -> builders.QueryVariable:
    """A variable that the user chooses from what Prometheus has; several may be chosen, at first all."""
    variable = (
        builders.QueryVariable(name)
        .label(label)
        .description(text)
        .query({"qryType": LABEL_VALUES, "query": asked, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .datasource(DATASOURCE)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.NATURAL_ASC)
    )
    if several:
        everything = dashboard.VariableOption(selected=True, text=["All"], value=["$__all"])
        variable.multi(True).include_all(True).all_value(".*").current(everything)
    return variable


def board(uid: str, title: str, text: str) -> builders.Dashboard:
    """An empty dashboard with what both have: variables, events, refresh, time."""
    standard = dashboard.VariableOption(selected=True, text="Prometheus", value=DATASOURCE_UID)
    return (
        builders.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["gridctl"])
        .editable()
        .timezone("browser")
        .refresh("5s")
        .time("now-15m", "now")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            builders.DatasourceVariable("datasource").label("Prometheus").type("prometheus").current(standard)
        )
    )


def row(made: builders.Dashboard, number: int, title: str, *panels: Builder[Any]) -> None:
    """A row of the dashboard, and the panels below it; `number` is an id, like a panel's."""
    made.with_row(builders.Row(title).id(number))
    for panel in panels:
        made.with_panel(panel)


def beside(title: str, uid: str, text: str) -> builders.DashboardLink:
    """A link to the other dashboard that keeps the time shown and what was chosen."""
    return (
        builders.DashboardLink(title)
        .type(dashboard.DashboardLinkType.LINK)
        .url(f"/d/{uid}")
        .tooltip(text)
        .icon("dashboard")
        .include_vars(True)
        .keep_time(True)
    )


def to_substation(uid: str) -> builders.DashboardLink:
    """A link from a series to the other dashboard, of its substation alone."""
    chosen = "${datasource:queryparam}&${cluster:queryparam}&var-substation=${__field.labels.substation_id}"
    address = f"/d/{uid}?{chosen}&${{__url_time_range}}"
    return builders.DashboardLink("Services of ${__field.labels.substation_id}").url(address)
