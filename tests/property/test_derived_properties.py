"""The deriver against a slow, obvious one that reads the whole past, and what must hold for any input."""

import math
from typing import Any

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from observer_core.shared.records import QUALITY_FLAGS, Snapshot, decode_record
from observer_core.shared.stage import Entry
from observer_core.snapshot_engine.derived import DerivedConfig, DerivedSeries, Deriver, Operand
from observer_core.snapshot_engine.normalise import Normaliser

TOLERANCE = 3
X, Y = ["a", "X", "p"], ["a", "Y", "q"]
Z, W = ["b", "Z", "p"], ["c", "W", "p"]
CONFIG = DerivedConfig.model_validate({
    "tolerance": f"{TOLERANCE}ns",
    "series": [
        {"subject": "m", "kind": "ratio", "of": X, "against": Y},
        {"subject": "m", "kind": "difference", "of": X, "against": Z},
        {"subject": "k", "kind": "mid", "of": Z, "against": W},
        {"subject": "k", "kind": "spread", "of": X, "against": Z},
        {"subject": "n", "kind": "premium", "of": X, "against": Z, "rate": W},
        {"subject": "n", "kind": "implied_rate", "of": Z, "against": Y},
        {"subject": "k", "kind": "value", "of": W},
        {"subject": "m", "kind": "return", "of": X, "over": "4ns"},
        {"subject": "l", "kind": "return", "of": X, "over": "9ns"},
        {"subject": "l", "field": "other", "kind": "return", "of": Z, "over": "4ns"},
    ],
})  # fmt: skip
SUBJECTS = {"a": "XY", "b": "ZV", "c": "W", "d": "X"}
GIVEN_FLAGS = ("duplicate", "stale", "non_positive", "gap", "outlier_print", "partial_bar", "out_of_order")
PASSED_ON = {"crossed_book", "outlier_print", "clock_skew", "closed_session", "partial_bar"}

extreme = st.sampled_from(
    [0.0, -0.0, 5e-324, 2.3e-308, 1e-200, 1e200, 1.7976931348623157e308, -1.7976931348623157e308, -1.0]
)
numbers = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 8.0, math.nan]), extreme, st.floats(allow_infinity=False))


@st.composite
def snapshots(draw: st.DrawFn, now: int) -> Snapshot:
    source = draw(st.sampled_from("aaabbbccd"))
    event = max(0, now + draw(st.integers(-2, 2)))
    if draw(st.integers(0, 9)) == 0:
        return Snapshot(
            source=source, event_ns=event, ingest_ns=now, subjects=(), fields={}, status="unavailable",
            error="gone",
        )  # fmt: skip
    subjects = tuple(draw(st.lists(st.sampled_from(SUBJECTS[source]), unique=True)))
    names = draw(st.lists(st.sampled_from("ppq"), unique=True, min_size=1))
    flagged = draw(st.lists(st.sampled_from([*subjects, "*"]), unique=True, max_size=1))
    return Snapshot(
        source=source, event_ns=event, ingest_ns=now, subjects=subjects,
        fields={name: np.array([draw(numbers) for _ in subjects], np.float64) for name in names},
        quality={s: tuple(draw(st.lists(st.sampled_from(GIVEN_FLAGS), max_size=2))) for s in flagged},
    )  # fmt: skip


@st.composite
def histories(draw: st.DrawFn, orderly: bool = False) -> list[Entry]:
    """Entries of four journals, each with its own positions; now and then time goes back."""
    now, entries = 100, []
    positions = dict.fromkeys(SUBJECTS, 0)
    for _ in range(draw(st.integers(0, 25))):
        now = max(0, now + draw(st.integers(0 if orderly else -3, 4)))
        snapshot = draw(snapshots(now))
        positions[snapshot.source] += 1
        entries.append(Entry(f"snapshots.{snapshot.source}", positions[snapshot.source], snapshot))
    return entries


def played(stage: Deriver, state: Any, entries: list[Entry]) -> list[bytes]:
    answers = []
    for entry in entries:
        records = stage.transition(state, entry)
        assert len(records) <= 1
        answers.append(b"".join(record.encode(0) for record in records))
    return answers


def row_flags(snapshot: Snapshot, subject: str) -> set[str]:
    return {*snapshot.quality.get(subject, ()), *snapshot.quality.get("*", ())}


def holds(snapshot: Snapshot, operand: Operand) -> bool:
    if snapshot.source != operand.source or operand.subject not in snapshot.subjects:
        return False
    return not row_flags(snapshot, operand.subject) & {"duplicate", "out_of_order"}


def learnt(past: list[Snapshot], operand: Operand) -> list[tuple[int, float, int, set[str]]]:
    """(time, value, event time, flags) of all that was observed of an operand, in its order."""
    found = []
    for s in past:
        if s.status != "unavailable" and holds(s, operand) and operand.field in s.fields:
            x = float(s.fields[operand.field][s.subjects.index(operand.subject)])
            if not math.isnan(x):
                found.append((s.ingest_ns, x, s.event_ns, row_flags(s, operand.subject)))
    return found


def formula(kind: str, x: list[float]) -> float | None:
    """None when what divides is not positive."""
    if kind == "value":
        return x[0]
    a, b = np.float64(x[0]), np.float64(x[1])
    rate = np.float64(x[2]) if len(x) > 2 else np.float64(1)
    with np.errstate(all="ignore"):
        if kind in ("difference", "mid"):
            answer = a - b if kind == "difference" else (a + b) / 2
        else:
            divisor = (a + b) / 2 if kind == "spread" else b * rate
            if not divisor > 0 or (kind == "premium" and not (b > 0 and rate > 0)):
                return None
            answer = (a - b if kind == "spread" else a) / divisor - (kind in ("premium", "return"))
            answer = answer if divisor < math.inf else np.float64(math.nan)
    return float(answer) if math.isfinite(answer) else math.nan


