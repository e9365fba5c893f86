"""What holds of a journal for any records, any batches and any damage."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.shared.canonical import encode
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import Conflict
from observer_core.shared.records import Note
from observer_core.storage.journal import Commit, Journal
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.rows import GENESIS, InputRange, chain
from observer_core.storage.verify import verify
from tests.support.toys import START_NS

NAME = "commands.x"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
bodies = st.dictionaries(st.text(max_size=4), json_values, max_size=3)
steps = st.lists(st.tuples(bodies, st.integers(0, 8_000)), min_size=1, max_size=25)


def records(values: list[tuple[Any, int]]) -> list[Note]:
    time_ns, found = START_NS, []
    for body, seconds in values:
        time_ns += seconds * SECOND
        found.append(Note(kind="tick", time_ns=time_ns, body=body))
    return found


def commit(journal: Journal, notes: list[Note], **parts: Any) -> None:
    journal.commit(journal.head(), Commit(records=notes, **parts))


def written(notes: list[Note], cuts: list[int]) -> MemoryStorage:
    """`notes` committed in batches that end at `cuts`."""
    storage = MemoryStorage()
    journal = Journals(storage, worker="w").open(NAME, "d")
    ends = sorted({min(cut, len(notes)) for cut in cuts} | {len(notes)})
    start = 0
    for number, end in enumerate(ends, 1):
        commit(journal, notes[start:end], inputs=[InputRange("i.x", number, number)])
        start = end
    return storage


cuts = st.lists(st.integers(0, 25), max_size=6)


@given(steps, cuts)
def test_the_chain_and_all_readers_do_not_depend_on_batches(values: list[Any], where: list[int]) -> None:
    notes = records(values)
    journal = Journals(written(notes, where), worker="r").open(NAME)
    head = journal.head()
    assert head.hash == chain(GENESIS, [note.encode(0) for note in notes])
    assert head.position == len(notes)
    assert [entry.record.encode(0) for entry in journal.scan()] == [note.encode(0) for note in notes]
    for after in range(len(notes) + 1):
        assert [e.position for e in journal.read(after, 3)] == list(range(after + 1, len(notes) + 1))[:3]
        assert [e.position for e in journal.scan(after + 1, after + 2)] == list(
            range(after + 1, len(notes) + 1)
        )[:2]
    for at in {START_NS - 1, *(note.time_ns for note in notes), *(note.time_ns + 1 for note in notes)}:
        assert journal.position_at(at) == sum(note.time_ns <= at for note in notes)
    assert verify(journal).fault is None


@given(bodies)
def test_a_record_comes_back_as_it_was(body: dict[str, Any]) -> None:
    note = Note(kind="tick", time_ns=START_NS, body=body)
    storage = written([note], [])
    assert encode(next(Journals(storage, worker="r").open(NAME).scan()).record.body) == encode(body)  # type: ignore[union-attr]


@settings(max_examples=60)
@given(steps, cuts, st.data())
def test_any_changed_byte_of_a_committed_record_is_found(
    values: list[Any], where: list[int], data: st.DataObject
) -> None:
    storage = written(records(values), where)
    rows = [row for row in Journals(storage, worker="r").open(NAME).rows() if row.records]
    row = data.draw(st.sampled_from(rows))
    index = data.draw(st.integers(0, row.length - 1))
    storage.segments.data[row.segment][row.offset + index] ^= data.draw(st.integers(1, 255))
    fault = verify(Journals(storage, worker="r").open(NAME)).fault
    assert fault is not None
    assert (fault.position, fault.fault) == (row.first, "hash")


@settings(max_examples=60)
@given(steps, cuts, st.data())
def test_any_cut_of_a_segment_is_found_where_it_begins(
    values: list[Any], where: list[int], data: st.DataObject
) -> None:
    storage = written(records(values), where)
    rows = [row for row in Journals(storage, worker="r").open(NAME).rows() if row.records]
    row = data.draw(st.sampled_from(rows))
    del storage.segments.data[row.segment][row.offset + data.draw(st.integers(0, row.length - 1)) :]
    fault = verify(Journals(storage, worker="r").open(NAME)).fault
    assert fault is not None
    assert (fault.position, fault.fault) == (row.first, "gap")


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 3)), max_size=30))
def test_writers_that_conflict_never_lose_repeat_or_mix(turns: list[tuple[int, bool, int]]) -> None:
    """Three processes commit on heads that may be stale: each commit is there whole, once, or not at all."""
    storage = MemoryStorage()
    journals = [Journals(storage, worker=f"w{n}").open(NAME, "d") for n in range(3)]
    known = [journal.head() for journal in journals]
    expected: list[tuple[int, int]] = []
    for turn, (who, look, count) in enumerate(turns):
        if look:
            known[who] = journals[who].head()
        notes = [Note(kind="tick", time_ns=START_NS, body={"turn": turn, "part": n}) for n in range(count)]
        current = known[who].position == len(expected)
        try:
            known[who] = journals[who].commit(
                known[who], Commit(records=notes, checkpoints={"i": {"turn": turn}})
            )
        except Conflict:
            assert not current
            continue
        assert current
        expected += [(turn, n) for n in range(count)]
        for journal in journals:
            journal.head()
            assert journal.checkpoint("i") == {"turn": turn}
    for journal in journals:
        assert [(e.record.body["turn"], e.record.body["part"]) for e in journal.scan()] == expected  # type: ignore[union-attr]
        assert verify(journal).fault is None
