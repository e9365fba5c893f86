"""What the Observer, told nothing, says about the labelled market recordings.

    python -m benchmarks.detect_market --data ../shared/data

Each recording goes the way of `observer ingest`, with default settings, into embedded storage in a temporary
folder. What `market/expected.json` wants is checked line by line: an incident by its deadline (by the moment
at which its record could be known), as one incident, and the quiet windows. Then all alarms of the quiet
days are counted: every pattern record that is not a recovery, whatever its severity. A miss is a line of the
table, not a failure.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from observer_core.event_bus.publisher import TYPE_PREFIX
from observer_core.runtime import settings
from observer_core.runtime.ingest import ingest
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND, format_time
from observer_core.shared.records import ALL, RECOVERIES, SEVERITIES, Event, PatternRecord
from observer_core.snapshot_engine.sources.recording import RecordingConfig

SILENCE = ("feed_stale", "venue_halt")
SHOCK = ("price_shock",)
SIGNALS = {"staleness": SILENCE, "price shock": SHOCK}
QUIET = {
    ("coinbase_trades_1m_20180405-06.csv.gz", "coinbase_quotes_1m_20180405.csv.gz"): (
        "2018-04-05", "2018-04-06",
    ),
    ("fx_eurusd_two_venues_1m_20140505-06.csv.gz", "xauusd_oanda_1m_20140505-06.csv.gz"): (
        "2014-05-05", "2014-05-06",
    ),
}  # fmt: skip
QUIET_LIMIT = 2
NOT_QUIET = {"2018-04-06": "no quotes any more"}
_MINUTE = 60 * SECOND
_AFTERMATH = 15 * _MINUTE
"""Alarms so long after an incident's deadline still belong to it."""


@dataclass(frozen=True)
class Wanted:
    """`kinds`: any of them is right. `channel`: its name is found in the name of the file with its fields."""

    kinds: tuple[str, ...]
    channel: str = ""


WANTED = {"trades_dead": Wanted(SILENCE, "trades"), "nfp": Wanted(SHOCK)}


@dataclass(frozen=True)
class Recorded:
    """What was said of a recording: its alarms in order, the incident of each, and when incidents opened."""

    name: str
    alarms: Sequence[PatternRecord]
    incidents: Mapping[str, str]
    opened_ns: Sequence[int]
    channels: Mapping[str, frozenset[str]]
    subjects: frozenset[str]

    def of(self, kinds: Collection[str], begin_ns: int, end_ns: int) -> list[PatternRecord]:
        return [it for it in self.alarms if it.pattern in kinds and begin_ns <= it.time_ns <= end_ns]

    def about(self, record: PatternRecord, channel: str) -> frozenset[str]:
        """The subjects of which `record` speaks in this channel ("": in any)."""
        fields = self.channels.get(channel, frozenset()) | {channel}
        named = {subject for _, subject, field in record.series if not channel or field in fields}
        return self.subjects if ALL in named else frozenset(named)

    def touches(self, record: PatternRecord, channel: str) -> bool:
        """Whether it says anything of this channel; what is said of all fields, is."""
        return bool(self.about(record, channel)) or any(field == ALL for _, _, field in record.series)


@dataclass(frozen=True)
class Line:
    what: str
    limit: str
    found: str
    met: bool | None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--each", action="store_true", help="a line for every alarm")
    chosen = parser.parse_args()
    expected = json.loads((chosen.data / "market/expected.json").read_text())
    for wanted in expected["sets"]:
        recorded = read([chosen.data / name for name in wanted["files"]], wanted["bar"])
        _show(recorded, labelled(recorded, wanted), each=chosen.each)
    for names, days in QUIET.items():
        recorded = read([chosen.data / "market" / name for name in names], "1m")
        _show(recorded, quiet(recorded, days), each=chosen.each)


def read(files: Sequence[Path], bar: str) -> Recorded:
    """All stages over `files`, as `observer ingest --time ts --subject series --bar` runs them."""
    mapping = RecordingConfig.model_validate({"time": "ts", "subject": "series", "bar": bar})
    with tempfile.TemporaryDirectory() as folder:
        chosen = settings.load(root=Path(folder), durability="normal", config_dir=Path("none"))
        observer = Observer.local(chosen)
        try:
            ingest(observer, files, source="market", domain="market", mapping=mapping)
            journals = observer.journals
            patterns = [
                entry.record for name in journals.names("patterns", "market")
                for entry in journals.open(name).scan() if isinstance(entry.record, PatternRecord)
            ]  # fmt: skip
            events = [
                entry.record for entry in journals.open("events.market").scan()
                if isinstance(entry.record, Event)
            ]  # fmt: skip
        finally:
            observer.close()
    alarms = sorted(
        (it for it in patterns if it.pattern not in RECOVERIES.values()), key=lambda it: (it.time_ns, it.id)
    )
    incidents = {
        str(it.data["id"]): it.correlationid for it in events if "pattern" in it.data and it.correlationid
    }
    opened = [it.time_ns for it in events if it.type == f"{TYPE_PREFIX}incident.opened"]
    channels = {"trades": frozenset[str](), "quotes": frozenset[str]()}
    subjects: set[str] = set()
    for path in files:
        with gzip.open(path, "rt") as rows:
            header = next(rows).strip().split(",")
            subjects |= {row.split(",")[1] for row in rows}
        for channel in channels:
            if channel in path.name:
                channels[channel] = frozenset(header[2:])
    return Recorded(
        " + ".join(path.name.removesuffix(".csv.gz") for path in files), alarms, incidents, opened, channels,
        frozenset(subjects),
    )  # fmt: skip


