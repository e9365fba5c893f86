"""What the general anomaly score is worth on the Numenta benchmark's files, and what it costs.

python -m benchmarks.detect_nab --nab ../shared/data/nab-dev [--curve]

The scorer runs twice: with the threshold 0.5 that the product alarms at, and with the one
that is best for these files, which only says how far off the fixed one is. `--curve`: with other
settings of `threshold`, over all files and over each half of them (by a hash of the name), for what
is found on a peak, or on one half only, will not be found elsewhere.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from observer_core.pattern_record.detectors.anomaly import ROWS, SLOTS, Anomaly, AnomalyScore

SCORER = Path("../shared/tools/quality/nab_score.py")
DAY = 86_400.0
LEARNT_FROM = 100
"""Intervals whose median is taken for the cadence."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nab", type=Path, required=True)
    parser.add_argument("--scorer", type=Path, default=SCORER)
    parser.add_argument("--per-file", action="store_true")
    parser.add_argument("--curve", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_all(given.nab, Path(folder), Anomaly())
        for title, options in (("fixed threshold 0.5", ["--threshold", "0.5"]), ("best threshold", [])):
            print(f"{title}:", flush=True)
            command = [sys.executable, given.scorer, "--nab", given.nab, "--scores", folder, *options]
            subprocess.run([*command, *(["--per-file"] if given.per_file else [])], check=True)
    if given.curve:
        curve(given.nab, given.scorer)
    costs()


def curve(nab: Path, scorer: Path) -> None:
    usual = Anomaly().threshold
    for factor in (0.7, 0.85, 1.0, 1.2, 1.4):
        with tempfile.TemporaryDirectory() as folder:
            files = write_all(nab, Path(folder), Anomaly(threshold=factor * usual))
            halves = [[name for name in files if hashed(name) == half] for half in (0, 1)]
            parts = [
                " / ".join(f"{score:.1f}" for score in scored(nab, scorer, Path(folder), part))
                for part in (files, *halves)
            ]
        print(f"threshold x {factor:4}: all {parts[0]}, halves {parts[1]} and {parts[2]}", flush=True)


def hashed(name: str) -> int:
    return hashlib.sha256(name.encode()).digest()[-1] % 2


def scored(nab: Path, scorer: Path, folder: Path, files: list[str]) -> list[float]:
    """The score of each profile over `files`."""
    chosen, found = folder / "files.txt", folder / "found.json"
    chosen.write_text("\n".join(files))
    command: list[str | Path] = [
        sys.executable,
        scorer,
        "--nab",
        nab,
        "--scores",
        folder,
        "--threshold",
        "0.5",
    ]
    subprocess.run([*command, "--files", chosen, "--json", found], check=True, stdout=subprocess.DEVNULL)
    return [profile["score"] for profile in json.loads(found.read_text()).values()]


def write_all(nab: Path, folder: Path, config: Anomaly) -> list[str]:
    paths = sorted((nab / "data").glob("*/*.csv"))
    for path in paths:
        write_scores(path, folder / path.parent.name / path.name, config)
    return [f"{path.parent.name}/{path.name}" for path in paths]


def write_scores(path: Path, to: Path, config: Anomaly | None = None) -> None:
    """Online scores of one file, each before the next value is looked at."""
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    times = [datetime.fromisoformat(row[0]).replace(tzinfo=UTC).timestamp() for row in rows]
    cadence = statistics.median(b - a for a, b in pairwise(times[: LEARNT_FROM + 1]))
    detector = AnomalyScore.fresh(1, config or Anomaly(), round(DAY / cadence))
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("w") as file:
        file.write("timestamp,value,anomaly_score\n")
        for row, moment in zip(rows, times):
            [score] = detector.observe(np.array([float(row[1])]), round((moment - times[0]) / cadence))
            file.write(f"{row[0]},{row[1]},{float(score)!r}\n")


def costs() -> None:
    for n in (1, 64, 1_024, 10_000):
        detector = AnomalyScore.fresh(n, Anomaly(), SLOTS)
        feed = values(n)
        for at in range(2 * SLOTS):
            detector.observe(next(feed), at)
        steps = max(60, 20_000 // n)
        spent = []
        for repeat in range(5):
            given = [next(feed) for _ in range(steps)]
            started = time.perf_counter()
            for at, row in enumerate(given, (repeat + 2) * steps):
                detector.observe(row, at)
            spent.append((time.perf_counter() - started) / steps / n)
        print(f"n = {n:6}: {min(spent) * 1e9:8.0f} ns an observation", flush=True)
    print(f"memory a series: {8 * (ROWS + SLOTS):,} bytes ({8 * ROWS:,} without a season)")


def values(n: int) -> Iterator[np.ndarray]:
    rows = np.random.Generator(np.random.PCG64(1)).standard_normal((64, n))
    while True:
        yield from rows


if __name__ == "__main__":
    main()
