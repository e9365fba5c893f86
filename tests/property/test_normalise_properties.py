"""The normaliser against a slow, obvious one, and its state against what was stored."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from observer_core.shared.records import QUALITY_FLAGS, Snapshot, decode_record
from observer_core.snapshot_engine.normalise import Normaliser, NormaliserConfig

CONFIG = NormaliserConfig(expected_interval=10, gap_tolerance=1.5, max_clock_skew=5, max_delay=20, bar=2)
values = st.sampled_from([math.nan, -1.0, 0.0, 1.0, 2.0, 5.0, 20.0])


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    subjects = tuple(draw(st.lists(st.sampled_from("ABCD"), unique=True)))
    names = draw(st.lists(st.sampled_from(["price", "bid", "ask", "size"]), unique=True))
    event = draw(st.integers(0, 60))
    return Snapshot(
        source="m", event_ns=event, ingest_ns=draw(st.integers(0, 60)), subjects=subjects,
        fields={name: np.array([draw(values) for _ in subjects], np.float64) for name in names},
    )  # fmt: skip


def near(one: float, other: float) -> bool:
    return other / 2 <= one <= other * 2


def obvious(history: list[Snapshot]) -> list[dict[str, tuple[str, ...]]]:
    newest: dict[str, tuple[int, dict[str, float]]] = {}
    doubted: dict[tuple[str, str], float] = {}
    ingest = -1
    answer = []
    for s in history:
        ingest = max(ingest, s.ingest_ns)
        quality = {}
        for place, subject in enumerate(s.subjects):
            row = {name: float(c[place]) for name, c in s.fields.items() if not math.isnan(c[place])}
            found = set()
            if subject in newest:
                then, before = newest[subject]
                if s.event_ns < then:
                    found.add("out_of_order")
                if s.event_ns == then and row == before:
                    found.add("duplicate")
                if s.event_ns - then > 15:
                    found.add("gap")
            if any(row.get(name, 1) <= 0 for name in ("price", "bid", "ask")):
                found.add("non_positive")
            if row.get("bid", -math.inf) > row.get("ask", math.inf):
                found.add("crossed_book")
            for name in ("price", "bid", "ask"):
                old = newest[subject][1].get(name, 0) if subject in newest else 0
                price = row.get(name, 0)
                if subject not in newest or s.event_ns < newest[subject][0] or price <= 0:
                    continue
                believed = doubted.pop((subject, name), None)
                if old <= 0 or near(price, old) or (believed is not None and near(price, believed)):
                    continue
                doubted[subject, name] = old if believed is None else believed
                found.add("outlier_print")
            if subject not in newest or s.event_ns >= newest[subject][0]:
                newest[subject] = (s.event_ns, row)
            if found:
                quality[subject] = tuple(flag for flag in QUALITY_FLAGS if flag in found)
        late = ingest - s.event_ns
        whole = {"stale": late > 20, "clock_skew": late < -5, "partial_bar": late < 2}
        if s.subjects and any(whole.values()):
            quality["*"] = tuple(flag for flag in QUALITY_FLAGS if whole.get(flag))
        answer.append(quality)
    return answer


histories = st.lists(snapshots(), max_size=12)


@given(histories)
def test_flags_are_those_of_the_obvious_reading(history: list[Snapshot]) -> None:
    normaliser = Normaliser(CONFIG)
    state = normaliser.initial()
    assert [dict(normaliser.apply(state, s).quality) for s in history] == obvious(history)


@given(histories, st.data())
def test_a_restart_anywhere_changes_nothing(history: list[Snapshot], data: st.DataObject) -> None:
    normaliser = Normaliser(CONFIG)
    through, state = normaliser.initial(), normaliser.initial()
    stop = data.draw(st.integers(0, len(history)))
    for number, snapshot in enumerate(history):
        whole = normaliser.apply(through, snapshot)
        if number < stop:
            stored = decode_record(whole.encode(1))
            assert isinstance(stored, Snapshot)
            normaliser.observe(state, stored)
            if number == stop - 1:
                state = normaliser.load(normaliser.dump(state))
        else:
            assert normaliser.apply(state, snapshot).encode(1) == whole.encode(1)
        assert normaliser.dump(state) == normaliser.dump(through)
