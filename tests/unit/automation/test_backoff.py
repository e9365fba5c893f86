from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.automation.sinks.backoff import delay_ns
from observer_core.shared.clock import SECOND


@given(record_id=st.text(), attempt=st.integers(1, 10_000))
def test_the_wait_is_between_a_half_and_the_whole_of_the_doubled_base(record_id: str, attempt: int) -> None:
    whole = min(300 * SECOND, SECOND * 2 ** min(attempt - 1, 30))
    assert whole // 2 <= delay_ns(record_id, attempt) <= whole


def test_equal_record_and_attempt_wait_equally_in_every_run() -> None:
    assert delay_ns("decision-7", 4) == 4_555_933_139


def test_records_that_fail_together_do_not_come_back_together() -> None:
    waits = [delay_ns(f"record-{n}", 6) for n in range(1000)]
    fullest_second = max(sum(s * SECOND <= wait < (s + 1) * SECOND for wait in waits) for s in range(16, 32))
    assert fullest_second < 120  # 16 seconds, 62 each on average


def test_attempts_count_from_one() -> None:
    with pytest.raises(ValueError, match="attempts count from 1; found 0"):
        delay_ns("a", 0)
