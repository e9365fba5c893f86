"""Several worker processes on one account, and everything that a queue, a machine or a storage may do."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observer_core.automation.dead_letters import DeadLetters
from observer_core.runtime.audit.replay import replay
from observer_core.runtime.handlers import Handlers, options
from observer_core.runtime.observer import Observer
from observer_core.runtime.settings import Settings, load
from observer_core.shared.clock import SECOND
from observer_core.shared.records import Decision, Event, Snapshot
from observer_core.storage.azure import AzureStorage
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.ports import Storage
from observer_core.storage.verify import verify
from tests.functions.conftest import configured
from tests.support.fault_proxy import Faults, between
from tests.support.functions_host import HOST, Fate, FunctionsHost
from tests.support.functions_process import ROOT

SOURCES = ("alpha", "beta", "gamma")
COUNT = 120
HOST_OPTIONS = HOST["extensions"]["queues"]
_prefixes = count(1)


class Written:
    """Snapshots of three sources, given by the test, on some storage; and what is made of them there."""

    def __init__(self, settings: Settings, storage: Storage, start_ns: int) -> None:
        self.storage, self.start_ns = storage, start_ns
        self.writer = Handlers(Observer(settings, storage, options=options(settings)))

    def write(self, second: int, *, hint: bool = True) -> None:
        for snapshot in snapshots(self.start_ns, second):
            self.writer.observer.writer(snapshot.source, "live", "live", snapshot.ingest_ns).write([snapshot])
            if hint:
                self.writer.pushed(snapshot.source)

    def journals(self) -> Journals:
        return Journals(self.storage, worker="reader")

    def one_input(self) -> dict[str, tuple[int, str]]:
        """Heads of the journals with one input."""
        known = self.journals()
        names = [f"{kind}.{source}" for kind in ("snapshots", "patterns") for source in SOURCES]
        return {
            name: (known.open(name).head().position, known.open(name).head().hash.hex()) for name in names
        }

    def published(self) -> list[str]:
        found = (e.record for e in self.journals().open("events.live").scan())
        # A shock of several sources is told with the third pattern, whichever that is.
        return [
            event.id
            for event in found
            if isinstance(event, Event) and ".pattern." in event.type and "market_shock" not in event.type
        ]

    def decided(self) -> set[tuple[str, str, str]]:
        found = (e.record for e in self.journals().open("decisions.live").scan())
        # Whether a block has ended yet is for the clock to say.
        return {
            (d.policy, d.scope, d.verdict)
            for d in found
            if isinstance(d, Decision) and d.verdict != "release"
        }


class Run(Written):
    """The app on Azurite."""

    def __init__(self, folder: Path, azurite: str) -> None:
        prefix = f"f{next(_prefixes)}"
        self.settings = configured(folder, azurite, prefix)
        storage = AzureStorage.connect({"AzureWebJobsStorage": azurite}, prefix=prefix, queues_as_named=True)
        # Recent, so that the domain's clock does not run away from the data.
        start_ns = (time.time_ns() // SECOND - COUNT) * SECOND
        super().__init__(_settings(folder, self.settings["OBSERVER_QUEUE_PREFIX"]), storage, start_ns)

    def alone(self, folder: Path) -> Written:
        """The same snapshots through one process on a storage that never fails."""
        other = Written(_settings(folder, "alone"), MemoryStorage(), self.start_ns)
        for second in range(COUNT):
            other.write(second, hint=False)
        other.writer.observer.domain("live").work(refresh=True, flush=True)
        return other


def _settings(folder: Path, prefix: str) -> Settings:
    return load(root=folder, queue_prefix=prefix)


def snapshots(start_ns: int, second: int) -> Iterator[Snapshot]:
    for place, source in enumerate(SOURCES):
        values = [100 + 0.05 * ((second * 7 + place) % 11), 50 + 0.02 * ((second * 5) % 7)]
        if second % 60 >= 55 + place:
            values[0] *= 1.3
        now = start_ns + second * SECOND
        yield Snapshot(
            source=source, event_ns=now, ingest_ns=now, subjects=(f"{source}/A", f"{source}/B"),
            fields={"price": np.array(values)},
        )  # fmt: skip


def through(run: Run) -> bool:
    known = run.journals()
    done = known.open("events.live").checkpoints()
    return (
        all(
            done.get(f"patterns.{source}", {"position": 0})["position"]
            == known.open(f"patterns.{source}").head().position
            and known.open(f"patterns.{source}")
            .checkpoints()
            .get(f"snapshots.{source}", {"position": 0})["position"]
            >= COUNT
            for source in SOURCES
        )
        and known.open("decisions.live").checkpoints().get("events.live", {"position": -1})["position"]
        == known.open("events.live").head().position
    )


def check(run: Run, alone: Written) -> None:
    known = run.journals()
    assert run.one_input() == alone.one_input()
    published = run.published()
    assert len(published) == len(set(published))
    assert set(published) == set(alone.published()) != set()
    assert run.decided() >= alone.decided() != set()
    for name in ("events.live", "decisions.live"):
        replayed = replay(known, name, run.writer.observer.build.version)
        assert replayed.equal, replayed
    for name in known.names():
        assert verify(known.open(name)).fault is None, name


def wait_for(condition: Any, seconds: float, host: FunctionsHost) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (host.counts, host.lengths(), host.failures[-5:])
        time.sleep(0.25)


def timers(host: FunctionsHost, *, sweep: float = 1.0) -> None:
    host.every(1.0, "clock")
    host.every(sweep, "sweep")


@pytest.fixture
def run(tmp_path: Path, azurite: str) -> Run:
    return Run(tmp_path, azurite)


def test_messages_lost_doubled_late_and_out_of_order(run: Run, tmp_path: Path) -> None:
    dice = random.Random(5)

    def fate(queue: str, body: str) -> Fate:
        if queue.endswith("-poison"):
            return "give"
        return dice.choices(("give", "twice", "lose", "delay"), (0.5, 0.2, 0.2, 0.1))[0]

    host = FunctionsHost(run.settings, workers=3, fate=fate)
    try:
        host.start(pollers=3)
        timers(host)
        for second in range(COUNT):
            run.write(second)
        wait_for(lambda: through(run), 90, host)
        assert host.counts.lost > 5
    finally:
        host.stop()
    check(run, run.alone(tmp_path))


def test_workers_killed_at_random_moments(run: Run, tmp_path: Path) -> None:
    host = FunctionsHost(
        run.settings,
        workers=2,
        options={**HOST_OPTIONS, "visibilityTimeout": "00:00:01", "maxDequeueCount": 50},
    )
    dice = random.Random(7)
    try:
        host.start(pollers=2)
        timers(host)
        for second in range(COUNT):
            run.write(second)
            if second % 20 == 10:
                time.sleep(dice.random() * 0.3)
                host.replace(dice.randrange(2))
        wait_for(lambda: through(run), 90, host)
    finally:
        host.stop()
    check(run, run.alone(tmp_path))


def test_a_storage_that_answers_badly(run: Run, tmp_path: Path, azurite: str) -> None:
    faults = Faults()
    with between(azurite, faults) as connection:
        settings = {**run.settings, "AzureWebJobsStorage": connection}
        host = FunctionsHost(
            settings, workers=2,
            options={**HOST_OPTIONS, "visibilityTimeout": "00:00:01", "maxDequeueCount": 50},
            queues_on=azurite,
        )  # fmt: skip
        try:
            host.start(pollers=2)
            timers(host)
            for second in range(COUNT):
                run.write(second)
            wait_for(lambda: through(run), 120, host)
        finally:
            faults.on = False
            host.stop()
    assert min(faults.counts[name] for name in ("busy", "busy after", "silent after", "late")) > 5, (
        faults.counts
    )
    assert faults.counts["hang"] == faults.hangs
    check(run, run.alone(tmp_path))


def test_sweep_alone_brings_everything_through_when_every_hint_is_lost(run: Run, tmp_path: Path) -> None:
    """Its own hints arrive; whatever a function sends after its work is lost."""
    swept: list[str] = []
    host = FunctionsHost(run.settings, workers=1)
    try:
        for second in range(COUNT):
            run.write(second, hint=False)
        worker = host.running[0]
        names = {queue: name for queue, name in host.queues.items() if not queue.endswith("-poison")}
        for _ in range(8):
            worker.timer("sweep")
            found = [
                (queue, message)
                for queue in names
                for message in run.storage.queues.receive(queue, count=32, visibility_ns=600 * SECOND)
            ]
            for queue, message in found:
                worker.message(names[queue], message.body)
                swept.append(queue)
            for queue in names:  # what these functions have sent
                for message in run.storage.queues.receive(queue, count=32):
                    run.storage.queues.delete(queue, message)
            for queue, message in found:
                run.storage.queues.delete(queue, message)
            if through(run):
                break
        assert through(run)
        assert len(swept) >= 3 + 1 + 1
    finally:
        host.stop()
    check(run, run.alone(tmp_path))


def test_two_versions_at_once_never_commit_across_epochs(run: Run, tmp_path: Path) -> None:
    """A rolling update: half of the workers run the next version, then all."""
    newer = tmp_path / "newer"
    newer.mkdir()
    for name in ("observer_core", "function_app.py", "requirements.txt", "tests"):
        if name == "observer_core":
            shutil.copytree(ROOT / name, newer / name, ignore=shutil.ignore_patterns("__pycache__"))
            init = newer / name / "__init__.py"
            init.write_text(init.read_text().replace('__version__ = "', '__version__ = "99.'))
        else:
            (newer / name).symlink_to(ROOT / name)
    host = FunctionsHost(run.settings, workers=2, options={**HOST_OPTIONS, "visibilityTimeout": "00:00:01"})
    try:
        host.start(pollers=2)
        timers(host)
        for second in range(COUNT):
            run.write(second)
            if second == 40:
                host.replace(0, root=newer)
            if second == 80:
                host.replace(1, root=newer)
        wait_for(lambda: through(run), 90, host)
    finally:
        host.stop()
    known = run.journals()
    for source in SOURCES:
        journal = known.open(f"patterns.{source}")
        versions = [e.record.body["code"] for e in journal.scan() if e.record.kind == "epoch"]  # type: ignore[union-attr]
        assert versions[-1].startswith("99.")
        rows = [row.epoch for row in journal.rows()]
        assert rows == sorted(rows)
        alone = run.alone(tmp_path).journals().open(f"patterns.{source}")
        assert [e.record.id for e in journal.scan() if e.record.kind == "pattern"] == [  # type: ignore[union-attr]
            e.record.id
            for e in alone.scan()
            if e.record.kind == "pattern"  # type: ignore[union-attr]
        ]
    published = run.published()
    assert len(published) == len(set(published)) > 0
    for name in known.names():
        assert verify(known.open(name)).fault is None, name


def test_a_poisonous_message_is_put_aside_redriven_and_done(run: Run) -> None:
    queue = run.writer.queue("recognise")
    run.storage.queues.send(queue, b'{"source": "ghost"}')
    host = FunctionsHost(
        run.settings, options={**HOST_OPTIONS, "visibilityTimeout": "00:00:00", "maxDequeueCount": 3}
    )
    letters = DeadLetters(run.journals(), run.storage.queues, run.writer.observer.clock)
    try:
        host.start()
        wait_for(lambda: letters.letters(), 30, host)
        (letter,) = letters.letters()
        assert (letter.stage, letter.body) == ("recognise", b'{"source": "ghost"}')
        assert host.counts.poisoned == 1
        snapshot = next(snapshots(run.start_ns, 0))
        ghost = Snapshot(
            source="ghost", event_ns=snapshot.event_ns, ingest_ns=snapshot.ingest_ns,
            subjects=snapshot.subjects, fields=snapshot.fields,
        )  # fmt: skip
        run.writer.observer.writer("ghost", "live", "live", ghost.ingest_ns).write([ghost])
        letters.redrive(letter, author="kim", reason="the source is there now", resend=lambda body: None)
        wait_for(lambda: run.journals().open("patterns.ghost").checkpoint("snapshots.ghost"), 30, host)
    finally:
        host.stop()
