"""Real processes, killed with SIGKILL at random moments, end at the heads of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.toys import Chain

SCRIPT = Path(__file__).with_name("endless.py")


def begin(folder: Path, durability: str, total: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), durability, str(total)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(("durability", "total"), [("normal", 1500), ("full", 1500)])
def test_killed_at_random_moments_it_ends_at_the_same_heads(
    tmp_path: Path, durability: str, total: int
) -> None:
    chance = random.Random(durability)
    killed = 0
    for _ in range(7):
        process = begin(tmp_path, durability, total)
        time.sleep(chance.uniform(0.0, 0.12))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        process.communicate()
    assert killed >= 5, "the run must be longer than the kills"
    process = begin(tmp_path, durability, total)
    said = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 0
    assert said["cuts"] == 0, "a killed process loses nothing, in either mode"
    undisturbed = Chain(MemoryStorage(), total=total).run()
    assert {name: tuple(head) for name, head in said["heads"].items()} == undisturbed
    storage = LocalStorage(tmp_path)
    for name in undisturbed:
        assert verify(Journals(storage, worker="reader").open(name)).fault is None
    storage.close()
