"""Where each journal of a backup is cut: at its newest commit, or at the last one that was known at a time.

Nobody is left ahead of what he consumed, as after a power failure (`storage.recovery`); what is cut off a
derived journal is computed again from what is left.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from observer_core.backup.manifest import Body, End, Part
from observer_core.backup.objects import Objects
from observer_core.backup.stretches import Stretch, backwards, opened, read_page
from observer_core.shared.clock import format_time
from observer_core.shared.errors import InputError
from observer_core.storage.ledger import LEDGER, read_anchor
from observer_core.storage.ports import Row
from observer_core.storage.rows import Base, CommitRow, Head

_ALWAYS_NS = 1 << 62


@dataclass(frozen=True, slots=True)
class Cut:
    """`whole`: nothing is cut off, and all rows stand as they stood. `head`: what stands at `end`."""

    end: End
    head: Head
    whole: bool

    @staticmethod
    def at(row: CommitRow | None) -> Cut:
        """Right behind the commit that ends with `row`."""
        if row is None:
            return Cut(End(), Head(), False)
        head = Head(
            position=row.last, hash=row.hash, time_ns=row.last_ns, through_ns=row.through_ns,
            epoch=row.epoch, seq=row.seq, commit=row.commit,
        )  # fmt: skip
        return Cut(End(row.seq, row.last, row.hash), head, False)

    @staticmethod
    def behind(base: Base) -> Cut:
        """Right behind what retention has removed."""
        head = Head(
            position=base.position, hash=base.hash, time_ns=base.time_ns, through_ns=base.through_ns,
            epoch=base.epoch, seq=base.seq,
        )  # fmt: skip
        return Cut(End(base.seq, base.position, base.hash), head, False)


def cuts(body: Body, objects: Objects, until_ns: int | None = None) -> dict[str, Cut]:
    """Where all journals are cut; `until_ns`: at what was known then."""
    found = {name: _known(part, objects, until_ns) for name, part in body.journals.items()}
    changed = True
    while changed:
        changed = False
        positions = {name: cut.end.position for name, cut in found.items()}
        for name, part in body.journals.items():
            cut = found[name]
            again = _behind_inputs(part, objects, cut, positions)
            if name == LEDGER and not all(item.whole for item in found.values()):
                again = _ledger(part, objects, again, positions)
            if again != cut:
                found[name], changed = again, True
                positions[name] = again.end.position
    return found


def _known(part: Part, objects: Objects, until_ns: int | None) -> Cut:
    whole = part.fault is None and (part.end.seq, part.end.position) == (part.head.seq, part.head.position)
    if whole and (until_ns is None or max(part.head.time_ns, part.head.through_ns) <= until_ns):
        return Cut(part.end, part.head, True)
    limit_ns = _ALWAYS_NS if until_ns is None else until_ns
    for commit in _commits_back(part, objects, limit_ns):
        if max(commit[0].last_ns, commit[0].through_ns) <= limit_ns:
            return Cut.at(commit[0])
    base = base_of(part)
    if base.seq and max(base.time_ns, base.through_ns) <= limit_ns:
        return Cut.behind(base)
    if base.seq and base.began_ns <= limit_ns:
        raise removed(base)
    return Cut.at(None)


def base_of(part: Part) -> Base:
    """Where a journal begins, where retention has removed something."""
    return Base() if part.base is None else Base.of(Row("", part.base.encode(), ""))


class Removed(InputError):
    """What was known then is not in the backup any more."""


def removed(base: Base) -> Removed:
    return Removed(
        f"what was known then is not in this backup: retention had removed it ({base.policy}); choose an "
        f"older backup, or a later time (after {format_time(max(base.time_ns, base.through_ns))})"
    )


def _commits_back(
    part: Part, objects: Objects, until_ns: int = _ALWAYS_NS, seq: int | None = None
) -> Iterator[list[CommitRow]]:
    """Whole commits, newest first, each with its newest row first, from commit `seq` on."""
    rows = _rows_back(part, objects, until_ns, part.end.seq if seq is None else seq)
    for _, commit in groupby(rows, key=lambda row: row.commit):
        yield list(commit)


def _rows_back(part: Part, objects: Objects, until_ns: int, seq: int) -> Iterator[CommitRow]:
    later: Stretch | None = None
    for stretch in backwards(part, objects):
        if stretch.before.seq >= seq:
            continue
        if stretch.first_ns > until_ns:
            later = stretch
            continue
        if later is not None:  # a commit may go on there
            yield opened(later, objects).rows[0]
            later = None
        yield from (row for row in reversed(opened(stretch, objects).rows) if row.seq <= seq)


def _behind_inputs(part: Part, objects: Objects, cut: Cut, positions: Mapping[str, int]) -> Cut:
    """The same cut, or the last commit before it that consumed nothing that is cut off."""
    limits = {
        name: positions[name]
        for name, consumed in part.consumed.items()
        if name in positions and consumed > positions[name]
    }
    if not limits:
        return cut
    if not cut.end.seq:
        return Cut.at(None)
    open_ = set(limits)
    earliest: dict[str, int] = {}
    last: CommitRow | None = None
    for commit in _commits_back(part, objects, seq=cut.end.seq):
        items = [item for row in commit for item in row.inputs if item.journal in limits]
        for item in items:
            earliest[item.journal] = min(item.first, earliest.get(item.journal, item.first))
        if any(item.last > limits[item.journal] for item in items):
            last = None
            continue
        last = last or commit[0]
        open_ -= {item.journal for item in items}
        if not open_:
            break
    base = base_of(part)
    if base.seq and any(earliest.get(name, 1) - 1 > limits[name] for name in open_):
        raise removed(base)
    return Cut.behind(base) if last is None and base.seq else Cut.at(last)


def _ledger(part: Part, objects: Objects, cut: Cut, positions: Mapping[str, int]) -> Cut:
    """The same cut, or the last anchor before it that names no more than is left."""
    fits = True
    for stretch in backwards(part, objects):
        if stretch.before.seq >= cut.end.seq:
            continue
        found = opened(stretch, objects)
        for row in reversed(found.rows):
            if row.seq <= cut.end.seq and row.records:
                if _names_no_more(found.lines(row)[-1], positions):
                    return cut if fits else Cut.at(row)
                fits = False
    return cut if fits else Cut.at(None)


def _names_no_more(line: bytes, positions: Mapping[str, int]) -> bool:
    try:
        heads = read_anchor(line).heads
    except InputError:
        return True
    return all(head.position <= positions.get(head.journal, head.position) for head in heads)


def rest_of(part: Part, objects: Objects, after_seq: int) -> Iterator[CommitRow]:
    """The commits that are cut off, oldest first."""
    for page in part.pages:
        if page.end.seq > after_seq:
            for stretch in read_page(page, objects):
                if stretch.end.seq > after_seq:
                    yield from (row for row in opened(stretch, objects).rows if row.seq > after_seq)