def cell(past: list[Snapshot], series: DerivedSeries) -> tuple[float, set[str]] | None:
    now = past[-1].ingest_ns
    seen = [learnt(past, operand) for operand in series.operands]
    if not all(seen):
        return None
    used = [item[-1] for item in seen]
    flags = {"stale"} if any(now - at > TOLERANCE for at, *_ in used) else set()
    flags |= {"stale"} if any(is_away(past, operand.source) for operand in series.operands) else set()
    if series.over is not None:
        before = [item for item in seen[0] if item[0] <= now - series.over]
        if not before or before[-1][0] < now - series.over - TOLERANCE:
            return None
        used.append(before[-1])
    flags |= {flag for *_, row in used for flag in row} & (PASSED_ON | {"stale", "non_positive"})
    answer = formula(series.kind, [x for _, x, *_ in used])
    if answer is None or "non_positive" in flags:
        return math.nan, flags | {"non_positive"}
    return answer, flags


def is_away(past: list[Snapshot], source: str) -> bool:
    return next((s.status == "unavailable" for s in reversed(past) if s.source == source), False)


def obvious(past: list[Snapshot]) -> tuple[str, dict[tuple[str, str], float], dict[str, set[str]]] | None:
    """Status, values and flags that follow from the newest snapshot of a past in order."""
    newest, earlier = past[-1], past[:-1]
    if newest.status == "unavailable":
        if is_away(earlier, newest.source):
            return None
        concerned = [s for s in CONFIG.series if any(o.source == newest.source for o in s.operands)]
    else:
        concerned = [s for s in CONFIG.series if any(holds(newest, o) for o in s.operands)]
    away = [any(is_away(past, o.source) for o in s.operands) for s in concerned]
    if concerned and all(away):
        return "unavailable", {}, {}
    cells = {(s.subject, s.field): found for s in concerned if (found := cell(past, s)) is not None}
    if not cells:
        return None
    flags: dict[str, set[str]] = {}
    for (subject, _), (_, found) in cells.items():
        flags.setdefault(subject, set()).update(found)
    return (
        "partial" if any(away) else "ok",
        {key: number for key, (number, _) in cells.items() if not math.isnan(number)},
        {subject: found for subject, found in flags.items() if found},
    )


@settings(max_examples=150)
@given(histories(orderly=True))
def test_what_is_derived_is_what_the_obvious_reading_of_the_past_gives(entries: list[Entry]) -> None:
    stage = Deriver("derived", CONFIG)
    state = stage.initial()
    past: list[Snapshot] = []
    for entry in entries:
        assert isinstance(entry.record, Snapshot)
        past.append(entry.record)
        records = stage.transition(state, entry)
        expected = obvious(past)
        if expected is None:
            assert not records
            continue
        (found,) = records
        values = {
            (subject, name): float(column[place])
            for name, column in found.fields.items()
            for place, subject in enumerate(found.subjects)
            if not math.isnan(column[place])
        }
        assert (found.status, values, {s: set(f) for s, f in found.quality.items()}) == expected
        assert found.ingest_ns == entry.time_ns


@given(histories())
def test_any_snapshots_give_snapshots_in_the_schema_of_every_source(entries: list[Entry]) -> None:
    stage, normaliser = Deriver("derived", CONFIG), Normaliser()
    state, normal = stage.initial(), normaliser.initial()
    time, known = -1, {}
    for entry in entries:
        known[entry.journal] = entry.position
        for record in stage.transition(state, entry):
            assert record.ingest_ns >= max(time, entry.time_ns)
            time = record.ingest_ns
            assert not any(np.isinf(column).any() for column in record.fields.values())
            assert all(list(f) == [x for x in QUALITY_FLAGS if x in f] for f in record.quality.values())
            assert set(record.quality) <= set(record.subjects)
            assert record.origin is not None
            assert {**known, **record.origin["inputs"]} == known
            assert (record.status == "ok") == (record.error is None)
            assert bool(record.subjects) == (record.status != "unavailable")
            normaliser.apply(normal, record)
            stored = decode_record(record.encode(0))
            assert isinstance(stored, Snapshot)
            assert stored.encode(0) == record.encode(0)


@given(histories(), st.data())
def test_a_restart_anywhere_changes_nothing(entries: list[Entry], data: st.DataObject) -> None:
    stage = Deriver("derived", CONFIG)
    whole = stage.initial()
    expected = played(stage, whole, entries)
    stop = data.draw(st.integers(0, len(entries)))
    first = stage.initial()
    found = played(stage, first, entries[:stop])
    blob = stage.dump(first)
    other = Deriver("derived", DerivedConfig.model_validate(CONFIG.canonical()))
    loaded = other.load(blob)
    assert other.dump(loaded) == blob
    assert found + played(other, loaded, entries[stop:]) == expected
    assert other.dump(loaded) == stage.dump(whole)


@given(histories(), st.integers(-100, 1000))
def test_time_alone_changes_nothing(entries: list[Entry], through: int) -> None:
    stage = Deriver("derived", CONFIG)
    state, asked = stage.initial(), stage.initial()
    for entry in entries:
        plain = played(stage, state, [entry])
        assert stage.advance(asked, through) == ()
        assert played(stage, asked, [entry]) == plain
    assert stage.dump(asked) == stage.dump(state)


@given(histories(), histories())
@example([], [])
def test_what_comes_later_never_changes_what_was_given(entries: list[Entry], more: list[Entry]) -> None:
    stage = Deriver("derived", CONFIG)
    given_alone = played(stage, stage.initial(), entries)
    assert played(stage, stage.initial(), entries + more)[: len(entries)] == given_alone
