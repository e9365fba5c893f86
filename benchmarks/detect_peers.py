"""The same recordings through river and stumpy: what they find, and what that costs them.

    python -m benchmarks.detect_peers --data ../shared/data

Numenta files (scored by nab_score.py): each peer with the threshold that its textbook gives, and with the
one that is best for these files, chosen with their labels, which is more than any user can have. After an
alarm a peer is told nothing for as many rows as ours keeps quiet (that alone is worth many points). Change
points (cp_score.py): river's detectors on values that are standardised online, with their defaults and with
the best of a few settings, again chosen with the labels. Times are CPU time, of all threads. Where river and
stumpy are not installed, that is said, and how to get them.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.detect_changes import Annotations, tcpd, tssb
from benchmarks.detect_nab import write_scores
from observer_core.pattern_record.detectors.anomaly import Anomaly
from observer_core.pattern_record.detectors.change_point import ChangePoints

Floats = NDArray[np.float64]
ABSENT = "river and stumpy are not installed, so nothing is compared: `make peers`, then again"
SPAN = 50
"""Of river's exponentially weighted mean and variance; their z-scores count after as many values."""
PLAIN, SHAPES = 24, 288
"""Length of the subsequences whose nearest earlier neighbour is sought, for plain and for z-normalised
distances: the best for these files of 24, 96 and 288."""
NAB_MUST, NAB_GOAL = (74.0, 66.0, 79.0), (78.0, 71.0, 83.0)
CP_MUST, CP_GOAL = {"tssb": (0.72, 0.0), "tcpd": (0.70, 0.69)}, {"tssb": (0.80, 0.0), "tcpd": (0.74, 0.74)}
"""Mean covering, F1."""


def installed() -> bool:
    return all(importlib.util.find_spec(name) for name in ("river", "stumpy"))


class River:
    """Three simple detectors of one series: a z-score (EW mean and variance), Page-Hinkley, ADWIN."""

    def __init__(self) -> None:
        from river import drift

        self._z = ZScore()
        self._hinkley, self._adwin = drift.PageHinkley(), drift.ADWIN()

    def observe(self, x: float) -> tuple[float, bool, bool]:
        self._hinkley.update(x)
        self._adwin.update(x)
        return self._z.observe(x), self._hinkley.drift_detected, self._adwin.drift_detected


class ZScore:
    def __init__(self) -> None:
        from river import stats

        gain = 2.0 / (SPAN + 1)
        self._mean, self._variance = stats.EWMean(gain), stats.EWVar(gain)

    def observe(self, x: float) -> float:
        variance = self._variance.get()
        z = abs(x - self._mean.get()) / math.sqrt(variance) if variance > 0.0 else 0.0
        self._mean.update(x)
        self._variance.update(x)
        return z


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tools", type=Path, help="the folder of the scorers; default: beside the data")
    parser.add_argument("--only", choices=("nab", "changes", "cost"))
    chosen = parser.parse_args()
    if not installed():
        print(ABSENT)
        return
    warnings.simplefilter("ignore")  # stumpy says much about subsequences that are constant
    _nearest(
        np.sin(np.arange(100.0)).tobytes(), 10, normalise=True
    )  # imports and compiles: no part of a cost
    _nearest(np.sin(np.arange(100.0)).tobytes(), 10, normalise=False)
    River()
    tools = chosen.tools or chosen.data.parent / "tools/quality"
    if chosen.only in (None, "nab"):
        nab(chosen.data / "nab-dev", _module(tools / "nab_score.py"))
    if chosen.only in (None, "changes"):
        changes(chosen.data / "change-points-dev", _module(tools / "cp_score.py"))
    if chosen.only in (None, "cost"):
        discord_cost()


def z_scores(values: Floats) -> Floats:
    detector = ZScore()
    found = np.array([detector.observe(x) for x in values.tolist()])
    found[:SPAN] = 0.0
    return found


def half_space(values: Floats) -> Floats:
    from river import anomaly, preprocessing

    scaler, trees = preprocessing.MinMaxScaler(), anomaly.HalfSpaceTrees(seed=1)
    found = []
    for x in values.tolist():
        scaler.learn_one({"x": x})
        scaled = scaler.transform_one({"x": x})
        found.append(trees.score_one(scaled))
        trees.learn_one(scaled)
    return np.array(found)


