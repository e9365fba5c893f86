"""A dead man's switch: that nobody worked is recorded afterwards, and missed at once by somebody outside.

The live clock's ticks are the heartbeat in the store. `Lifecycle` records in the operations journal when
an Observer started and stopped, and each time in which the clock stood still. `Heartbeat` tells an address
outside that all is well, and falls silent when the loop hangs, a health check fails, or the process is gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import structlog

import observer_core
from observer_core.runtime import operate
from observer_core.runtime import settings as configured
from observer_core.runtime.gaps import BACK, KIND, Gap
from observer_core.runtime.health import Health
from observer_core.runtime.looking import Looking
from observer_core.runtime.telemetry.config import HeartbeatConfig
from observer_core.safety.clock_jump import Jump
from observer_core.safety.outbound import OutboundError, Target
from observer_core.shared.clock import SECOND, Clock, format_duration, format_time
from observer_core.shared.errors import ObserverError
from observer_core.shared.records import Note
from observer_core.storage.journals import Journals
from observer_core.storage.recovery import OPERATIONS

_CLOCK: Final = "clock.live"
_log = structlog.get_logger("observer.heartbeat")


class Lifecycle:
    """What becomes of an Observer, in its store. Safe for several processes over one store."""

    def __init__(self, journals: Journals, clock: Clock, config: HeartbeatConfig) -> None:
        self._journals, self._clock, self._config = journals, clock, config
        self._told_to_ns = 0
        self._untold: Gap | None = None
        """What could not be recorded yet: its tick stands, and the next one does not tell of it."""

    def started(self) -> Gap | None:
        """Records a start, and the time since the last tick; None where there never was one."""
        now_ns = self._clock.now_ns()
        head = self._journals.open(_CLOCK).head()
        gap = None
        if head.position:
            before = _last(self._journals)
            clean = before is not None and before.body["event"] == "stop"
            gap = Gap(head.time_ns, max(now_ns, head.time_ns), "clean" if clean else "unclean")
        body = {"event": "start", "version": observer_core.__version__, "ended": "first"}
        self._record({**body, **(gap.to_json() if gap is not None else {})}, now_ns)
        self._told_to_ns = now_ns
        if gap is not None and (gap.ended == "unclean" or gap.duration_ns > self._config.gap):
            _log.warning("started again", **_shown(gap))
        return gap

    def ticked(self, before_ns: int, now_ns: int) -> None:
        """The clock has ticked, and had ticked before: a pause in between is recorded, once."""
        from_ns = max(before_ns, self._told_to_ns)
        gap = Gap(from_ns, now_ns, "stalled") if now_ns - from_ns > self._config.gap else self._untold
        if gap is None:
            return
        self._untold = gap
        self._record({"event": "gap", **gap.to_json()}, now_ns)
        self._untold = None
        _log.warning("the clock stood still", **_shown(gap))

    def had_space(self) -> None:
        """Space is back: records that nothing was taken in since the last tick, or the start."""
        last_ns, now_ns = self._journals.open(_CLOCK).head().time_ns, self._clock.now_ns()
        last_ns = max(last_ns, self._told_to_ns)
        gap = Gap(last_ns, max(now_ns, last_ns), "full")
        self._record({"event": "gap", **gap.to_json()}, now_ns)
        self._told_to_ns = now_ns
        _log.warning("there is space again", **_shown(gap))

    def jumped(self, jump: Jump) -> None:
        """Records that the machine's clock was set, or that it slept."""
        body = {"event": "clock_jump", "at_ns": jump.at_ns, "by_ns": jump.by_ns, "asleep": jump.asleep}
        self._record(body, self._clock.now_ns())

    def stopped(self, reason: str, **figures: Any) -> None:
        """Records a stop that was meant to be; what cannot be recorded counts as none at the next start."""
        try:
            self._record({"event": "stop", "reason": reason, **figures}, self._clock.now_ns())
        except ObserverError as error:
            _log.error("the stop could not be recorded", error=str(error))

    def _record(self, body: dict[str, Any], time_ns: int) -> None:
        journal = self._journals.open(OPERATIONS, "operations")
        operate.append(journal, [Note(kind=KIND, time_ns=time_ns, body=body)])


def _last(journals: Journals) -> Note | None:
    """The newest record of a start, stop or gap."""
    journal = journals.open(OPERATIONS)
    last = journal.head().position
    found = None
    for entry in journal.scan(max(1, last - BACK), last) if last else ():
        if isinstance(entry.record, Note) and entry.record.kind == KIND:
            found = entry.record
    return found


def _shown(gap: Gap) -> dict[str, Any]:
    return {"gap": format_duration(gap.duration_ns), "since": format_time(gap.from_ns), "ended": gap.ended}


class Heartbeat:
    """Tells that the Observer is well, while it is. `told` hears what came of it.

    `ConfigError` when there is no such address. What fails is logged when it begins to, and goes no further.
    """

    def __init__(
        self, config: HeartbeatConfig, health: Health, told: Callable[[str], None] = lambda outcome: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._config, self._health, self._told = config, health, told
        self._monotonic = monotonic
        self._next = monotonic()
        self._failing = False
        self._looking = Looking("heartbeat", self.look, self._wait, first=0.1)
        self._well: Target | None = None
        self._ill: Target | None = None
        if config.url is not None:
            url = configured.secret(config.url.env)
            self._well = self._target(url)
            self._ill = self._target(_fail_at(url)) if config.tell_failure else None

    def start(self) -> None:
        """Looks by itself, in a thread of its own: nothing waits for whoever is told."""
        if self._well is not None:
            self._looking.start()

    def stop(self) -> None:
        self._looking.stop(patience=self._config.timeout / SECOND + 1)

    def look(self) -> None:
        """Tells when that is due, and only if all is well."""
        now = self._monotonic()
        if self._well is None or now < self._next:
            return
        self._next = now + self._config.every / SECOND
        well = self._health.live() and self._health.report()["status"] != "fail"
        target = self._well if well else self._ill
        if target is None or not self._health.live():  # whoever cannot be sure says nothing
            self._tell("withheld", "the Observer is not well")
        else:
            self._ping(target, "sent" if well else "told_failure")

    def _ping(self, target: Target, outcome: str) -> None:
        try:
            answer = target.ask(self._config.method, {"User-Agent": "qts-observer"})
        except OutboundError as error:
            self._tell("failed", str(error))
            return
        if 200 <= answer.status < 300:
            self._tell(outcome, None)
        else:
            self._tell("failed", f"{target} answered {answer.status}")

    def _tell(self, outcome: str, error: str | None) -> None:
        self._told(outcome)
        if error is not None and not self._failing:
            _log.warning("no heartbeat is sent", error=error)
        elif error is None and self._failing:
            _log.info("heartbeats are sent again")
        self._failing = error is not None

    def _wait(self) -> float:
        return max(0.1, self._next - self._monotonic())

    def _target(self, url: str) -> Target:
        config = self._config
        return Target.parse(
            url, timeout=config.timeout / SECOND, allow_private=config.allow_private, where="heartbeat"
        )


def _fail_at(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:  # `Target.parse` has said so already
        return url
    return urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))
