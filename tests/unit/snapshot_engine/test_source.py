import numpy as np
import pytest

from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.source import MAX_ERROR, Collected, History, collect_safely


class Scripted:
    name = "s"
    interval_ns = 1

    def __init__(self, outcome: Collected | Exception) -> None:
        self._outcome = outcome

    def collect(self, now_ns: int) -> Collected:
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome

    def close(self) -> None:
        pass


def of(value: float) -> Snapshot:
    return Snapshot(source="s", event_ns=5, ingest_ns=6, subjects=("A",), fields={"price": np.array([value])})


def test_what_is_collected_was_learnt_now() -> None:
    got = collect_safely(Scripted(of(1.0)), 9)
    assert (got.event_ns, got.ingest_ns, got.status) == (5, 9, "ok")


@pytest.mark.parametrize("error", [OSError("no route"), ValueError("bad \ud800"), RuntimeError("x" * 9999)])
def test_a_failed_collection_is_a_snapshot_that_says_so(error: Exception) -> None:
    got = collect_safely(Scripted(error), 9)
    assert (got.status, got.subjects, dict(got.fields)) == ("unavailable", (), {})
    assert (got.event_ns, got.ingest_ns) == (9, 9)
    assert got.error is not None
    assert got.error.startswith(f"{type(error).__name__}: {str(error)[:3]}")
    assert len(got.error) <= MAX_ERROR
    got.encode(1)


def test_moments_gone_by_were_learnt_now_too() -> None:
    history = History((of(1.0), of(2.0)))
    got = collect_safely(Scripted(history), 9)
    assert isinstance(got, History)
    assert [(s.event_ns, s.ingest_ns, s.source) for s in got.snapshots] == [(5, 9, "s")] * 2
