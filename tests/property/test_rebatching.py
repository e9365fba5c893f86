"""However a recording is cut into commits, steps and starts, the journals are those of one go."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.audit.replay import replay
from observer_core.storage.memory import MemoryStorage
from tests.support.market import START_MINUTE, heads, observer, take

FAST = {
    "spike": {"threshold": 4.0}, "baseline": {"warm_up": 8, "span": 8, "slow_span": 30},
    "stale": {"min_arrivals": 4}, "limits": {"refractory": 5},
}  # fmt: skip
SUBJECTS = ("A/USD", "B/USD", "C/USD")


@st.composite
def recordings(draw: st.DrawFn) -> list[str]:
    """Minutes with gaps between them, prices that jump, subjects that are silent for a while."""
    minutes = draw(st.integers(20, 90))
    jumps = draw(st.sets(st.integers(0, minutes), max_size=4))
    silences = {name: draw(st.tuples(st.integers(0, minutes), st.integers(0, 40))) for name in SUBJECTS}
    gaps = draw(st.dictionaries(st.integers(0, minutes), st.integers(1, 200), max_size=3))
    rows, at = [], START_MINUTE
    for minute in range(minutes):
        at += 1 + gaps.get(minute, 0)
        for place, name in enumerate(SUBJECTS):
            begin, length = silences[name]
            if not begin <= minute < begin + length:
                price = 100 + place + (minute * 7 + place) % 5 * 0.1
                rows.append(f"{at * 60},{name},{price * (1.5 if minute in jumps else 1):.3f}")
    return rows or [f"{at * 60},A/USD,1"]


@given(
    lines=recordings(),
    batches=st.lists(st.integers(1, 60), min_size=1, max_size=8),
    closed=st.booleans(),
)
@settings(max_examples=40)
def test_commits_of_any_size_by_any_number_of_processes(
    lines: list[str], batches: list[int], closed: bool
) -> None:
    """Each process stops after some commits, as if it had been killed, or after it has closed."""

    class Stop(Exception):
        pass

    def stop(*_: int) -> None:
        raise Stop

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tape.csv"
        path.write_text("\n".join(["ts,name,price", *lines]) + "\n")
        whole = observer(path.parent, recognise=FAST)
        take(whole, path, batch=1000)
        memory = MemoryStorage()
        for batch in batches:
            it = observer(path.parent, memory, recognise=FAST)
            with contextlib.suppress(Stop):
                take(it, path, batch=batch, progress=stop)
            if closed:
                it.close()
        it = observer(path.parent, memory, recognise=FAST)
        take(it, path, batch=batches[0])
        assert heads(it.journals) == heads(whole.journals)
        for kind in ("patterns", "events", "decisions"):
            assert replay(it.journals, f"{kind}.desk", "1.0").equal


@given(
    lines=recordings(), cuts=st.lists(st.integers(1, 80), min_size=1, max_size=6), batch=st.integers(1, 50)
)
@settings(max_examples=25)
def test_what_is_taken_in_as_it_grows_is_in_the_journal_once_and_in_order(
    lines: list[str], cuts: list[int], batch: int
) -> None:
    """Snapshots differ where a cut went through a minute, observations never do."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "tape.csv"
        it = observer(path.parent, recognise=FAST)
        known = 0
        for more in [*cuts, len(lines)]:
            known = min(len(lines), known + more)
            path.write_text("\n".join(["ts,name,price", *lines[:known]]) + "\n")
            take(it, path, batch=batch)
        found = []
        for entry in it.journals.open("snapshots.desk").scan():
            record = entry.record
            for place, subject in enumerate(getattr(record, "subjects", ())):
                value = record.fields["price"][place]  # type: ignore[union-attr]
                found.append(f"{record.event_ns // 10**9},{subject},{value:.3f}")  # type: ignore[union-attr]
        assert sorted(found) == sorted(lines)
        for kind in ("patterns", "events", "decisions"):
            assert replay(it.journals, f"{kind}.desk", "1.0").equal
