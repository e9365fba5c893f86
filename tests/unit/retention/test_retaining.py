"""What is old goes, and nothing else changes: chains, heads, explanations, answers of then."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observer_core.maintenance.config import MaintenanceConfig
from observer_core.maintenance.fsck import check
from observer_core.retention import holds
from observer_core.runtime.audit.explain import Explainer
from observer_core.runtime.audit.export import export
from observer_core.runtime.audit.ledger import Ledger, inside
from observer_core.runtime.audit.ledger import verify as verify_ledger
from observer_core.runtime.audit.replay import digest_of
from observer_core.runtime.audit.stored import at, by_id
from observer_core.runtime.maintaining import Maintenance
from observer_core.runtime.reading.column_store import Need, SourceColumns
from observer_core.runtime.reading.lineage import verified
from observer_core.runtime.reading.lines import backwards
from observer_core.runtime.reading.pace import Pace
from observer_core.runtime.reading.shelf import Shelf
from observer_core.runtime.retaining import Run
from observer_core.shared.canonical import decode, encode
from observer_core.shared.errors import ChainBroken, ConfigError, NotFound, Pruned
from observer_core.shared.records import Decision, Note, Snapshot
from observer_core.storage.archive import excerpts, packs
from observer_core.storage.ledger import LEDGER, hash_at
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Op
from observer_core.storage.recovery import OPERATIONS
from observer_core.storage.rows import Base
from observer_core.storage.verify import verify
from tests.support.ageing import DAY_NS, HOUR_NS, HOURS, PACKING, RULES, START_NS, Market, copied
from tests.unit.retention.conftest import Aged

CUT = (
    "clock.live", "decisions.live", "events.live", "gate.live", "patterns.one", "routes.live",
    "snapshots.one", "snapshots.two",
)  # fmt: skip
"""Of which something is older than the rules keep it."""


def cuts(done: Run) -> dict[str, tuple[int, int]]:
    return {cut.journal: (cut.first, cut.last) for cut in done.cuts}


def notes(market: Market) -> list[dict[str, Any]]:
    found = [entry.record for entry in market.journals.open(OPERATIONS).scan()]
    return [dict(note.body) for note in found if isinstance(note, Note) and note.body.get("act") == "pruned"]


# ---------------------------------------------------------------------- what goes, what stays


def test_what_is_older_than_it_is_kept_goes_and_everything_else_is_as_before(aged: Aged) -> None:
    market = aged()
    hours = range(0, HOURS, 6)
    heads, explained, answers = market.digest(), market.explained(), market.answers(hours)
    chains = {one.journal: one.head for one in market.verified()}
    done = market.retain()
    assert set(cuts(done)) == set(CUT)
    assert market.digest() == heads
    again = {one.journal: one.head for one in market.verified()}
    assert again | {OPERATIONS: b""} == chains | {OPERATIONS: b""}
    assert list(check(market.journals)) == []
    after = market.explained()
    assert 30 < len(after) < len(explained)
    assert after == {ref: explained[ref] for ref in after}
    now = market.answers(hours)
    told = {key: answer for key, answer in now.items() if answer is not None}
    assert told == {key: answers[key] for key in told}
    assert {answer["decision"] for answer in told.values()} == {"allow", "deny"}
    lost = [hour for (_, hour), answer in now.items() if answer is None]
    assert max(lost) < HOURS - 3 * 24  # all of the time that every journal is kept for can be asked about


def test_what_is_left_is_computed_again_from_where_its_inputs_begin(aged: Aged) -> None:
    market = aged()
    market.retain()
    found = market.replayed()
    for name in ("patterns.one", "events.live", "decisions.live", "routes.live"):
        assert market.bases()[name] <= found[name].since < market.digest()[name][0]
        assert found[name].entries > 0
    two = found["patterns.two"]
    assert (two.records, two.base, two.since) == (1, 0, 1)  # an epoch, and nothing since
    assert two.entries == HOURS + 1 - 200


def test_a_record_that_went_is_said_to_have_gone_when_and_by_which_rule(aged: Aged) -> None:
    market = aged()
    market.retain()
    journal = market.journals.open("snapshots.two")
    rule = r"\(snapshots.\*: 3d\)"
    message = rf"snapshots.two@50 was removed on 2018-04-17 by retention {rule}.* from position 193 on"
    with pytest.raises(Pruned, match=message):
        journal.entry(50)
    with pytest.raises(Pruned, match=message):
        at(journal, 50)
    with pytest.raises(Pruned, match="snapshots.two@50"):
        hash_at(journal, 50)
    with pytest.raises(NotFound, match="does not exist"):
        journal.entry(10_000)


def test_readers_begin_where_it_is_kept(aged: Aged) -> None:
    market = aged()
    whole = market.journals.open("snapshots.one")
    rows, lines = list(whole.rows()), [line for _, found in whole.raw() for line in found]
    moments = [START_NS + hour * HOUR_NS // 2 for hour in range(-3, 2 * HOURS + 3)]
    positions = [whole.position_at(moment) for moment in moments]
    market.retain()
    journal = market.journals.open("snapshots.one")
    base = journal.base()
    assert (base.position, base.seq) == (192, next(row.seq for row in rows if row.last == 192))
    assert list(journal.rows()) == [row for row in rows if row.seq > base.seq]
    assert [line for _, found in journal.raw() for line in found] == lines[192:]
    assert [entry.position for entry in journal.scan(150, 195)] == [193, 194, 195]
    kept = [0 if moment < base.began_ns else max(192, known) for moment, known in zip(moments, positions)]
    assert [journal.position_at(moment) for moment in moments] == kept
    assert [line.position for line in backwards(journal, 1, 195)][:4] == [195, 194, 193, 192]
    assert hash_at(journal, 192) == base.hash == next(row.hash for row in rows if row.last == 192)


def test_what_is_cited_of_what_went_stays_with_its_proof(aged: Aged) -> None:
    market = aged()
    lines = [b"", *(line for _, found in market.journals.open("snapshots.one").raw() for line in found)]
    done = market.retain()
    journal = market.journals.open("snapshots.one")
    found = list(journal.excerpts.between(1, 192))
    with_lines = [kept for kept in found if kept.line is not None]
    assert 5 < len(with_lines) < 30
    assert all(kept.line == lines[kept.position] and kept.is_sound for kept in with_lines)
    assert any(kept.line is None for kept in found)  # answers of the gate rested there
    (cut,) = [cut for cut in done.cuts if cut.journal == "snapshots.one"]
    assert cut.excerpted == len(with_lines)
    (name,) = [name for name in market.storage.archives.list("snapshots/source=one") if "excerpt" in name]
    assert hashlib.sha256(market.storage.archives.get(name)).hexdigest() == cut.excerpt_sha256


def test_explain_says_what_was_kept_and_what_that_proves(aged: Aged) -> None:
    market = aged()
    market.retain()
    explainer = Explainer(market.journals)
    journal = market.journals.open("decisions.live")
    steps = [
        step
        for position in range(journal.base().position + 1, journal.head().position + 1)
        if isinstance(journal.entry(position).record, Decision)
        for step in explainer.explain(at(journal, position)).steps()
    ]
    removed = [step for step in steps if excerpts.is_excerpt(step.stored.segment)]
    assert removed
    assert len(removed) < len(steps)
    for step in removed:
        told = "\n".join(step.facts)
        base = market.journals.open(step.stored.journal).base()
        assert f"is kept whole from position {base.position + 1} on" in told
        assert base.record in told


def test_a_decision_that_still_stands_is_found_by_its_id_and_explained(aged: Aged) -> None:
    """The block of `b`, which went silent for good, is older than decisions are kept here."""
    market = aged(retention={**RULES, "decisions_floor": "1d", "rule": [{"keep": "1d"}]})
    journal = market.journals.open("decisions.live")
    before = {entry.record.id: entry for entry in journal.scan() if isinstance(entry.record, Decision)}
    market.retain()
    base = journal.base()
    assert base.standing
    for position in base.standing:
        entry = journal.entry(position)
        if isinstance(entry.record, Decision):
            assert before[entry.record.id] == entry
            assert by_id(market.journals, entry.record.id, ("decisions",)) == ("decisions.live", position)
            Explainer(market.journals).explain(at(journal, position))


# ---------------------------------------------------------------------- how it is told


def test_each_removal_is_a_record_made_before_it(aged: Aged) -> None:
    market = aged()
    done = market.retain(author="1000:me")
    bodies = notes(market)
    assert [body["journal"] for body in bodies] == [cut.journal for cut in done.cuts]
    assert sorted(cuts(done)) == list(CUT)
    for cut, body in zip(done.cuts, bodies):
        base = market.journals.open(cut.journal).base()
        assert body["author"] == "1000:me"
        assert (body["first"], body["last"], body["records"]) == (1, base.position, base.position)
        assert (body["hash"], body["policy"], cut.record) == (base.hash.hex(), base.policy, base.record)
        assert body["length"] == base.length
        assert body["stored"] > 0
        assert body["excerpt"]["sha256"] == cut.excerpt_sha256
        assert (body["first_ns"], body["last_ns"]) == (base.began_ns, base.time_ns)


def test_a_dry_run_says_the_same_and_writes_nothing(aged: Aged) -> None:
    market = aged()
    before = copied(market.storage)
    told = market.retain(dry_run=True)
    for port in ("segments", "blobs", "archives", "tables"):
        assert getattr(market.storage, port).data == getattr(before, port).data
    done = market.retain()
    assert [{**cut.note(""), "record": ""} for cut in told.cuts] == [
        {**cut.note(""), "record": ""} for cut in done.cuts
    ]
    assert told.kept == done.kept
    why = {kept.journal: kept.why for kept in told.kept}
    assert why["snapshots.one"] == "patterns.one is computed again from its state at snapshots.one@200"


def test_a_second_run_has_nothing_to_do_and_the_next_days_go_as_they_age(aged: Aged) -> None:
    market = aged()
    market.retain()
    count = len(notes(market))
    assert cuts(market.retain()) == {}
    assert len(notes(market)) == count
    market.live(30)
    market.packed()
    explained = market.explained()
    done = market.retain()
    assert cuts(done)["snapshots.one"][0] == 193
    after = market.explained()
    assert after == {ref: explained[ref] for ref in after}
    market.verified()
    market.replayed()
    assert list(check(market.journals)) == []


def test_the_observer_goes_on_to_the_heads_that_it_had_come_to_without(aged: Aged) -> None:
    plain, market = aged(), aged()
    market.retain()
    for it in (plain, market):
        it.live(40)
    assert market.digest() == plain.digest()
    restarted = Market(market.settings.paths.root, market.storage, market.hour)
    plain.live(10)
    restarted.live(10)
    assert restarted.digest() == plain.digest()
    assert digest_of(restarted.journals) != ""


# ---------------------------------------------------------------------- what keeps it


def test_nothing_goes_that_no_backup_has_where_there_are_backups(aged: Aged) -> None:
    market = aged()
    some = {"snapshots.one": 100, "patterns.one": 5}
    done = market.retention(backed_up=lambda: some).run()
    assert set(cuts(done)) == {"snapshots.one", "patterns.one"}
    assert market.bases()["snapshots.one"] == 96
    why = {kept.journal: kept.why for kept in done.kept}
    assert why["snapshots.two"] == "no backup has it"
    assert why["snapshots.one"] == "no backup has more of it"
    free = aged(retention={**RULES, "only_backed_up": False})
    assert set(cuts(free.retention(backed_up=dict).run())) == set(CUT)


def test_only_backed_up_without_a_backup_is_a_wrong_configuration(aged: Aged) -> None:
    market = aged(retention={**RULES, "only_backed_up": True})
    with pytest.raises(ConfigError, match="\\[backup\\] says no place"):
        market.retention().run()
    assert not any(market.bases().values())


def test_a_stage_keeps_what_it_needs_to_start_from(aged: Aged) -> None:
    market = aged()
    for row in market.storage.tables.query("patterns.one", "s.", "s.~")[1:]:
        market.storage.tables.commit("patterns.one", [Op("delete", row.key)])
    done = market.retention().run()
    assert "snapshots.one" not in cuts(done)
    assert "patterns.one goes on from its state at snapshots.one@0" in {kept.why for kept in done.kept}


def test_what_a_subscription_was_not_told_of_yet_stays(aged: Aged) -> None:
    subscription = {"name": "desk", "sink": {"kind": "log"}, "stream": "decisions"}
    market = aged(subscription=[subscription])
    results = market.journals.open("results.live-desk", "live")
    value = encode({"position": 3, "attempt": 0, "not_before_ns": 0})
    market.storage.tables.commit(results.name, [Op("insert", "c.decisions.live", value)])
    done = market.retain()
    assert "decisions.live" not in cuts(done) or cuts(done)["decisions.live"][1] <= 3
    why = "subscription desk has been told up to decisions.live@3"
    assert why in {kept.why for kept in done.kept}
    gone = Market(market.settings.paths.root, market.storage, HOURS)  # configured no more
    assert cuts(gone.retain())["decisions.live"][1] > 3


def test_what_has_not_been_packed_stays(aged: Aged, tmp_path: Path) -> None:
    market = Market(tmp_path / "loose", MemoryStorage())
    market.live(8 * 24)
    done = market.retain()
    assert cuts(done) == {}
    assert {kept.why for kept in done.kept} == {"not packed yet"}


def test_a_recording_is_as_old_as_it_is_long(aged: Aged) -> None:
    market = aged()
    retention = market.retention()
    market.clock.advance(20 * 365 * DAY_NS)  # nothing of it was recorded in these years
    assert retention.present_ns("live") == market.journals.open("clock.live").head().time_ns
    domain = market.observer.domain("rec")
    domain.declare("recorded", START_NS)
    writer = market.observer.writer("old", "rec", "recorded", START_NS)
    writer.write([
        Snapshot(source="old", event_ns=START_NS + day * DAY_NS, ingest_ns=START_NS + day * DAY_NS,
                 subjects=("a",), fields={"x": np.array([1.0])})
        for day in range(3)
    ])  # fmt: skip
    assert retention.present_ns("rec") == START_NS + 2 * DAY_NS


# ---------------------------------------------------------------------- by itself


def test_it_runs_once_a_day_after_packing(aged: Aged) -> None:
    market = aged()
    config = MaintenanceConfig.model_validate(PACKING)
    work = Maintenance(market.journals, market.clock, config, market.retention())
    first = work.round()
    assert {cut.journal for cut in first.retained} == set(CUT)
    market.live(23)
    assert work.round().retained == []
    market.live(2)
    assert work.round().retained != []


@pytest.mark.parametrize("put_right", [True, False])
def test_by_itself_nothing_goes_at_once_when_the_clock_was_set_far_ahead(aged: Aged, put_right: bool) -> None:
    """What comes then makes all that was there old; there is a day in which to put it right."""
    market = aged()
    config = MaintenanceConfig.model_validate(PACKING)
    work = Maintenance(market.journals, market.clock, config, market.retention())
    work.round()
    before, hour = market.bases(), market.hour
    market.clock.advance(400 * DAY_NS)
    for hours in (1, 21, 1):
        market.live(hours)
        assert work.round().retained == []
    assert market.bases() == before
    if put_right:
        market = Market(market.settings.paths.root, market.storage, hour + 23)
        work = Maintenance(market.journals, market.clock, config, market.retention())
        assert all(cut.last_ns < market.clock.now_ns() - 3 * DAY_NS for cut in work.round().retained)
    else:
        market.live(2)
        assert work.round().retained != []


def test_without_rules_it_never_does(aged: Aged) -> None:
    market = aged(retention={})
    assert not market.retention().is_due()
    assert cuts(market.retain()) == {}


def test_states_are_kept_from_which_cuts_can_go_on(aged: Aged) -> None:
    market = aged()
    apart_ns, useless = market.retention().states_kept("patterns.one")
    assert (apart_ns, useless) == (3 * DAY_NS // 10, set())
    assert market.retention().states_kept("snapshots.one") == (None, ())
    states = market.journals.open("patterns.one").states()
    gaps = [after.through_ns - before.through_ns for before, after in pairwise(states[1:])]
    assert all(gap >= 3 * DAY_NS // 10 for gap in gaps[:-3])
    market.retain()
    _, useless = market.retention().states_kept("patterns.one")
    assert useless == {row.seq for row in states if row.consumed.get("snapshots.one", 0) < 192}
    market.packed()
    left = market.journals.open("patterns.one").states()
    assert [row.seq for row in left[1:]] == [row.seq for row in states if row.seq not in useless]
    market.replayed()


def test_nothing_is_kept_twice_as_long_for_want_of_a_state(aged: Aged) -> None:
    market = aged()
    rows = market.storage.tables.query("patterns.one", "s.", "s.~")
    for row in rows[1:-2]:
        market.storage.tables.commit("patterns.one", [Op("delete", row.key)])
    assert cuts(market.retain())["snapshots.one"][1] >= (12 - 6) * 24
    market.replayed()


# ---------------------------------------------------------------------- other readers


def test_anchors_of_what_went_are_before_what_is_kept_and_no_disagreement(tmp_path: Path) -> None:
    early = Market(tmp_path / "early", MemoryStorage())
    ledger = Ledger(early.journals, early.clock, None)
    for _ in range(9):
        early.live(24)
        ledger.anchor()
    early.packed()
    early.retain()
    anchors, faults = inside(early.journals)
    assert faults == []
    found = {one.journal: one for one in verify_ledger(early.journals, {LEDGER: anchors})}
    assert all(one.sound for one in found.values())
    one = found["snapshots.one"]
    assert one.before > 0
    assert one.agreed + one.before == len(anchors) < 9
    assert found["operations.local"].before == 0


def test_an_export_holds_what_is_kept(aged: Aged, tmp_path: Path) -> None:
    market = aged()
    market.retain()
    done = export(market.journals, tmp_path / "audit")
    heads = (done.path / "HEADS.txt").read_text().splitlines()
    firsts = {line.split()[0]: int(line.split()[1]) for line in heads}
    assert firsts["snapshots.one"] == market.bases()["snapshots.one"] + 1
    assert " outside" in (done.path / "lineage.txt").read_text()


def test_a_reader_that_was_at_what_goes_is_told_so_and_verify_goes_on(aged: Aged) -> None:
    market = aged()
    packs._cache.clear()
    reading = market.journals.open("snapshots.one").rows()
    next(reading)
    market.retain()
    packs._cache.clear()
    with pytest.raises(Pruned, match=r"snapshots.one@\d+ was removed"):
        list(reading)
    assert verify(market.journals.open("snapshots.one")).base == 192


@pytest.mark.parametrize("fault", ["missing", "changed", "unlinked"])
def test_an_excerpt_that_is_not_what_was_written_is_a_fault(aged: Aged, fault: str) -> None:
    market = aged()
    market.retain()
    excerpts._loaded.clear()
    (name,) = [name for name in market.storage.archives.list("snapshots/source=one") if "excerpt" in name]
    if fault == "missing":
        market.storage.archives.delete(name)
    elif fault == "changed":
        market.storage.archives.put(name, market.storage.archives.get(name)[:-1] + b"!")
    else:
        row = market.storage.tables.get("snapshots.one", Base.KEY)
        assert row is not None
        forged = {**decode(row.value), "hash": "00" * 32}
        market.storage.tables.commit("snapshots.one", [Op("upsert", Base.KEY, encode(forged))])
    found = verify(market.journals.open("snapshots.one")).fault
    assert found is not None
    assert found.fault == ("gap" if fault == "missing" else "hash")
    if fault != "unlinked":
        with pytest.raises(ChainBroken):
            market.journals.open("snapshots.one").entry(192)
    if fault == "missing":
        assert [item.place for item in check(market.journals)] == [name]
    excerpts._loaded.clear()


def test_a_damaged_file_is_not_removed(aged: Aged) -> None:
    market = aged()
    packs._cache.clear()
    name = next(n for n in market.storage.archives.list("patterns/source=one") if ".records." in n)
    market.storage.archives.put(name, b"damaged")
    done = market.retention().run()
    assert "is not the file" in done.skipped["patterns.one"]
    assert market.bases()["patterns.one"] == 0
    assert market.bases()["snapshots.two"] == 192


def test_values_of_what_went_leave_the_cache_of_series(aged: Aged) -> None:
    market = aged()
    folder = market.settings.paths.data / "cache" / "series" / "snapshots.one"
    folder.mkdir(parents=True)
    old, new = folder / "000000000001-000000000200.block", folder / "000000000193-000000000288.block"
    for path in (old, new):
        path.write_bytes(b"x")
    market.retain()
    assert [path.name for path in folder.iterdir()] == [new.name]


def test_series_begin_where_their_journal_does(aged: Aged, tmp_path: Path) -> None:
    market = aged()

    def built(made: SourceColumns) -> SourceColumns:
        made.bring_forward()
        while made.build(Need(1, 2**62), Pace(0.999999)):
            pass
        return made

    def columns() -> SourceColumns:
        shelf = Shelf(tmp_path / "shelf", 1 << 30, left_free=0)
        shelf.prepare()
        sizes = {"tail_bytes": 1_000, "block_bytes": 2_000}
        return built(SourceColumns(market.journals.open("snapshots.one"), shelf, **sizes))

    def seen(made: SourceColumns) -> list[int]:
        parts = made.read("a", ("x",), 0, 2**63 - 1)
        return [int(at) for part in parts for at in part.event_ns]

    running = columns()
    before = seen(running)
    market.retain()
    kept = [at for at in before if at > market.journals.open("snapshots.one").base().time_ns]
    assert 0 < len(kept) < len(before)
    assert seen(columns()) == kept
    seen(running)  # notices which of its files went
    assert seen(built(running)) == kept


def test_what_the_page_checks_of_a_decision_is_sound(aged: Aged) -> None:
    market = aged()
    market.retain()
    journal = market.journals.open("decisions.live")
    explainer = Explainer(market.journals)
    counts = []
    for position in range(journal.base().position + 1, journal.head().position + 1):
        if isinstance(journal.entry(position).record, Decision):
            found = verified(market.journals, explainer.explain(at(journal, position)))
            assert found.faults == []
            counts.append(found.checked)
    assert max(counts) >= 4


# ---------------------------------------------------------------------- any policy


GLOBS = ("snapshots.*", "patterns.*", "*.live", "clock.*", "decisions.*", "events.*", "*")
RULE = st.fixed_dictionaries({
    "journals": st.sampled_from(GLOBS),
    "keep": st.sampled_from(["1d", "2d", "3d", "5d", "8d", "forever"]),
})  # fmt: skip
HOLD = st.tuples(st.sampled_from(["snapshots.one", "*", "decisions.*"]), st.integers(0, 12))


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rules=st.lists(RULE, min_size=1, max_size=4), held=st.lists(HOLD, max_size=1),
    floor=st.sampled_from(["0s", "4d", "1826d"]), backed=st.integers(150, HOURS), more=st.integers(0, 30),
)  # fmt: skip
def test_whatever_goes_nothing_that_is_kept_changes(
    aged_storage: MemoryStorage, tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, str]],
    held: list[tuple[str, int]], floor: str, backed: int, more: int,
) -> None:  # fmt: skip
    root = tmp_path_factory.mktemp("any")
    market = Market(root, copied(aged_storage), HOURS, retention={"rule": rules, "decisions_floor": floor})
    standing = [
        holds.add(
            market.journals,
            [glob],
            author="a",
            reason="r",
            now_ns=1,
            from_ns=START_NS + day * DAY_NS,
            to_ns=START_NS + (day + 1) * DAY_NS,
        )
        for glob, day in held
    ]
    for _ in range(2):
        heads, explained = market.digest(), market.explained()
        rows = {name: list(market.journals.open(name).rows()) for name in market.names()}
        hours = range(market.hour - 28, market.hour, 9)
        answers = market.answers(hours)
        market.retention(backed_up=lambda: dict.fromkeys(market.names(), backed)).run()
        market.retention().run()
        assert market.digest() == heads
        market.verified()
        market.replayed()
        after = market.explained()
        assert after == {ref: explained[ref] for ref in after}
        now = {key: answer for key, answer in market.answers(hours).items() if answer is not None}
        assert now == {key: answers[key] for key in now}
        for name, found in rows.items():
            base = market.journals.open(name).base()
            gone = [row for row in found if row.records and row.last <= base.position]
            assert not any(hold.covers(name, row.first_ns, row.last_ns) for hold in standing for row in gone)
            assert all(row.last_ns < market.clock.now_ns() - DAY_NS for row in gone)
        market.live(more)
        market.packed()
