"""Relations against a slow, obvious one, and what must hold of relations and correlations for any numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.detectors import relation
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.pattern_record.relations.settings import Relation
from observer_core.shared.records import Snapshot, decode_record
from observer_core.shared.stage import Entry

RULES = (
    Relation(subject="s0", field="v", target=1.0, tolerance="10%", hold=2),
    Relation(subject="s1", field="v", span=8, warm_up=4, accept=6, sigmas=2.0, hold=2, tolerance=0.1),
    Relation(subject="s2", field="v", span=6, warm_up=5, accept=9, sigmas=1.0, hold=1, lasting=2, leave=1.0),
    Relation(subject="s3", field="v", target=2.0, span=5, warm_up=3, sigmas=1.5, hold=2),
)
CONFIG = RecogniserConfig.model_validate({
    "relations": {"watch": RULES},
    "correlations": {"watch": [
        {"of": ["s0", "v"], "against": ["s1", "v"], "span": 3, "slow_span": 9, "sigmas": 0.5, "drop": 0.1,
         "at_least": 0.1, "hold": 1, "accept": 5},
        {"of": ["s?", "v"], "against": ["s0", "v"], "span": 2, "slow_span": 4, "floor": 0.1, "every": "2ns"},
    ]},
})  # fmt: skip
FAMILIES = ("relations", "correlations")


@dataclass
class Slow:
    """One relation in plain numbers."""

    rule: Relation
    level: float = 0.0
    scale: float = 0.0
    raised: float = 0.0
    count: int = 0
    run: int = 0
    onset: int = 0
    told: float = 0.0
    broken: int = 0
    after: list[float] = field(default_factory=list)

    def observe(self, x: float, now: int) -> str:
        rule = self.rule
        self.level = x if self.count == 0 else self.level
        self.count += 1
        gain = max(1 / self.count, 1 / rule.span)
        if rule.target is not None:
            self.level = rule.target
        d = x - self.level
        allowed = max(self.scale * rule.scales, abs(self.level) * rule.share + rule.absolute, self.raised)
        if (rule.target is None or rule.scales) and self.count <= rule.warm_up:
            allowed = math.inf
        answer = self.judge(x, d, allowed, now)
        if not answer and not self.told:
            c = min(abs(d), allowed)
            self.level += math.copysign(c, d) * gain
            self.scale += (c * 1.2533141373155001 - self.scale) * gain
        self.raised = max(0.0, self.raised * (1 - 1 / 5000) - 1e-300)
        return answer

    def judge(self, x: float, d: float, allowed: float, now: int) -> str:
        rule, side = self.rule, (0 if abs(d) <= allowed else 1 if d > 0 else -1)
        if not self.told:
            if not side or self.run * side <= 0:
                self.run, self.onset = 0, now if side else self.onset
            self.run += side
            if abs(self.run) < rule.hold or now - self.onset < rule.lasting:
                return ""
            self.told, self.run, self.broken, self.after = abs(d), 0, 0, []
            return "begun"
        self.broken += 1
        self.after.append(x)
        if abs(d) > 2 * self.told:
            self.run = max(self.run, 0) + 1
        elif abs(d) <= allowed * rule.leave:
            self.run = min(self.run, 0) - 1
        else:
            self.run = 0
        if self.run <= -rule.hold:
            self.raised = max(self.raised, 1.5 * (min(allowed, self.told) if allowed > 0 else self.told))
            if rule.target is not None:
                self.raised = 0.0
            self.told, self.run, self.broken = 0.0, 0, 0
            return "restored"
        if rule.target is None and self.broken >= rule.accept:
            new = scale = 0.0
            for n, value in enumerate(self.after, start=1):
                new = value if n == 1 else new
                gain, step = max(1 / n, 1 / rule.span), value - new
                new, scale = new + gain * step, scale + gain * (1.2533141373155001 * abs(step) - scale)
            self.level, self.scale, self.told = new, max(self.scale, scale), 0.0
            self.run, self.broken = 0, 0
            return "accepted"
        if self.run >= rule.hold:
            self.told, self.run = abs(d), 0
            return "worse"
        return ""


def snapshot(now: int, values: list[float | None], flagged: bool = False) -> Snapshot:
    numbers = np.array([math.nan if value is None else value for value in values])
    return Snapshot(
        source="x", event_ns=now, ingest_ns=now, subjects=tuple(f"s{i}" for i in range(len(values))),
        fields={"v": numbers}, quality={"s1": ("outlier_print",)} if flagged else {},
    )  # fmt: skip


levels = st.sampled_from([0.0, -0.0, 1.0, 1.0, 1.0, 1.05, 1.2, 1.5, 2.0, 3.0, 7.0, 30.0, -5.0])
cells = st.one_of(levels, st.floats(0.9, 1.1), st.none())
extreme = st.sampled_from([1e308, -1e308, 1e300, 9e299, 5e-324])
wild = st.one_of(cells, st.floats(allow_nan=False, allow_infinity=False), extreme)


@st.composite
def streams(draw: st.DrawFn, values: st.SearchStrategy[float | None]) -> list[tuple[int, list[float | None]]]:
    """Snapshots: time since the one before, and four values; some stay for a while."""
    rows = st.tuples(st.sampled_from([1, 1, 1, 2, 0, 30]), st.lists(values, min_size=4, max_size=4))
    found = draw(st.lists(rows, min_size=20, max_size=60))
    stays = draw(st.integers(0, len(found) - 1))
    return [*found[:stays], *found[stays : stays + 1] * 12, *found[stays:]]


@settings(max_examples=30, deadline=None)
@given(streams(cells), st.sets(st.integers(0, 79), max_size=5))
def test_relations_equal_the_slow_obvious_ones(stream, flagged):
    recogniser = Recogniser("x", CONFIG)
    state, now = recogniser.initial(), 0
    slow = [Slow(rule) for rule in RULES]
    for tick, (gap, values) in enumerate(stream):
        now += gap
        records = recogniser.transition(
            state, Entry("j", tick + 1, snapshot(now, values, flagged=tick in flagged))
        )
        found = {
            (record.series[0][1], record.pattern, record.evidence.get("accepted"))
            for record in records
            if record.pattern.startswith("relation_")
        }
        expected = set()
        for number, (one, value) in enumerate(zip(slow, values, strict=True)):
            if value is None or (number == 1 and tick in flagged):
                continue
            answer = one.observe(value, now)
            if answer:
                over = answer in ("restored", "accepted")
                pattern = "relation_restored" if over else "relation_break"
                expected.add((f"s{number}", pattern, int(answer == "accepted") if over else None))
        assert found == expected
        own = state.families["relations"]
        for number, one in enumerate(slow):
            column = own.values[:, number]
            assert column[[relation.SCALE, relation.RAISED, relation.TOLD]].tolist() == [
                one.scale, one.raised, one.told,
            ]  # fmt: skip
            if one.rule.target is None:
                assert column[relation.LEVEL] == one.level


@settings(max_examples=30, deadline=None)
@given(streams(wild))
def test_records_are_finite_and_encodable_for_any_numbers(stream):
    recogniser = Recogniser("x", CONFIG)
    state, now = recogniser.initial(), 0
    for tick, (gap, values) in enumerate(stream):
        now += gap
        for record in recogniser.transition(state, Entry("j", tick + 1, snapshot(now, values))):
            assert 0.0 <= record.score <= 1.0
            decode_record(record.encode(1))
    relations, correlations = (state.families[name] for name in FAMILIES)
    assert np.isfinite(relations.values[:, : relations.size]).all()
    assert np.isfinite(correlations.values[4:, : correlations.size]).all()


@settings(max_examples=30, deadline=None)
@given(streams(cells), st.integers(0, 79))
def test_a_state_dumped_and_loaded_in_mid_stream_goes_on_undisturbed(stream, at):
    recogniser = Recogniser("x", CONFIG)
    straight, resumed, now = recogniser.initial(), recogniser.initial(), 0
    for tick, (gap, values) in enumerate(stream):
        now += gap
        if tick == at:
            blob = recogniser.dump(resumed)
            resumed = recogniser.load(blob)
            assert recogniser.dump(resumed) == blob
        entry = Entry("j", tick + 1, snapshot(now, values))
        assert recogniser.transition(straight, entry) == recogniser.transition(resumed, entry)
    assert recogniser.dump(straight) == recogniser.dump(resumed)


@settings(max_examples=30, deadline=None)
@given(streams(wild))
def test_what_is_kept_of_a_series_does_not_depend_on_its_neighbours(stream):
    recogniser = Recogniser("x", CONFIG)
    together, alone, now = recogniser.initial(), recogniser.initial(), 0
    for tick, (gap, values) in enumerate(stream):
        now += gap
        recogniser.transition(together, Entry("j", tick + 1, snapshot(now, values)))
        recogniser.transition(alone, Entry("j", tick + 1, snapshot(now, values[:2])))
    for name, count in zip(FAMILIES, (2, 2), strict=True):
        one, other = together.families[name], alone.families[name]
        assert other.keys[:count] == one.keys[:count]
        assert one.values[:, :count].tobytes() == other.values[:, :count].tobytes()
