"""What the balancer believes of one substation: newest report, what was sent since, how it behaved. Time is passed in.

The estimate is `used(report) - what that report's planned ends say has ended by now + pending` (DESIGN §4). A substation
that sends no report is carried by its gauge instead: the gauge at the last poll plus own sends since, with the planned
ends of what was sent.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from functools import partial

from config.report import Report
from services.balancer import belief
from services.balancer.assumption import Assumption, Release, first_fit_s, releases_of
from services.balancer.belief import CERTAIN_S
from services.balancer.standing import Standing
from services.balancer.targets import Target
from services.routing.node import STALE, Node

#: One that owes an answer for this long (wall seconds) is asked after those that do not.
SLOW_S = 0.25
_MOST_PAST_EPOCHS = 16


class Account:
    """One substation's entry in the ledger. All times are wall seconds of one monotonic clock, passed in.

    `node` is what policies see and is kept up to date by every method; call `advance` at `due_s`, before reading it.
    `changed` is called after every change of the node or of `due_s`; `may_eject`: the fleet bears that one more is ejected;
    `pushes`: it tells this balancer at once of what ends otherwise than planned.
    """

    def __init__(
        self,
        target: Target,
        order: int,
        power_w: int,
        time_scale: float = 1.0,
        changed: Callable[[Account], None] = lambda _: None,
        may_eject: Callable[[], bool] = lambda: True,
        pushes: bool = False,
    ) -> None:
        self.target = target
        self.standing = Standing()
        self.report: Report | None = None
        self.gauge: int | None = None
        self.heard_at_s: float | None = None
        self._asked_at_s = self._believed_s = -math.inf
        self.pending: dict[str, Assumption] = {}
        self.node = Node(
            target.name, order, target.max_sessions, target.capacity_w, rank=STALE, open=not target.draining
        )
        self._changed = changed
        self._may_eject = may_eject
        self._pushes = pushes and not target.external
        self._power_w = power_w
        self._time_scale = time_scale
        self._sessions = 0
        self._load_w = 0
        self._pending_w = 0
        self._releases: list[Release] = []
        self._past_epochs: deque[int] = deque(maxlen=_MOST_PAST_EPOCHS)
        self._asked = 0
        self._slow = False
        self._recheck = self._hushed = False

    @property
    def admits(self) -> bool:
        """Whether it has a hard limit of its own (ours do), so that asking it can never overload it."""
        return self.report is not None or not self.target.external

    def redeclare(self, target: Target) -> None:
        """Takes the same substation's changed declaration; its limits count only while no report tells the truth."""
        self.target = target
        if self.report is None:
            self.node.max_sessions, self.node.capacity_w = target.max_sessions, target.capacity_w
        self._tell()

    @property
    def due_s(self) -> float:
        """When `advance` has something to do next; infinite if never."""
        if self._recheck:
            return -math.inf
        due_s = self.standing.due_s
        if self._releases and self._releases[0].at_s < due_s:
            due_s = self._releases[0].at_s
        if self.pending and not self._slow:
            due_s = min(due_s, next(iter(self.pending.values())).since_s + SLOW_S)
        return due_s

    def advance(self, now_s: float) -> None:
        """Drops what has ended by `now_s` from the estimate."""
        releases = self._releases
        self._recheck = False
        while releases and releases[0].at_s <= now_s:
            ended = heapq.heappop(releases)
            self._sessions -= ended.sessions
            self._load_w -= ended.load_w
            self._show()
        slow = bool(self.pending) and next(iter(self.pending.values())).since_s + SLOW_S <= now_s
        if self.standing.advance(now_s) or slow is not self._slow:
            self._slow = slow
            self._show()

    def assume(self, request_id: str, power_w: int, now_s: float) -> None:
        """Counts a session that is about to be sent, so that no other request believes its slot free."""
        if request_id in self.pending:
            self.forget(request_id)
        self.pending[request_id] = Assumption(power_w, now_s)
        self._pending_w += power_w
        self._asked += 1
        self._show()

    def forget(self, request_id: str) -> None:
        """Stops counting a session that was sent: it was refused, or is in a report now."""
        if (gone := self.pending.pop(request_id, None)) is not None:
            self._pending_w -= gone.power_w
            self._asked -= gone.unknown_since_s is None
            self._recheck = self._slow
            self._show()

    def doubt(self, request_id: str, now_s: float) -> None:
        """Goes on counting a session of unknown outcome, until a report asked for after `now_s` tells the truth."""
        if (assumed := self.pending.get(request_id)) is not None:
            self._asked -= assumed.unknown_since_s is None
            assumed.unknown_since_s = now_s
            self._show()

    def confirm(self, request_id: str, ends_at_s: float, now_s: float) -> None:
        """Counts an accepted session until `ends_at_s`; for a substation whose answers carry no report."""
        assumed = self.pending.get(request_id)
        self.forget(request_id)
        if assumed is None or self.report is not None or ends_at_s <= now_s:
            return
        self._sessions += 1
        self._load_w += assumed.power_w
        heapq.heappush(self._releases, Release(ends_at_s, 1, assumed.power_w, now_s))
        self._show()

    def fold(self, report: Report, asked_at_s: float, now_s: float, polled: bool = False) -> bool:
        """Takes `report`, the answer to something sent at `asked_at_s` (-inf: a push); whether it came from a new epoch.

        It was `polled`, or came with an answer. An older one by (epoch, seq) only shows that the substation lives. A new
        epoch is a restart: what was sent before is forgotten. As epochs have no order, a late report of an old one that
        was never heard passes for a restart, until something that was asked since is answered.
        """
        self.standing.answer()
        if polled:
            self.node.polled_sessions, self.node.polled_load_w = report.sessions, report.load_w
        known = self.report
        if report.epoch in self._past_epochs:
            if asked_at_s < (self.heard_at_s or 0.0):
                return False
            self._past_epochs.remove(report.epoch)  # the other one came late
        restarted = known is not None and known.epoch != report.epoch
        if known is not None and restarted:
            self._past_epochs.append(known.epoch)
            self._forget_all()
            self.standing.restart()
        held = -1 if known is None or restarted else known.seq
        if report.seq < held:
            return False
        if report.seq > held or asked_at_s > self._asked_at_s:  # what was believed to have ended may run still
            self._take(report, asked_at_s, now_s)
        self._heard(asked_at_s, now_s)
        return known is None or restarted

    def fold_gauge(self, sessions: int, asked_at_s: float, now_s: float) -> None:
        """Takes a gauge that was asked for at `asked_at_s`: it holds all own sends that were confirmed before."""
        self.standing.answer()
        self._releases = [release for release in self._releases if release.at_s > now_s]
        heapq.heapify(self._releases)
        since = sum(1 for release in self._releases if release.since_s > asked_at_s)
        foreign = max(0, sessions + since - len(self._releases))
        self.gauge = sessions
        self.node.polled_sessions, self.node.polled_load_w = sessions, sessions * self._power_w
        self._sessions = sessions + since
        self._load_w = sum(release.load_w for release in self._releases) + foreign * self._power_w
        self._heard(asked_at_s, now_s)

    def miss_poll(self) -> None:
        """A poll was not answered, or with nothing usable."""
        self.standing.miss_poll()
        self._show()

    def suspect(self, asked_at_s: float, now_s: float) -> None:
        """It did not answer, or contradicted itself: for a growing, capped time it is asked last, see `Standing.fail`."""
        self.standing.fail(asked_at_s, now_s, self.standing.ejected or self._may_eject())
        self._show()

    def trust(self) -> None:
        """It accepted a session: former failures count no more."""
        self.standing.succeed()
        self._show()

    @property
    def probed(self) -> bool:
        """Whether it is doubtful and a request asks it right now: others wait for what becomes of that."""
        return self._asked > 0 and self.standing.alone

    def is_certainly_full(self, power_w: int, least_w: int, now_s: float) -> bool:
        """Whether asking is useless (by its report, as long as that is believed, not even `least_w` fits) or, as nobody but
        this ledger limits it and `power_w` does not fit by estimate, harmful."""
        if not self.admits:
            return not self.node.fits(power_w)
        return now_s <= self.believed_s and not self._fits(least_w, self._sessions, self._load_w)

    @property
    def believed_s(self) -> float:
        """Until when its report is believed; of one in doubt, for a moment only."""
        return min(self._believed_s, (self.heard_at_s or 0.0) + CERTAIN_S) if self.standing.alone else self._believed_s

    def can_ever_fit(self, power_w: int) -> bool:
        """Whether it would take `power_w` when empty."""
        return self._fits(power_w, 0, 0)

    def fits_at_s(self, power_w: int, now_s: float, but: str = "") -> float | None:
        """When `power_w` fits if nobody else comes, by planned ends, `but` for this request; None where they do not tell."""
        asked = self.pending.get(but)
        sessions = self.node.sessions - (asked is not None)
        load_w = self.node.load_w - (0 if asked is None else asked.power_w)
        return first_fit_s(self._releases, sessions, load_w, now_s, partial(self._fits, power_w))

    @property
    def draining(self) -> bool:
        """Whether it takes no new sessions: the launcher, or its own newest report, says so."""
        return self.target.draining or (self.report is not None and self.report.draining)

    @property
    def next_end_s(self) -> float | None:
        """The earliest planned end of what runs there; None if none is known."""
        return self._releases[0].at_s if self._releases else None

    @property
    def ends(self) -> list[tuple[float, int]]:
        """The planned ends of what runs there: when, and how many sessions; in no order."""
        return [(release.at_s, release.sessions) for release in self._releases]

    @property
    def state(self) -> str:
        """`draining`, `unheard`, `stale` or `fresh`, as `GET /status` has it."""
        known = "stale" if self.standing.silent else "fresh"
        return "draining" if self.draining else "unheard" if self.heard_at_s is None else known

    def _take(self, report: Report, asked_at_s: float, now_s: float) -> None:
        self.report, self._asked_at_s = report, asked_at_s
        self._believed_s = belief.until_s(asked_at_s, now_s, self._pushes)
        # it was made then or later: ends are believed early rather than late
        made_s = asked_at_s if math.isfinite(asked_at_s) else now_s - CERTAIN_S
        self._sessions, self._load_w = report.sessions, report.load_w
        self._releases = releases_of(report.ends, made_s, self._time_scale)  # ascending, and so a heap
        self.node.max_sessions = report.max_sessions
        self.node.capacity_w = report.capacity_w

    def _heard(self, asked_at_s: float, now_s: float) -> None:
        self.heard_at_s = now_s
        doubted = list(self.pending.items()) if len(self.pending) > self._asked else ()
        for request_id, assumed in doubted:
            if assumed.unknown_since_s is not None and assumed.unknown_since_s < asked_at_s:
                self.forget(request_id)
        self._show()

    def _forget_all(self) -> None:
        self.pending.clear()
        self._pending_w = 0
        self._asked = 0
        self._recheck = self._slow

    def _fits(self, power_w: int, sessions: int, load_w: int) -> bool:
        node = self.node
        within = node.capacity_w is None or load_w + power_w <= node.capacity_w
        return within and sessions < node.max_sessions

    def hush(self) -> None:
        """What changes from now on is shown together, by `show`; nothing else may happen between."""
        self._hushed = True

    def show(self) -> None:
        """See `hush`."""
        self._hushed = False
        self._show()

    def _show(self) -> None:
        if self._hushed:
            return
        node = self.node
        node.sessions = len(self.pending) + (self._sessions if self._sessions > 0 else 0)
        node.load_w = self._pending_w + (self._load_w if self._load_w > 0 else 0)
        node.rank = self.standing.rank(self._asked, self._slow)
        self._tell()

    def _tell(self) -> None:
        self.node.open = not (self.draining or (self._asked and self.probed))
        self._changed(self)
