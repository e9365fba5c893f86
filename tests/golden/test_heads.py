"""The same recording gives the same heads: in any batches, Python version and vector instruction set."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.golden.heads import GOLDEN, ROOT, all_heads, heads

EXPECTED = json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_batches_do_not_change_the_heads(batch: int) -> None:
    assert heads(batch) == EXPECTED["one epoch"]


@pytest.mark.parametrize("batch", [7, 1000])
def test_a_changed_configuration_in_mid_stream_opens_an_epoch_at_the_same_place(batch: int) -> None:
    assert heads(batch, change_after=2500) == EXPECTED["two epochs"]


def test_the_golden_heads_hold() -> None:
    assert all_heads() == EXPECTED


def vector_levels() -> list[str]:
    """What this machine's NumPy can be told to do without, from the newest level down."""
    found = [
        f
        for f in np._core._multiarray_umath.__cpu_dispatch__
        if np._core._multiarray_umath.__cpu_features__[f]
    ]
    return [" ".join(found[-count:]) for count in range(1, len(found) + 1)]


@pytest.mark.parametrize("without", vector_levels())
def test_vector_instructions_do_not_change_the_heads(without: str) -> None:
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": without, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-m", "tests.golden.heads"],
        env=environment,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == EXPECTED
