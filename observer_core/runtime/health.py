"""How the Observer is, as `application/health+json` (draft-inadarei-api-health-check).

| check | fails when | warns when |
|---|---|---|
| loop:heartbeat | the loop has not come round for a minute | it has not come round yet |
| source:age | a live source is down, or its data are beyond its limit | no data yet, or not configured |
| source:readable | a recording's file cannot be read | |
| stage:lag | a stage of a live domain is behind by more than its limit | it has not worked yet |
| storage:writable | a row and a blob cannot be written | |
| disk:free | less than 2 % and 200 MiB are free | less than 10 % and 1 GiB |
| chain:verified | stored records do not hash to what was committed | |
| quarantine:entries | | entries are set aside |
| recovery:cuts | | this start had to cut journals |
| backup:age | the newest is older than four times `[backup] every`, or was found damaged | twice |
| safety:mode | | safe mode: nothing is acted on |
| disk:reserve | less than `[safety] least_free` is free: nothing is taken in | |
| memory:used | | more than `[safety] most_memory`: what can be read again is dropped, then it starts anew |
| clock:jumps | | the machine's clock was set, or the machine slept, in the last ten minutes |
| clock:gaps | | nothing was observed for a while, lately (`[heartbeat]` says for how long that counts) |

The loop, the recordings and the disk are those of this process: there is none of them where
functions are called (`process=False`). Unknown is not healthy: a check that raises fails with its message.
Nothing in the report is a secret or an absolute path.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import observer_core
from observer_core.logs.redaction import without_paths
from observer_core.runtime.chain import RecentChain
from observer_core.runtime.gaps import Gaps
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import release_id
from observer_core.runtime.source_kinds import DerivedSourceConfig, PushSourceConfig, RecordingSourceConfig
from observer_core.safety.guards import SAFE_MODE
from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND, format_duration, format_time
from observer_core.storage.journal import Journal
from observer_core.storage.ports import Op
from observer_core.storage.verify import Verified

Status = Literal["pass", "warn", "fail"]
MEDIA_TYPE: Final = "application/health+json"
_WORST: Final = ("pass", "warn", "fail")
_PROBE: Final = "probe"
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds between costly checks, and what is too little or too late."""

    heartbeat_seconds: float = 60.0
    write_seconds: float = 5.0
    chain_seconds: float = 30.0
    chain_records: int = 500
    """How many of a journal's newest records are verified at least; later ones as they come."""
    warn_free: tuple[float, int] = (0.10, 1024 * _MIB)
    fail_free: tuple[float, int] = (0.02, 200 * _MIB)
    """Part of the disk and bytes; the smaller of the two counts."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One entry of a check: a component, how it is, and what was measured."""

    component: str
    status: Status
    value: Any = None
    unit: str | None = None
    output: str | None = None

    def to_json(self, time_ns: int) -> dict[str, Any]:
        entry = {
            "componentId": self.component, "status": self.status, "observedValue": self.value,
            "observedUnit": self.unit, "time": format_time(time_ns),
            "output": None if self.output is None else without_paths(self.output),
        }  # fmt: skip
        return {name: value for name, value in entry.items() if value is not None}


