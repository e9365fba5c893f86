"""Recordings: no order of subjects, no start and no spelling of a number changes what is read."""

import math
import random
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.shared.clock import format_time
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.recorded.csv_rows import _floats
from observer_core.snapshot_engine.sources.recording import Load, RecordingConfig, plan

SECOND = 1_000_000_000
CONFIG = RecordingConfig(time="ts", subject="s", bar=10 * SECOND)
Row = tuple[str, int, float]

rows = st.lists(
    st.tuples(st.sampled_from("ABC"), st.integers(0, 6), st.floats(allow_nan=False, allow_infinity=False)),
    min_size=1,
    max_size=25,
)


def load_of(rows: list[Row]) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.csv"
        lines = [f"{format_time(t * 10 * SECOND + 10**18)},{s},{v!r}" for s, t, v in rows]
        path.write_text("\n".join(("ts,s,value", *lines)) + "\n")
        return plan([str(path)], "m", CONFIG)


def plain(snapshot: Snapshot) -> tuple[object, ...]:
    fields = {name: column.tolist() for name, column in snapshot.fields.items()}
    return snapshot.event_ns, snapshot.ingest_ns, snapshot.subjects, repr(fields)


def interleaved(rows: list[Row], seed: int) -> list[Row]:
    """The rows with each subject's own order kept."""
    waiting = {s: [row for row in rows if row[0] == s] for s in "ABC"}
    order = [row[0] for row in rows]
    random.Random(seed).shuffle(order)
    return [waiting[s].pop(0) for s in order]


@given(rows, st.integers())
def test_how_subjects_are_interleaved_in_a_file_does_not_matter(rows: list[Row], seed: int) -> None:
    assert [plain(s) for s in load_of(rows).snapshots()] == [
        plain(s) for s in load_of(interleaved(rows, seed)).snapshots()
    ]


@given(rows)
def test_every_row_comes_once_in_its_subjects_order_and_never_before_it_was_knowable(rows: list[Row]) -> None:
    load = load_of(rows)
    seen: dict[str, list[tuple[int, float]]] = {}
    last = 0
    numbers: list[int] = []
    for snapshot in load.snapshots():
        assert snapshot.ingest_ns >= max(last, snapshot.event_ns + 10 * SECOND)
        last = snapshot.ingest_ns
        assert len(set(snapshot.subjects)) == len(snapshot.subjects)
        assert snapshot.origin is not None
        numbers += snapshot.origin["rows"]
        for subject, value, number in zip(
            snapshot.subjects, snapshot.fields["value"].tolist(), snapshot.origin["rows"], strict=True
        ):
            assert rows[number][0] == subject
            seen.setdefault(subject, []).append((snapshot.event_ns, value))
    assert sorted(numbers) == list(range(len(rows)))
    for subject, values in seen.items():
        assert values == [(t * 10 * SECOND + 10**18, v) for s, t, v in rows if s == subject]


@given(rows, st.data())
def test_the_snapshots_from_any_start_are_the_rest(rows: list[Row], data: st.DataObject) -> None:
    load = load_of(rows)
    start = data.draw(st.integers(0, load.total))
    assert [plain(s) for s in load.snapshots(start)] == [plain(s) for s in load.snapshots()][start:]


cell = st.one_of(
    st.floats().map(repr),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.sampled_from(
        ["", "-0", "-0.0", "+1", ".5", "5.", "1e5", "1E-7", "007", " 1 ", "nan", "1e400", "true"]
    ),
    st.text(max_size=4),
)


@settings(max_examples=300)
@given(st.lists(cell, min_size=1, max_size=6))
def test_cells_are_read_as_float_reads_them_or_refused(cells: list[str]) -> None:
    try:
        expected = [float(c) if c else math.nan for c in cells]
        readable = not any(map(math.isinf, expected))
    except ValueError:
        readable = False
    try:
        got = _floats(tuple(cells)).tolist()
    except ValueError:
        assert not readable
    else:
        assert readable
        assert list(map(repr, got)) == list(map(repr, expected))