def labelled(recorded: Recorded, wanted: Mapping[str, Any]) -> Iterator[Line]:
    for incident in wanted["incidents"]:
        yield from _incident(recorded, incident["id"], _ns(_onset(incident)), _ns(incident["detect_by"]))
    for window in wanted["quiet"]:
        kinds = next(kinds for name, kinds in SIGNALS.items() if window["signal"].startswith(name))
        found = recorded.of(kinds, _ns(window["from"]), _ns(window["to"]))
        yield Line(
            f"{window['signal']}, {window['from'][5:]} to {window['to'][5:]}",
            f"<= {window['max_alerts']}", f"{len(found)} alarms", len(found) <= window["max_alerts"],
        )  # fmt: skip


def _incident(recorded: Recorded, name: str, begin_ns: int, deadline_ns: int) -> Iterator[Line]:
    """By its deadline, of every subject, as one incident; and the other channels stay healthy."""
    wanted = WANTED[name]
    kinds = " or ".join(wanted.kinds)
    whole = recorded.of(wanted.kinds, begin_ns, deadline_ns + _AFTERMATH)
    right = [it for it in whole if recorded.about(it, wanted.channel)]
    by = _clock(deadline_ns)
    first = min((it.time_ns for it in right), default=None)
    if first is None:
        others = Counter(it.pattern for it in recorded.alarms if begin_ns <= it.time_ns <= deadline_ns)
        instead = ", ".join(f"{count} {kind}" for kind, count in others.most_common(4))
        found = f"never; {f'instead: {instead}' if instead else 'nothing else either'}"
    else:
        found = _clock(first)
    yield Line(
        f"{name}: {kinds} {wanted.channel}".rstrip(), f"by {by}", found,
        first is not None and first <= deadline_ns,
    )  # fmt: skip
    timely = [it for it in right if it.time_ns <= deadline_ns]
    named = frozenset[str]().union(*(recorded.about(it, wanted.channel) for it in timely))
    yield Line(
        f"{name}: its subjects by then", f"{len(recorded.subjects)}",
        ", ".join(sorted(named)) or "none", named == recorded.subjects,
    )  # fmt: skip
    incidents = {recorded.incidents.get(it.id, "") for it in right}
    loose = "" in incidents
    yield Line(
        f"{name}: incidents of these patterns", "1",
        f"{len(incidents - {''})}{' and patterns of none' if loose else ''}",
        len(incidents) == 1 and not loose,
    )  # fmt: skip
    for channel, fields in recorded.channels.items():
        if wanted.channel and fields and channel != wanted.channel:
            sick = [it for it in recorded.alarms if it.pattern in SILENCE and recorded.touches(it, channel)]
            yield Line(f"{name}: {channel} stay healthy", "0", f"{len(sick)} alarms", not sick)


def quiet(recorded: Recorded, days: Sequence[str]) -> Iterator[Line]:
    for day in days:
        begin_ns = _ns(day)
        found = [it for it in recorded.alarms if begin_ns < it.time_ns <= begin_ns + 24 * 60 * _MINUTE]
        grave = sum(it.severity != "info" for it in found)
        opened = sum(begin_ns < moment <= begin_ns + 24 * 60 * _MINUTE for moment in recorded.opened_ns)
        said = f"{len(found)}, of them {grave} above info; {opened} incidents opened"
        if day in NOT_QUIET:
            yield Line(f"all alarms of {day} ({NOT_QUIET[day]})", "-", said, None)
        else:
            yield Line(
                f"all alarms of {day}", f"<= {QUIET_LIMIT} (goal)", said, len(found) <= QUIET_LIMIT
            )  # fmt: skip


def _show(recorded: Recorded, lines: Iterator[Line], *, each: bool) -> None:
    print(f"\n{recorded.name} ({len(recorded.subjects)} subjects)")
    for line in lines:
        said = {True: "met", False: "MISSED", None: "not judged"}[line.met]
        print(f"  {line.what:58} {line.limit:14} {line.found:44} {said}", flush=True)
    kinds = Counter((it.pattern, it.severity) for it in recorded.alarms)
    print(f"  {'all alarms of the recording':34} " + " ".join(f"{name:>9}" for name in SEVERITIES))
    for pattern in sorted({pattern for pattern, _ in kinds}):
        counts = " ".join(f"{kinds[pattern, severity]:9}" for severity in SEVERITIES)
        print(f"    {pattern:32} {counts}")
    if each:
        for it in recorded.alarms:
            series = ", ".join("/".join(one[1:]) for one in it.series[:4])
            more = f" and {len(it.series) - 4} more" if len(it.series) > 4 else ""
            when = format_time(it.time_ns)
            print(f"    {when} {it.pattern} {it.severity} {it.score:.3f} {it.direction} {series}{more}")


def _onset(incident: Mapping[str, Any]) -> str:
    """When it began; of a feed that died, the first of the last bars."""
    if "onset" in incident:
        return str(incident["onset"])
    day, _, _ = incident["detect_by"].partition("T")
    return f"{day}T{min(re.findall('[0-9]{2}:[0-9]{2}', incident['last_bar']))}"


def _ns(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def _clock(moment_ns: int) -> str:
    return datetime.fromtimestamp(moment_ns // SECOND, UTC).strftime("%m-%d %H:%M")


if __name__ == "__main__":
    main()