class Health:
    """Reports on one Observer. All methods may be called from any thread; none raises."""

    def __init__(
        self,
        observer: Observer,
        gate: Gate | None = None,
        *,
        limits: Limits = Limits(),
        process: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        disk_usage: Callable[[Path], Any] = shutil.disk_usage,
    ) -> None:
        self._observer = observer
        self._settings = observer.settings
        self._gate = gate or Gate(observer.journals, observer.settings, observer.clock)
        self._limits = limits
        self._process = process
        self._monotonic = monotonic
        self._disk_usage = disk_usage
        self._started = self._beat = monotonic()
        self._started_ns = observer.clock.now_ns()
        self._beats = 0
        self._lock = threading.Lock()
        self._kept: dict[str, tuple[float, list[Finding]]] = {}
        self._recent = RecentChain(limits.chain_records)
        self._gaps = Gaps(observer.journals)

    def beat(self) -> None:
        """The loop has come round once."""
        self._beat = self._monotonic()
        self._beats += 1

    def verified(self, results: Iterable[Verified]) -> None:
        """What a full verification in the background has found; stays until the next one."""
        self._recent.full(results)

    def live(self) -> bool:
        """Whether the loop still turns (starting counts): what `/livez` answers."""
        return not self._process or self._monotonic() - self._beat <= self._limits.heartbeat_seconds

    def ready(self) -> bool:
        """Whether the storage is open and the loop has come round: what `/readyz` answers."""
        return not self._process or self._beats > 0

    def report(self) -> dict[str, Any]:
        """All checks now. Writing and verifying are done at most every few seconds, else kept."""
        with self._lock:
            of_process = {
                "loop:heartbeat": self._heartbeat, "source:readable": self._readable, "disk:free": self._free,
                "disk:reserve": self._reserve, "memory:used": self._memory,
            }  # fmt: skip
            checks: dict[str, list[Finding]] = {
                **{name: self._asked(check) for name, check in of_process.items() if self._process},
                "source:age": self._asked(self._ages),
                "stage:lag": self._asked(self._lags),
                "storage:writable": self._now_and_then(self._limits.write_seconds, self._writable),
                "chain:verified": self._now_and_then(self._limits.chain_seconds, self._chain),
                "quarantine:entries": self._asked(self._quarantined),
                "recovery:cuts": self._asked(self._cuts),
                "backup:age": self._asked(self._backed_up),
                "clock:gaps": self._asked(self._stood_still),
                "clock:jumps": self._asked(self._jumped),
                "safety:mode": self._asked(self._safe_mode),
            }
        now_ns = self._observer.clock.now_ns()
        found = [finding.status for findings in checks.values() for finding in findings]
        return {
            "status": max(found, key=_WORST.index, default="pass"),
            "version": observer_core.__version__,
            **({"releaseId": release} if (release := release_id()) else {}),
            "description": "QTS Observer",
            "time": format_time(now_ns),
            "checks": {
                name: [finding.to_json(now_ns) for finding in findings]
                for name, findings in checks.items()
                if findings
            },
        }

    def _asked(self, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
        try:
            return list(check())
        except Exception as error:
            name = check.__name__.strip("_")
            return [Finding(name, "fail", output=f"{type(error).__name__}: {error}"[:500])]

    def _now_and_then(self, seconds: float, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
        now = self._monotonic()
        kept = self._kept.get(check.__name__)
        if kept is None or now - kept[0] >= seconds:
            kept = self._kept[check.__name__] = (now, self._asked(check))
        return kept[1]

    # ------------------------------------------------------------------ the loop and its input

    def _heartbeat(self) -> Iterator[Finding]:
        age = round(self._monotonic() - self._beat, 3)
        if not self.live():
            yield Finding("loop", "fail", age, "s", f"the loop has not come round for {age:.0f} s")
        elif not self.ready():
            yield Finding("loop", "warn", age, "s", "the loop has not come round yet")
        else:
            yield Finding("loop", "pass", age, "s")

    def _ages(self) -> Iterator[Finding]:
        settings = self._settings
        live = {
            name
            for item in settings.source
            if not isinstance(item, RecordingSourceConfig)
            for name in settings.parts_of(item.name)
        }
        for domain in self._live_domains():
            live.update(_names(self._observer.journals.names("snapshots", domain)))
        for name in sorted(live):
            item = settings.source_of(name)
            finding = self._age(name, passive=isinstance(item, PushSourceConfig | DerivedSourceConfig))
            if item is None and finding.status == "fail":
                output = f"{finding.output}; it is not configured any more"
                finding = Finding(name, "warn", finding.value, "s", output)
            yield finding

    def _age(self, name: str, *, passive: bool) -> Finding:
        head = self._observer.journals.open(f"snapshots.{name}").head()
        limit_ns = self._gate.max_age_ns(name)
        if not head.position:
            status: Status = "warn" if passive or self._just_started(limit_ns) else "fail"
            return Finding(name, status, output="no data yet")
        age_ns = self._observer.clock.now_ns() - head.time_ns
        if age_ns < -limit_ns:
            ahead = format_duration(-age_ns // SECOND * SECOND)
            output = (
                f"the newest data is {ahead} ahead of the clock, which was set back: nobody knows its age"
            )
            return Finding(name, "fail", age_ns / SECOND, "s", output)
        age_ns = max(0, age_ns)
        feed = self._observer.journals.open(f"patterns.{name}").views().get("feed", {})
        age = age_ns / SECOND
        if age_ns > limit_ns:
            output = f"the newest data is older than {format_duration(limit_ns)}"
            return Finding(name, "fail", age, "s", output)
        if feed.get("status") == "unavailable":
            return Finding(
                name, "fail", age, "s", f"does not answer: {feed.get('error') or 'no error was given'}"
            )
        return Finding(name, "pass", age, "s")

    def _readable(self) -> Iterator[Finding]:
        for item in self._settings.source:
            if isinstance(item, RecordingSourceConfig):
                paths = [self._settings.paths.root / path for path in item.paths]
                bad = [path.name for path in paths if not (path.is_file() and os.access(path, os.R_OK))]
                output = f"cannot be read: {', '.join(bad)}" if bad else None
                yield Finding(item.name, "fail" if bad else "pass", len(paths) - len(bad), "files", output)

    def _lags(self) -> Iterator[Finding]:
        journals = self._observer.journals
        for domain in self._live_domains():
            for name in _names(journals.names("snapshots", domain)):
                head = journals.open(f"snapshots.{name}").head()
                limit_ns = self._gate.max_age_ns(name)
                yield self._lag(journals.open(f"patterns.{name}"), head.time_ns, limit_ns)
                deriver = self._observer.domain(domain).deriver(name)
                if deriver is not None:
                    inputs = [journals.open(item).head().time_ns for item in deriver.spec.inputs()]
                    yield self._lag(deriver.journal, min(inputs), limit_ns)
            now_ns = self._observer.clock.now_ns()
            for stage in (f"events.{domain}", f"decisions.{domain}"):
                yield self._lag(journals.open(stage), now_ns, self._settings.max_lag)

    def _lag(self, journal: Journal, due_ns: int, limit_ns: int) -> Finding:
        through_ns = journal.head().through_ns
        if not through_ns:
            status: Status = "warn" if self._just_started(limit_ns) else "fail"
            return Finding(journal.name, status, output="nothing has been worked yet")
        lag_ns = max(0, due_ns - through_ns)
        if lag_ns > limit_ns:
            output = f"behind by more than {format_duration(limit_ns)}"
            return Finding(journal.name, "fail", lag_ns / SECOND, "s", output)
        return Finding(journal.name, "pass", lag_ns / SECOND, "s")

    def _live_domains(self) -> list[str]:
        return [name for name in self._gate.domains() if self._gate.is_live(name)]

    def _just_started(self, limit_ns: int) -> bool:
        return self._observer.clock.now_ns() - self._started_ns <= limit_ns

    # ------------------------------------------------------------------ what is stored

    def _writable(self) -> Iterator[Finding]:
        started = self._monotonic()
        storage = self._observer.storage
        value = encode({"time_ns": self._observer.clock.now_ns(), "worker": self._observer.journals.worker})
        storage.tables.commit(_PROBE, [Op("upsert", "health", value)])
        storage.blobs.put(f"{_PROBE}/health", b"This is written to see whether it can be.\n")
        yield Finding("storage", "pass", round((self._monotonic() - started) * 1000, 3), "ms")

    def _free(self) -> Iterator[Finding]:
        paths = self._settings.paths
        local = {"data": paths.data} if self._settings.storage.kind == "local" else {}
        for component, path in {**local, "logs": paths.logs}.items():
            usage = self._disk_usage(_existing(path))
            status: Status = "pass"
            for limit, name in ((self._limits.warn_free, "warn"), (self._limits.fail_free, "fail")):
                if usage.free < min(limit[0] * usage.total, limit[1]):
                    status = name  # type: ignore[assignment]
            part = 100 * usage.free / max(1, usage.total)
            output = None if status == "pass" else f"{usage.free / _MIB:.0f} MiB ({part:.1f} %) are free"
            yield Finding(component, status, usage.free, "bytes", output)

    def _chain(self) -> Iterator[Finding]:
        for name in self._observer.journals.names():
            result = self._recent.verify(self._observer.journals.open(name))
            if result.fault is None:
                yield Finding(name, "pass", result.records, "records")
            else:
                output = f"{result.fault.fault} at position {result.fault.position}: {result.fault.detail}"
                yield Finding(name, "fail", result.records, "records", output)

    def _quarantined(self) -> Iterator[Finding]:
        for kind in ("patterns", "events", "decisions"):
            for name in self._observer.journals.names(kind):
                found = sorted(
                    key.partition(".")[2]
                    for key in self._observer.journals.open(name).views()
                    if key.startswith("quarantined.")
                )
                if found:
                    more = " …" if len(found) > 5 else ""
                    output = f"set aside: {', '.join(found[:5])}{more}; redrive or release them"
                    yield Finding(name, "warn", len(found), "entries", output)

    def _cuts(self) -> Iterator[Finding]:
        for cut in self._observer.cuts:
            output = f"cut from position {cut.was} back to {cut.now}: {cut.reason}"
            yield Finding(cut.journal, "warn", cut.was - cut.now, "records", output)

    def _backed_up(self) -> Iterator[Finding]:
        every_ns = self._settings.backup.every
        if every_ns is not None:
            from observer_core.runtime.backups import standing

            known, now_ns = standing(self._observer.storage, self._settings), self._observer.clock.now_ns()
            status, output = known.status(every_ns, now_ns)
            age = max(0, now_ns - known.time_ns) / SECOND if known.number else None
            yield Finding("backup", status, age, "s", output)

    def _stood_still(self) -> Iterator[Finding]:
        gap, config = self._gaps.newest(), self._settings.heartbeat
        if gap is not None and self._observer.clock.now_ns() - gap.to_ns <= config.warn_for:
            counts = gap.ended == "unclean" or gap.duration_ns > config.gap
            seconds = gap.duration_ns / SECOND
            yield Finding("clock", "warn" if counts else "pass", seconds, "s", str(gap) if counts else None)

    # ------------------------------------------------------------------ what must be heeded

    def _safe_mode(self) -> Iterator[Finding]:
        if self._observer.guards.safe_mode:
            yield Finding("mode", "warn", output=SAFE_MODE)

    def _reserve(self) -> Iterator[Finding]:
        guards = self._observer.guards
        if guards.space is not None and guards.space.least:
            why = guards.short_of_space()
            yield Finding("data", "pass" if why is None else "fail", guards.space.free, "bytes", why)

    def _memory(self) -> Iterator[Finding]:
        memory = self._observer.guards.memory
        output = None
        if memory.is_short and memory.limit is not None:
            output = (
                f"more than {memory.limit >> 20} MiB are in use; what can be read again was dropped, and if "
                "that does not help the process ends itself, to be started anew"
            )
        yield Finding("process", "pass" if output is None else "warn", memory.resident(), "bytes", output)

    def _jumped(self) -> Iterator[Finding]:
        jump = self._observer.guards.clock.newest()
        if jump is not None:
            yield Finding("clock", "warn", jump.by_ns / SECOND, "s", str(jump))


def _names(journals: Sequence[str]) -> list[str]:
    return [name.partition(".")[2] for name in journals]


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists: the same disk."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
