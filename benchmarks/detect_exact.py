"""What must be equal, is it: scores and changes of a prefix, records in other batches, alarms in other units.

    python -m benchmarks.detect_exact --data ../shared/data

On the labelled recordings, with defaults: the anomaly score and change points of a series' first half against
those of the whole; all patterns of the market recordings likewise, and with the state dumped and loaded every
hundred snapshots; alarms and declared changes of a·x + b against those of x.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.detect_changes import tcpd, tssb
from benchmarks.detect_nab import write_scores
from benchmarks.detect_peers import ours_changes
from observer_core.pattern_record.config import AnomalyPattern, RecogniserConfig
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.shared.records import PatternRecord, Snapshot
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.sources.recording import RecordingConfig, plan

A, B = 2.5, 100.0
EVERY = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    scores(data / "nab-dev")
    changes(data / "change-points-dev")
    records(data / "market")


def scores(folder: Path) -> None:
    files = sorted((folder / "data").glob("*/*.csv"))
    prefix, units, off = 0, 0, 0
    with tempfile.TemporaryDirectory() as place:
        for path in files:
            header, *rows = path.read_text().splitlines()
            half = rows[: len(rows) // 2]
            stamps = [row.split(",") for row in rows]
            other = [f"{stamp},{A * float(value) + B!r}" for stamp, value in stamps]
            whole = _scored(path, Path(place))
            prefix += _scored(_csv(Path(place), header, half), Path(place)) == whole[: len(half)]
            there = [score >= 0.5 for score in _scored(_csv(Path(place), header, other), Path(place))]
            differing = sum(a != (b >= 0.5) for a, b in zip(there, whole, strict=True))
            units, off = units + (not differing), off + differing
    _say("anomaly scores of a prefix, Numenta files", prefix, len(files))
    _say(
        f"alarms of {A:g}·x + {B:g}, Numenta files", units, len(files), f"; {off} rows differ" if off else ""
    )


def changes(folder: Path) -> None:
    prefix, units, count = 0, 0, 0
    for load in (tcpd, tssb):
        for _, values, _ in load(folder):
            whole, half = ours_changes(values), len(values) // 2
            count += 1
            prefix += ours_changes(values[:half]) == [(at, row) for at, row in whole if row < half]
            units += ours_changes([A * x + B for x in values]) == whole
    _say("change points declared on a prefix, tcpd and tssb", prefix, count)
    _say(f"change points of {A:g}·x + {B:g}, tcpd and tssb", units, count)


def records(folder: Path) -> None:
    expected = json.loads((folder / "expected.json").read_text())
    prefix, batches, count = 0, 0, 0
    for wanted in expected["sets"]:
        mapping = RecordingConfig.model_validate({"time": "ts", "subject": "series", "bar": wanted["bar"]})
        load = plan([str(folder.parent / name) for name in wanted["files"]], "market", mapping)
        snapshots = list(load.snapshots())
        half = snapshots[: len(snapshots) // 2]
        whole = _recognised(snapshots)
        last = half[-1].ingest_ns
        count += 1
        prefix += _recognised(half) == [it for it in whole if it.time_ns <= last]
        batches += _recognised(snapshots, dumped=EVERY) == whole
    _say("patterns of a prefix, market recordings", prefix, count)
    _say(f"patterns with the state dumped and loaded every {EVERY} snapshots", batches, count)


def _recognised(snapshots: Sequence[Snapshot], dumped: int = 0) -> list[PatternRecord]:
    recogniser = Recogniser("market", RecogniserConfig(anomaly=AnomalyPattern()))
    state, found = recogniser.initial(), list[PatternRecord]()
    for position, snapshot in enumerate(snapshots, start=1):
        found += recogniser.transition(state, Entry("snapshots.market", position, snapshot))
        if dumped and position % dumped == 0:
            state = recogniser.load(recogniser.dump(state))
    return found


def _csv(folder: Path, header: str, rows: Sequence[str]) -> Path:
    path = folder / "rows.csv"
    path.write_text("\n".join([header, *rows, ""]))
    return path


def _scored(path: Path, folder: Path) -> list[float]:
    write_scores(path, folder / "scores.csv")
    with (folder / "scores.csv").open() as file:
        return [float(row["anomaly_score"]) for row in csv.DictReader(file)]


def _say(what: str, equal: int, count: int, more: str = "") -> None:
    said = "met" if equal == count else "MISSED"
    print(f"{what:66} equal in {equal:3} of {count:3}   {said}{more}", flush=True)


if __name__ == "__main__":
    main()