def shape_discord(values: Floats) -> Floats:
    """z-normalised distance, by the largest so far: 1 is the first discord up to here."""
    windows = _windows(values, SHAPES)
    spread = windows.std(axis=1)
    shapes = (windows - windows.mean(axis=1)[:, None]) / np.where(spread > 1e-12, spread, 1.0)[:, None]
    apart = _apart(shapes, _nearest(values.tobytes(), SHAPES, normalise=True))
    return _relative(apart, np.maximum.accumulate(apart), SHAPES)


def largest_discord(values: Floats) -> Floats:
    """Plain distance, by the largest so far."""
    apart = _apart(_windows(values, PLAIN), _nearest(values.tobytes(), PLAIN, normalise=False))
    return _relative(apart, np.maximum.accumulate(apart), PLAIN)


def mean_discord(values: Floats) -> Floats:
    """Plain distance, by the mean so far, in which the first count as 0."""
    apart = _apart(_windows(values, PLAIN), _nearest(values.tobytes(), PLAIN, normalise=False))
    return _relative(apart, np.cumsum(apart) / np.arange(1, len(apart) + 1), PLAIN)


def _windows(values: Floats, length: int) -> Floats:
    return np.lib.stride_tricks.sliding_window_view(values, length)


@functools.lru_cache(maxsize=100)
def _nearest(values: bytes, length: int, *, normalise: bool) -> NDArray[np.intp]:
    """Which earlier subsequence is nearest to each (−1: none), as `stumpi` finds it value by value."""
    import stumpy

    profile = stumpy.stump if normalise else stumpy.aamp
    return np.asarray(profile(np.frombuffer(values).copy(), length)[:, 2], np.intp)


def _apart(windows: Floats, nearest: NDArray[np.intp]) -> Floats:
    found = np.where(nearest >= 0, np.sqrt(((windows - windows[nearest]) ** 2).sum(axis=1)), 0.0)
    found[: 4 * windows.shape[1]] = 0.0  # with so few to choose from the nearest is far
    return found


def _relative(apart: Floats, usual: Floats, length: int) -> Floats:
    """By what was usual before; a subsequence is known at its last row."""
    before = np.concatenate([[0.0], usual[:-1]])
    found = np.zeros(len(apart) + length - 1)
    found[length - 1 :] = np.where(before > 0.0, apart / np.where(before > 0.0, before, 1.0), 0.0)
    found[: 8 * PLAIN] = 0.0
    return found


NAB_PEERS: tuple[tuple[str, float, Callable[[Floats], Floats]], ...] = (
    ("river EW z-score", 3.0, z_scores),
    ("river HalfSpaceTrees", 0.95, half_space),
    ("stumpy left discord, z-normalised", 1.0, shape_discord),
    ("stumpy left discord, of largest", 1.0, largest_discord),
    ("stumpy left discord, of mean", 3.0, mean_discord),
)


def nab(folder: Path, scorer: Any) -> None:
    files = scorer.load_corpus(str(folder))
    quiet = Anomaly().refractory
    must, goal = (" / ".join(f"{value:g}" for value in row) for row in (NAB_MUST, NAB_GOAL))
    print(
        f"Numenta, {len(files)} files, standard / low FP / low FN: must {must}, goal {goal}; "
        f"{quiet} rows quiet after an alarm"
    )
    with tempfile.TemporaryDirectory() as scores:
        started = time.process_time()
        for name in files:
            write_scores(folder / "data" / name, Path(scores) / name)
        spent = time.process_time() - started
        ours = {name: scorer.read_scores(scores, name, file.n) for name, file in files.items()}
    fixed, best = scorer.score(files, ours, threshold=0.5), scorer.score(files, ours)
    said = f"   {judged(_scores(fixed), NAB_MUST, NAB_GOAL)}"
    _nab_line("ours", 0.5, _scores(fixed), _scores(best), _each(spent, files) + said)
    values = {name: _column(folder / "data" / name) for name in files}
    for title, threshold, peer in NAB_PEERS:
        started, known = time.process_time(), _nearest.cache_info().hits
        theirs = {name: peer(found) for name, found in values.items()}
        cost = _each(time.process_time() - started, files)
        if _nearest.cache_info().hits > known:
            cost = "the same profile"
        candidates = _candidates(np.concatenate(list(theirs.values())))
        at = [_at(scorer, files, theirs, limit, quiet) for limit in (threshold, *candidates)]
        _nab_line(title, threshold, at[0], [max(column) for column in zip(*at)], cost)


