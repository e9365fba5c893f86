"""A thread that looks until it is stopped, whatever a look does."""

from __future__ import annotations

import threading

from structlog.testing import capture_logs

from observer_core.runtime.looking import Looking


def test_it_looks_again_after_a_defect_and_stops_when_asked() -> None:
    looks = threading.Semaphore(0)

    def look() -> None:
        looks.release()
        raise ValueError("a defect")

    looking = Looking("test", look, lambda: 0.001)
    with capture_logs() as logs:
        looking.start()
        assert all(looks.acquire(timeout=10) for _ in range(3))
        looking.stop()
    assert looking.is_stopped()
    assert logs[0]["event"] == "a look has failed"
    assert logs[0]["thread"] == "test"


def test_it_waits_before_the_first_look_and_may_be_stopped_unstarted() -> None:
    looked = threading.Event()
    looking = Looking("test", looked.set, lambda: 60.0, first=60.0)
    looking.start()
    looking.stop()
    assert not looked.is_set()
    Looking("other", looked.set, lambda: 60.0).stop()
