"""Change points on labelled recordings.

    python -m benchmarks.detect_changes --data ../shared/data/change-points-dev

Prints for the folder's two sets (tssb: long and periodic, one annotator; tcpd: short, several) covering,
F1 with a margin of 5, the delay of a declaration, and what it costs; then how many changes are declared
of series that have none (`QUIET`, made here). `--scorer` is a file with the metrics `f1` and `cover` to
use in the place of the ones below.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from observer_core.pattern_record.detectors.change_point import Change, ChangePoints
from observer_core.pattern_record.window import Floats

Annotations = list[list[int]]
_MATCH = 0.03
"""A change is the annotated one if its onset is so near, as a share of the series."""


def f1(annotations: Annotations, predicted: Sequence[int], margin: int = 5) -> float:
    """F1 with several annotators (Van den Burg & Williams 2020); point 0 is always among the points."""
    found, truth = sorted({0, *predicted}), [sorted({0, *points}) for points in annotations]

    def hits(points: Sequence[int]) -> int:
        free, count = set(found), 0
        for point in points:
            near = sorted((abs(point - x), x) for x in free if abs(point - x) <= margin)
            if near:
                free.discard(near[0][1])
                count += 1
        return count

    precision = hits(sorted({point for points in truth for point in points})) / len(found)
    recall = statistics.fmean(hits(points) / len(points) for points in truth)
    return 2.0 * precision * recall / (precision + recall)


def cover(annotations: Annotations, predicted: Sequence[int], n: int) -> float:
    """The segments' best overlaps (Jaccard) with the predicted ones, by length; mean over annotators."""

    def segments(points: Sequence[int]) -> list[tuple[int, int]]:
        edges = sorted({0, n, *(point for point in points if 0 < point < n)})
        return list(itertools.pairwise(edges))

    def overlap(a: tuple[int, int], b: tuple[int, int]) -> float:
        return max(0, min(a[1], b[1]) - max(a[0], b[0])) / (max(a[1], b[1]) - min(a[0], b[0]))

    ours = segments(predicted)
    return statistics.fmean(
        sum((a[1] - a[0]) * max(overlap(a, b) for b in ours) for a in segments(points)) / n
        for points in annotations
    )


def tssb(data: Path) -> Iterator[tuple[str, list[float], Annotations]]:
    marks = json.loads((data / "tssb/change_points.json").read_text())
    for name, mark in marks.items():
        values = [float(line) for line in (data / f"tssb/{name}.txt").read_text().split()]
        yield name, values, [mark["change_points"]]


def tcpd(data: Path) -> Iterator[tuple[str, list[float], Annotations]]:
    marks = json.loads((data / "tcpd/annotations.json").read_text())
    for name, annotators in marks.items():
        raw = json.loads((data / f"tcpd/{name}.json").read_text())["series"][0]["raw"]
        yield name, [float("nan") if v is None else float(v) for v in raw], list(annotators.values())


def measure(
    name: str, series: Iterator[tuple[str, list[float], Annotations]], metrics: Any, *, each: bool
) -> None:
    scores: list[tuple[float, float]] = []
    delays, own_delays = [], []
    seconds, points, largest, largest_tests, annotated = 0.0, 0, 0, 0, 0
    for title, values, marks in series:
        detector, changes = ChangePoints(), list[Change]()
        start = time.process_time()
        for value in values:
            changes += detector.observe(value)
        seconds += time.process_time() - start
        points += len(values)
        state = len(detector.dump())
        largest, largest_tests = max(largest, state), max(largest_tests, state - detector.shape_bytes)
        onsets = [change.onset for change in changes]
        scores.append((metrics.cover(marks, onsets, len(values)), metrics.f1(marks, onsets)))
        own_delays += [(change.declared - change.onset) / len(values) for change in changes]
        for truth in marks[0] if len(marks) == 1 else ():
            annotated += 1
            near = [c for c in changes if abs(c.onset - truth) <= _MATCH * len(values)]
            delays += [(c.declared - truth) / len(values) for c in near[:1]]
        if each:
            found = " ".join(f"{c.kind}@{c.onset}({c.declared})" for c in changes)
            print(f"  {title:30} covering {scores[-1][0]:.3f}  F1 {scores[-1][1]:.3f}  {found}")
    coverings, f1s = zip(*scores, strict=True)
    print(
        f"{name}: {len(scores)} series, {points:,} points: mean covering {statistics.fmean(coverings):.3f}, "
        f"F1 {statistics.fmean(f1s):.3f}"
    )
    if own_delays:
        print(f"  declared after its onset: {statistics.median(own_delays):.1%} of the series (median)")
    if delays:
        print(
            f"  declared after the annotated onset: {statistics.median(delays):.1%} (median of the "
            f"{len(delays)} of {annotated} found within {_MATCH:.0%})"
        )
    print(
        f"  {seconds:.1f} s, {seconds / points * 1e9:,.0f} ns an observation, state of a series at most "
        f"{largest:,} bytes, of them without the window for shapes {largest_tests:,}"
    )


def _recursive(noise: Floats, share: float) -> Floats:
    """An autoregression: each value is a share of the one before and a noise of its own."""
    values = itertools.accumulate(noise.tolist(), lambda before, own: share * before + own)
    return np.array(list(values))


def _season(noise: Floats, period: int) -> Floats:
    return 3.0 * np.sin(np.arange(len(noise)) * 2.0 * np.pi / period) + noise


QUIET: dict[str, Callable[[Floats], Floats]] = {
    "noise": lambda noise: noise,
    "autoregression 0.9": lambda noise: _recursive(noise, 0.9),
    "autoregression 0.99": lambda noise: _recursive(noise, 0.99),
    "random walk": lambda noise: _recursive(noise, 1.0),
    "season of 24": lambda noise: _season(noise, 24),
    "season of 200": lambda noise: _season(noise, 200),
    "season of 1440": lambda noise: _season(noise, 1440),
}
"""Series without a change, made of normal noise."""


def quiet(points: int = 10_000, seeds: int = 4) -> None:
    print(f"changes declared of {seeds} series of {points:,} points that have none")
    for name, make in QUIET.items():
        counts, start = [], time.process_time()
        for seed in range(seeds):
            detector = ChangePoints()
            values = make(np.random.default_rng(seed).normal(size=points)).tolist()
            counts.append(sum(len(detector.observe(value)) for value in values))
        each = (time.process_time() - start) / seeds / points
        found = " ".join(map(str, counts))
        print(f"  {name:22} {found:14} {each * 1e9:,.0f} ns an observation")


class _Own:
    f1: Callable[..., float] = staticmethod(f1)
    cover: Callable[..., float] = staticmethod(cover)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scorer", type=Path, help="a Python file with f1 and cover")
    parser.add_argument("--each", action="store_true", help="a line for every series")
    chosen = parser.parse_args()
    metrics: Any = _Own
    if chosen.scorer:
        spec = importlib.util.spec_from_file_location("scorer", chosen.scorer)
        assert spec, chosen.scorer
        assert spec.loader
        metrics = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(metrics)
    for name, load in (("tcpd", tcpd), ("tssb", tssb)):
        measure(name, load(chosen.data), metrics, each=chosen.each)
    quiet()


if __name__ == "__main__":
    main()