def judged(values: Sequence[float], must: Sequence[float], goal: Sequence[float]) -> str:
    """What is said of scores that should all be reached."""
    for limits, said in ((goal, "goal met"), (must, "must met")):
        if all(value >= limit for value, limit in zip(values, limits)):
            return said
    return "MISSED"


def _each(spent: float, files: Any) -> str:
    return f"{spent / sum(file.n for file in files.values()) * 1e6:6.1f} us a row"


def _scores(found: Any) -> list[float]:
    return [profile["score"] for profile in found.values()]


def _at(scorer: Any, files: Any, scores: dict[str, Floats], limit: float, quiet: int) -> list[float]:
    """The three profiles' scores with this threshold."""
    kept = {name: told(scores[name], limit, quiet) for name in files}
    found = []
    for profile in scorer.PROFILES.values():
        raw = sum(float(scorer.raw_at(file, kept[name], profile, 1.0)) for name, file in files.items())
        found.append(scorer.norm(raw, files, profile))
    return found


def told(scores: Floats, limit: float, quiet: int) -> Floats:
    """1 where an alarm is told, 0 elsewhere."""
    alarms = np.zeros(len(scores))
    free = 0
    for row in np.flatnonzero(scores >= limit).tolist():
        if row >= free:
            alarms[row], free = 1.0, row + quiet + 1
    return alarms


def _candidates(scores: Floats) -> list[float]:
    """Thresholds that from a third to a millionth of all rows reach."""
    return [float(limit) for limit in np.quantile(scores, 1.0 - np.logspace(-0.5, -5.3, 40))]


def _nab_line(title: str, threshold: float, fixed: Sequence[float], best: Sequence[float], cost: str) -> None:
    shown = [" / ".join(f"{value:5.1f}" for value in found) for found in (fixed, best)]
    print(
        f"  {title:34} threshold {threshold:4}: {shown[0]:24}  best threshold: {shown[1]:24} {cost}",
        flush=True,
    )


def _column(path: Path) -> Floats:
    return np.array([float(line.split(",")[1]) for line in path.read_text().splitlines()[1:]])


def ours_changes(values: Sequence[float]) -> list[tuple[int, int]]:
    """(onset, row at which it was declared) of each change."""
    detector = ChangePoints()
    return [(change.onset, change.declared) for value in values for change in detector.observe(value)]


def standardised(values: Iterable[float]) -> list[float]:
    """By the mean and deviation of all values up to each; gaps left out as 0, the mean."""
    from river import stats

    mean, variance = stats.Mean(), stats.Var()
    found = []
    for x in values:
        if not math.isfinite(x):
            found.append(0.0)
            continue
        mean.update(x)
        variance.update(x)
        deviation = math.sqrt(variance.get())
        found.append((x - mean.get()) / deviation if deviation > 0.0 else 0.0)
    return found


def hinkley(threshold: float) -> Callable[[Sequence[float]], list[tuple[int, int]]]:
    """Page-Hinkley tells no onset: it is the row of the alarm."""

    def run(values: Sequence[float]) -> list[tuple[int, int]]:
        from river import drift

        detector, found = drift.PageHinkley(threshold=threshold), []
        for row, x in enumerate(standardised(values)):
            detector.update(x)
            if detector.drift_detected:
                found.append((row, row))
        return found

    return run


def adwin(delta: float) -> Callable[[Sequence[float]], list[tuple[int, int]]]:
    """The onset is where the window that it keeps begins."""

    def run(values: Sequence[float]) -> list[tuple[int, int]]:
        from river import drift

        detector, found = drift.ADWIN(delta=delta), []
        for row, x in enumerate(standardised(values)):
            detector.update(x)
            if detector.drift_detected:
                found.append((max(0, row + 1 - int(detector.width)), row))
        return found

    return run


