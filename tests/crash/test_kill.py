"""Real processes, killed with SIGKILL at random moments, end at the heads of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from observer_core.maintenance.fsck import check
from observer_core.storage.archive.packs import Packs
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.toys import Chain

SCRIPT = Path(__file__).with_name("endless.py")
PACKING = Path(__file__).with_name("endless_packing.py")


def begin(folder: Path, durability: str, total: int) -> subprocess.Popen[str]:
    return started(SCRIPT, str(folder), durability, str(total))


def started(script: Path, *arguments: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, str(script), *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> Any:
    """What it says at its end. `communicate` with a timeout passes over what came together with "ready"."""
    assert process.stdout is not None
    said = process.stdout.read()
    assert process.wait() == 0
    return json.loads(said)


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
    said = ended(begin(tmp_path, durability, total))
    assert said["cuts"] == 0, "a killed process loses nothing, in either mode"
    undisturbed = Chain(MemoryStorage(), total=total).run()
    assert {name: tuple(head) for name, head in said["heads"].items()} == undisturbed
    storage = LocalStorage(tmp_path)
    for name in undisturbed:
        assert verify(Journals(storage, worker="reader").open(name)).fault is None
    storage.close()


@pytest.mark.parametrize("durability", ["normal", "full"])
def test_one_that_packs_beside_it_may_be_killed_too(tmp_path: Path, durability: str) -> None:
    chance = random.Random(durability)
    total = 4000
    for _ in range(6):
        packing = [started(PACKING, str(tmp_path), durability) for _ in range(2)]
        writing = begin(tmp_path, durability, total)
        time.sleep(chance.uniform(0.0, 0.4))
        for process in chance.sample([writing, *packing], 3):
            time.sleep(chance.uniform(0.0, 0.2))
            process.send_signal(signal.SIGKILL)
            process.communicate()
        assert [process.returncode for process in packing] == [-signal.SIGKILL] * 2
    packing = [started(PACKING, str(tmp_path), durability)]
    said = ended(begin(tmp_path, durability, total))
    time.sleep(1.0)
    packing[0].send_signal(signal.SIGKILL)
    packing[0].communicate()
    assert said["cuts"] == 0
    undisturbed = Chain(MemoryStorage(), total=total).run()
    assert {name: tuple(head) for name, head in said["heads"].items()} == undisturbed
    storage = LocalStorage(tmp_path)
    journals = Journals(storage, worker="reader")
    for name in undisturbed:
        assert verify(journals.open(name)).fault is None
        assert len(Packs(storage, name).all()) > 1
    assert [finding for finding in check(journals) if not finding.harmless] == []
    storage.close()
