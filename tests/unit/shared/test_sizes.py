"""Sizes in configurations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from observer_core.safety.config import SafetyConfig
from observer_core.shared.config import format_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("0B", 0), ("7B", 7), ("512KiB", 1 << 19), ("256MiB", 1 << 28), ("1.5GiB", 3 << 29), ("2TiB", 1 << 41)],
)
def test_what_is_written_is_so_many_bytes(text: str, size: int) -> None:
    assert SafetyConfig(least_free=text).least_free == size


@pytest.mark.parametrize("text", ["", "256", "256MB", "-1MiB", "1 GiB", "MiB", "1,5GiB"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValidationError, match="is not a size: expected one like 512KiB, 256MiB, 1.5GiB"):
        SafetyConfig(least_free=text)


@given(st.integers(0, 1 << 45))
def test_what_is_shown_reads_back(size: int) -> None:
    assert SafetyConfig(least_free=format_size(size)).least_free == size


def test_the_shortest_exact_spelling_is_shown() -> None:
    assert [format_size(size) for size in (0, 1000, 1024, 1 << 28, 320 << 20, 3 << 29)] == [
        "0B", "1000B", "1KiB", "256MiB", "320MiB", "1536MiB",
    ]  # fmt: skip
    assert SafetyConfig().canonical() == {
        "safe_mode": False, "least_free": "256MiB", "most_memory": None, "clock_jump": "2s",
    }  # fmt: skip