def changes(folder: Path, scorer: Any) -> None:
    for name, load in (("tcpd", tcpd), ("tssb", tssb)):
        series = list(load(folder))
        must, goal = (_limits(*row[name]) for row in (CP_MUST, CP_GOAL))
        print(f"change points, {name}, {len(series)} series: must {must}; goal {goal}")
        ours = _measure(scorer, series, ours_changes)
        _cp_line("ours", [ours], judged(ours[:2], CP_MUST[name], CP_GOAL[name]))
        _cp_line("river Page-Hinkley", [
            _measure(scorer, series, hinkley(limit)) for limit in (50.0, 5.0, 10.0, 20.0, 100.0)
        ])  # fmt: skip
        _cp_line("river ADWIN", [
            _measure(scorer, series, adwin(delta)) for delta in (0.002, 1e-6, 1e-4, 0.05, 0.3)
        ])  # fmt: skip
        if name == "tssb":
            fluss(folder, series, scorer)


def _limits(covering: float, f1: float) -> str:
    return f"covering {covering:g}" + (f", F1 {f1:g}" if f1 else "")


Scored = tuple[float, float, float, float]
"""Mean covering, mean F1, median delay as a share of the series, nanoseconds an observation."""


def _measure(
    scorer: Any,
    series: Sequence[tuple[str, list[float], Annotations]],
    run: Callable[[Sequence[float]], list[tuple[int, int]]],
) -> Scored:
    covers, f1s, delays = [], [], []
    spent, points = 0.0, 0
    for _, values, marks in series:
        started = time.process_time()
        found = run(values)
        spent += time.process_time() - started
        points += len(values)
        onsets = [onset for onset, _ in found]
        covers.append(scorer.cover(marks, onsets, len(values)))
        f1s.append(scorer.f1(marks, onsets))
        delays += [(declared - onset) / len(values) for onset, declared in found]
    delay = statistics.median(delays) if delays else float("nan")
    return statistics.fmean(covers), statistics.fmean(f1s), delay, spent / points * 1e9


def _cp_line(title: str, tried: Sequence[Scored], said: str = "") -> None:
    """The first is that of the defaults."""
    covering, f1, delay, cost = tried[0]
    if len(tried) > 1:
        most = (max(column) for column in list(zip(*tried))[:2])
        said = "best of {} settings: covering {:.3f}  F1 {:.3f}".format(len(tried), *most)
    print(
        f"  {title:22} covering {covering:.3f}  F1 {f1:.3f}  declared {delay:5.1%} after its onset "
        f"{cost:9,.0f} ns an observation   {said}",
        flush=True,
    )


def fluss(folder: Path, series: Sequence[tuple[str, list[float], Annotations]], scorer: Any) -> None:
    """Not online, and told for each series its window and how many changes there are."""
    import json

    import stumpy

    marks = json.loads((folder / "tssb/change_points.json").read_text())
    covers, f1s = [], []
    spent, points = 0.0, 0
    for name, values, truth in series:
        window, count = marks[name]["window"], len(truth[0])
        started = time.process_time()
        profile = stumpy.stump(np.array(values), window)
        _, found = stumpy.fluss(profile[:, 1].astype(int), window, n_regimes=count + 1, excl_factor=5)
        spent += time.process_time() - started
        points += len(values)
        onsets = [int(onset) for onset in found if onset > 0]
        covers.append(scorer.cover(truth, onsets, len(values)))
        f1s.append(scorer.f1(truth, onsets))
    print(
        f"  {'stumpy FLUSS':22} covering {statistics.fmean(covers):.3f}  F1 {statistics.fmean(f1s):.3f}  "
        f"offline, told window and number of changes {spent / points * 1e9:9,.0f} ns an observation",
        flush=True,
    )


def discord_cost(window: int = 1_000, steps: int = 500) -> None:
    """An incremental matrix profile over the last `window` values, a value at a time."""
    import stumpy

    values = np.random.Generator(np.random.PCG64(1)).standard_normal(window + 6 * steps)
    stream = stumpy.stumpi(values[:window], PLAIN, egress=True)
    spent = []
    rest = values[window:]
    for start in range(0, len(rest), steps):
        started = time.process_time()
        for x in rest[start : start + steps]:
            stream.update(x)
        spent.append((time.process_time() - started) / steps)
    print(
        f"stumpy stumpi over the last {window:,} values of one series: least {min(spent) * 1e6:,.0f}, "
        f"median {statistics.median(spent) * 1e6:,.0f} us an observation"
    )


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec, path
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    main()
