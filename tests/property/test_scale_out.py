"""However many instances work and whatever happens to their messages: nothing lost, nothing twice."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from observer_core.runtime.audit.replay import replay
from observer_core.runtime.handlers import STAGES
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.shared.records import Decision, Event
from observer_core.storage.journals import Journals
from observer_core.storage.memory import MemoryStorage
from observer_core.storage.verify import verify
from tests.support.instances import BUILD, START_NS, Instances

SOURCES = ("alpha", "beta")
SECONDS = 80
_INSTANCES = 3

acts = st.tuples(
    st.sampled_from(
        ["write", "write", "give", "give", "give", "give", "twice", "lose", "clock", "sweep", "restart"]
    ),
    st.integers(0, _INSTANCES - 1),
    st.sampled_from(STAGES),
)


class Run:
    """A live domain of two sources, second by second, and instances that compete for its messages."""

    def __init__(self, folder: Path, instances: int) -> None:
        clock = ManualClock(START_NS)
        self.storage = MemoryStorage(clock)
        self.app = Instances(folder, self.storage, instances, clock=clock)
        self.second = 0

    def write(self, by: int) -> None:
        for source in SOURCES:
            self.app.collect(source, self.second, by=by)
            self.app.handlers[by].pushed(source)
        self.second += 1
        self.app.clock.set(START_NS + self.second * SECOND)

    def act(self, what: str, by: int, stage: str) -> None:
        match what:
            case "write":
                if self.second < SECONDS:
                    self.write(by)
            case "give" | "twice" | "lose":
                message = self.app.receive(stage)
                if message is None:
                    return
                if what == "twice":  # its delete was lost: it comes again, to somebody else
                    getattr(self.app.handlers[(by + 1) % _INSTANCES], stage.replace("-", "_"))(message.body)
                if what != "lose":
                    self.app.give(stage, message, by=by)
                else:
                    self.storage.queues.delete(self.app.handlers[0].queue(stage), message)
            case "clock":
                self.app.handlers[by].clock()
            case "sweep":
                self.app.handlers[by].sweep()
            case "restart":
                self.app.restart(by)

    def finish(self) -> None:
        while self.second < SECONDS:
            self.write(0)
        for by in range(6):
            self.app.clock.advance(40 * SECOND)
            self.app.handlers[by % len(self.app.handlers)].clock()
            self.app.handlers[by % len(self.app.handlers)].sweep()
            self.app.drain(by=by % len(self.app.handlers))

    def journals(self) -> Journals:
        return Journals(self.storage, worker="reader")

    def heads(self) -> dict[str, tuple[int, bytes]]:
        """Of the journals with one input."""
        known = self.journals()
        names = [*known.names("snapshots"), *known.names("patterns")]
        return {name: (known.open(name).head().position, known.open(name).head().hash) for name in names}

    def ids(self, journal: str, kind: type) -> list[str]:
        return [e.record.id for e in self.journals().open(journal).scan() if isinstance(e.record, kind)]  # type: ignore[union-attr]

    def decided(self) -> set[tuple[str, str, str]]:
        """What was decided. When it could be known depends on when its hints came."""
        found = (e.record for e in self.journals().open("decisions.live").scan())
        return {(d.policy, d.scope, d.verdict) for d in found if isinstance(d, Decision)}


def told(run: Run) -> set[str]:
    """Events but those of incidents: which pattern opens one follows from the order of several sources."""
    events = (e.record for e in run.journals().open("events.live").scan())
    return {e.id for e in events if isinstance(e, Event) and ".incident." not in e.type}


def undisturbed() -> Run:
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), 1)
        while run.second < SECONDS:
            run.write(0)
            run.app.drain()
        run.finish()
        return run


_alone: list[Run] = []


@settings(max_examples=40, deadline=None)
@given(st.lists(acts, min_size=20, max_size=160))
def test_competing_instances_give_the_journals_of_one(script: list[tuple[str, int, str]]) -> None:
    if not _alone:
        _alone.append(undisturbed())
    alone: Any = _alone[0]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder), _INSTANCES)
        for act in script:
            run.act(*act)
        run.finish()
    assert run.heads() == alone.heads()
    for journal, kind in (("events.live", Event), ("decisions.live", Decision)):
        found = run.ids(journal, kind)
        assert len(found) == len(set(found))
        replayed = replay(run.journals(), journal, BUILD.version)
        assert replayed.equal, replayed
    patterns = {e.record.id for name in run.journals().names("patterns")
                for e in run.journals().open(name).scan() if e.record.kind == "pattern"}  # fmt: skip
    events = [e.record for e in run.journals().open("events.live").scan() if isinstance(e.record, Event)]
    assert patterns == {e.data["id"] for e in events if e.type.startswith("io.qts.observer.pattern.")}
    assert told(run) == told(alone)
    assert run.decided() == alone.decided() != set()
    for name in run.journals().names():
        assert verify(run.journals().open(name)).fault is None, name
    assert all(length == 0 for _, length in run.app.lengths())
