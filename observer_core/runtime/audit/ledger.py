"""The ledger: heads of all journals, recorded and sent out of the store; and what they say of it now.

An anchor is committed to `ledger.live` first and sent after that, each in order, from where
the place was left off: a place that failed is caught up with, and a line that went twice is
read once. Nothing that the Observer decides depends on it, so a failure is logged and tried
again, and never stops anything else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from observer_core.runtime import settings as configured
from observer_core.runtime.audit.ledger_config import BlobPlace, FilePlace, WebhookPlace
from observer_core.runtime.looking import Looking
from observer_core.runtime.settings import Settings
from observer_core.shared.clock import SECOND, Clock
from observer_core.shared.errors import Conflict, ObserverError
from observer_core.shared.ids import derive
from observer_core.storage.journal import Commit
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import (
    LEDGER,
    Anchor,
    AnchorPlace,
    Disagreement,
    Point,
    anchor_note,
    before_what_is_kept,
    compare,
    read_anchor,
    said_by,
)
from observer_core.storage.verify import Verified
from observer_core.storage.verify import verify as verify_journal

DOMAIN: Final = "live"
AGAIN_NS: Final = 60 * SECOND
"""After a failure nothing is tried for so long."""
_LOOK_SECONDS: Final = 5.0
_log = structlog.get_logger("observer.ledger")


def place_of(settings: Settings) -> AnchorPlace | None:
    """Where `[ledger]` sends anchors; None when it does not say. `ConfigError` when that cannot be used."""
    match settings.ledger.to:
        case FilePlace() as place:
            from observer_core.storage.local.anchors import FileAnchors

            store = settings.paths.data if settings.storage.kind == "local" else None
            return FileAnchors(settings.paths.root / place.path, store)
        case BlobPlace() as place:
            from observer_core.storage.azure import AzureStorage
            from observer_core.storage.azure.anchors import AzureAnchors

            values = configured.connection_values(place.connection)
            return AzureAnchors(AzureStorage.connect(values, name=place.connection), place.container)
        case WebhookPlace() as place:
            return WebhookAnchors(place)
    return None


class WebhookAnchors:
    """Posts each anchor; whoever receives them keeps them, and gives them back as a file."""

    def __init__(self, place: WebhookPlace) -> None:
        from observer_core.automation.sinks.webhook import WebhookSink

        secret = None if place.secret is None else configured.secret(place.secret.env)
        self._sink = WebhookSink(
            configured.secret(place.url.env), secret=secret, timeout=place.timeout / SECOND,
            allow_private=place.allow_private, name="ledger",
        )  # fmt: skip

    def __repr__(self) -> str:
        return repr(self._sink)

    def append(self, line: bytes) -> None:
        anchor = read_anchor(line)
        self._sink.send(
            derive(LEDGER, anchor.position, anchor.root), line, content_type="application/json", replay=False
        )

    def read(self) -> Iterator[bytes] | None:
        return None

    def close(self) -> None:
        self._sink.close()


class Ledger:
    """Makes anchors, and sends those that a place does not have yet."""

    def __init__(self, journals: Journals, clock: Clock, place: AnchorPlace | None) -> None:
        self._journals, self._clock, self._place = journals, clock, place
        self.journal = journals.open(LEDGER)

    def anchor(self) -> Anchor:
        """Records where all journals stand now. `Conflict` when somebody else has just done it."""
        self.journal = self._journals.open(LEDGER, DOMAIN)
        base = self.journal.head()
        heads = [
            Point(name, head.position, head.hash)
            for name in self._journals.names()
            if name != LEDGER
            for head in [self._journals.open(name).head()]
            if head.position
        ]
        if base.position:
            heads.append(Point(LEDGER, base.position, base.hash))
        self._sync()  # before: an anchor that survives a power failure must not name what does not
        now_ns = max(base.time_ns, self._clock.now_ns())
        note = anchor_note(heads, now_ns)
        head = self.journal.commit(base, Commit(records=[note], through_ns=now_ns))
        return read_anchor(note.encode(head.epoch))

    def send(self) -> int:
        """Sends what the place has not been sent yet, in order; gives how many anchors that were."""
        if self._place is None:
            return 0
        self._sync()  # what a power failure may still take back must not be told outside
        key = f"sent.{derive(repr(self._place))[:16]}"
        row = self.journal.checkpoint(key)
        first = (0 if row is None else int(row["position"])) + 1
        sent = 0
        try:
            for commit, lines in self.journal.raw(first):
                for position, line in enumerate(lines, commit.first):
                    if position >= first:
                        self._place.append(line)
                        sent += 1
        finally:  # also when it failed on the way: what went need not go again
            if sent:
                done = {key: {"position": first + sent - 1}}
                self.journal.commit(self.journal.head(), Commit(checkpoints=done))
        return sent

    def _sync(self) -> None:
        if self._journals.storage.volatile:
            self._journals.sync()

    def is_due(self, every_ns: int) -> bool:
        head = self.journal.head()
        return not head.position or self._clock.now_ns() - head.time_ns >= every_ns


class Anchoring:
    """Anchors on the schedule of `[ledger]`; does nothing without one.

    What a place or the storage raises is logged, and goes no further.
    """

    def __init__(self, journals: Journals, settings: Settings, clock: Clock) -> None:
        self._journals, self._settings, self._clock = journals, settings, clock
        self._ledger: Ledger | None = None
        self._place: AnchorPlace | None = None
        self._not_before_ns = 0
        self._behind = True
        self._looking = Looking("ledger", self._look_by_itself, lambda: _LOOK_SECONDS)

    @property
    def is_on(self) -> bool:
        return self._settings.ledger.every is not None

    def look(self) -> None:
        """Makes an anchor when one is due, and sends what waits."""
        every_ns = self._settings.ledger.every
        if every_ns is None or self._clock.now_ns() < self._not_before_ns:
            return
        try:
            ledger = self._open()
            if ledger.is_due(every_ns):
                self._behind = True
                anchor = ledger.anchor()
                _log.info("anchored", position=anchor.position, journals=len(anchor.heads), root=anchor.root)
            if self._behind:
                ledger.send()
                self._behind = False
        except Conflict:
            pass  # somebody else is at it
        except ObserverError as error:
            self._not_before_ns = self._clock.now_ns() + AGAIN_NS
            _log.error("anchor failed; tried again in a minute", place=repr(self._place), error=str(error))

    def start(self, held: Callable[[], object] = lambda: None) -> None:
        """Looks by itself, unless `held`, in a thread of its own: a slow place holds up nothing.

        `ConfigError` when the place cannot be used as it is configured.
        """
        self._held = held
        if self.is_on:
            self._open()
            self._looking.start()

    def stop(self) -> None:
        self._looking.stop()
        if self._place is not None:
            self._place.close()

    def _open(self) -> Ledger:
        if self._ledger is None:
            self._place = place_of(self._settings)
            self._ledger = Ledger(self._journals, self._clock, self._place)
        return self._ledger

    def _look_by_itself(self) -> None:
        if not self._held():
            self.look()


@dataclass(frozen=True, slots=True)
class Compared:
    """One journal: what its own chain says, how many points of anchors agreed, the first that does not.

    `before`: so many points are of records that retention has removed, of which nothing is known any more.
    """

    journal: str
    verified: Verified
    agreed: int
    disagreement: Disagreement | None
    before: int = 0

    @property
    def sound(self) -> bool:
        return self.verified.fault is None and self.disagreement is None


def inside(journals: Journals) -> tuple[list[Anchor], list[str]]:
    """The anchors of the ledger itself, and what is wrong with it. Only as true as the store is."""
    from observer_core.storage.ledger import read_anchors

    try:
        lines = [line for _, found in journals.open(LEDGER).raw() for line in found]
    except ObserverError as error:
        return [], [f"{LEDGER}: {error}"]
    return read_anchors(lines, LEDGER)


def verify(journals: Journals, anchors: Mapping[str, Iterable[Anchor]]) -> Iterator[Compared]:
    """Each journal's chain, and all journals against what the anchors say of them."""
    said = said_by(anchors)
    for name in sorted({*journals.names(), *said}):
        journal = journals.open(name)
        verified = verify_journal(journal)
        sound = journal.head().position if verified.fault is None else verified.fault.position - 1
        points = said.get(name, ())
        agreed, disagreement = compare(journal, points, sound)
        yield Compared(name, verified, agreed, disagreement, before_what_is_kept(journal, points))
