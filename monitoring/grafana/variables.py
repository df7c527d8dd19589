"""What the user of either dashboard chooses, and what is marked in both. Must not know any panel."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as builders

from monitoring.grafana.parts import ORANGE, PURPLE, RED, YELLOW, choice, events
from monitoring.grafana.queries import ALERTS, CLUSTER, FAULTS, PROCESS, RESTARTED_AT_MS, SILENT


def with_variables(made: builders.Dashboard) -> builders.Dashboard:
    """The dashboard with its variables and events."""
    return (
        made.with_variable(
            # by what every service of ours tells, and nobody else: a Prometheus may know clusters of other kinds
            choice(
                "cluster", "Cluster", "Which grid is shown.", "label_values(gridctl_build_info, cluster)", several=False
            )
        )
        .with_variable(
            choice(
                "substation",
                "Substation",
                "Which of its substations are shown; what is no substation's own is always shown.",
                f'label_values(up{{job="substation", {CLUSTER}}}, substation_id)',
                several=True,
            )
        )
        .annotation(events("Restarts", ORANGE, RESTARTED_AT_MS, PROCESS, timed_by_value=True))
        .annotation(events("Faults", YELLOW, FAULTS, PROCESS))
        .annotation(events("No answer", PURPLE, SILENT, PROCESS))
        .annotation(events("Alerts", RED, ALERTS, "{{alertname}} ({{severity}})"))
    )
