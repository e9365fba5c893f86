"""`sql --json` prints every value that DuckDB may give."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from observer_core.cli.querying import _plain
from observer_core.shared.canonical import encode
from tests.unit.cli.conftest import Observer


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2**64, str(2**64)), (2**64 - 1, 2**64 - 1), (math.nan, "nan"), (math.inf, "inf"), (-0.0, -0.0),
        (Decimal("1.10"), "1.10"), ([Decimal("1.5"), None], ["1.5", None]),
        ({1: {2: math.nan}}, {"1": {"2": "nan"}}),
        (datetime(2018, 4, 5), "2018-04-05T00:00:00Z"), (date(2018, 4, 5), "2018-04-05"),
        (datetime(2018, 4, 5, tzinfo=UTC), "2018-04-05T00:00:00+00:00"), (b"ab", "b'ab'"), (True, True),
    ],
)  # fmt: skip
def test_what_json_has_no_word_for_is_its_text(value: Any, said: Any) -> None:
    assert _plain(value) == said
    encode(_plain(value))


def test_a_domain_that_is_not_there_is_no_empty_file(look: Observer, tmp_path: Path) -> None:
    found = look("export", "snapshots", tmp_path / "out.csv", "--domain", "nix")
    assert found.exit_code == 2
    assert "there is no domain 'nix'" in found.stderr
    assert not (tmp_path / "out.csv").exists()
    assert look("export", "snapshots", tmp_path / "out.csv", "--domain", "desk").exit_code == 0
    assert len((tmp_path / "out.csv").read_text().splitlines()) > 1
