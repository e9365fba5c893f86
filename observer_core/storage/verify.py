"""Is a journal what was committed? Hashes stored bytes; never serialises anything again."""

from __future__ import annotations

from dataclasses import dataclass

from observer_core.shared.errors import ChainBroken, Pruned
from observer_core.storage.journal import Journal
from observer_core.storage.rows import GENESIS, Base, CommitRow, chain


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that is wrong.

    `gap`: positions or bytes are missing. `predecessor`: a commit does not follow the one
    before it. `hash`: the bytes are not those that were committed.
    """

    position: int
    fault: str
    detail: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What was checked: up to which position, how many bytes, and the first fault if there is one.

    `base`: the records up to there were removed by retention; only what was kept of them could be checked.
    """

    journal: str
    records: int
    size: int
    head: bytes
    fault: Fault | None = None
    base: int = 0


def verify(journal: Journal, after: CommitRow | None = None) -> Verified:
    """Checks every commit after `after` (default: all that is kept) against rows, bytes and head."""
    base = journal.base()
    while True:
        try:
            return _verify(journal, after, base)
        except Pruned:  # while it was read: what is kept begins further on now
            before, base = base, journal.base()
            if base.seq <= before.seq:
                raise


def _verify(journal: Journal, after: CommitRow | None, base: Base) -> Verified:
    head = journal.head()
    previous, position, total = GENESIS, 0, 0
    if after is not None:
        previous, position = after.hash, after.last
    seq = after.seq if after is not None else 0
    if seq < base.seq:
        previous, position, seq = base.hash, base.position, base.seq

    def result(fault: Fault | None) -> Verified:
        return Verified(journal.name, position, total, previous, fault, base.position)

    if after is None and base.position and (fault := _excerpts(journal, base)) is not None:
        return result(fault)

    payloads = journal.raw(position + 1)
    try:
        for row in journal.rows(after_seq=seq, from_position=max(position, 1)):
            if row.seq > head.seq:
                break
            if row.first != position + 1 or row.seq != seq + 1:
                detail = (
                    f"expected position {position + 1} (commit {seq + 1}), "
                    f"found {row.first} (commit {row.seq})"
                )
                return result(Fault(position + 1, "gap", detail))
            if row.previous != previous:
                detail = (
                    f"the commit follows {row.previous.hex()[:16]}, "
                    f"the one before it ends in {previous.hex()[:16]}"
                )
                return result(Fault(row.first, "predecessor", detail))
            if row.records:
                _, lines = next(payloads)
                found = chain(previous, lines)
                if found != row.hash:
                    detail = (
                        f"positions {row.first} to {row.last} in {row.segment} hash to {found.hex()[:16]}, "
                        f"committed was {row.hash.hex()[:16]}"
                    )
                    return result(Fault(row.first, "hash", detail))
                total += row.length
            previous, position, seq = row.hash, row.last, row.seq
    except ChainBroken as error:
        return result(Fault(error.position, error.fault, error.detail))
    if position != head.position or seq != head.seq:
        detail = (
            f"the head stands at position {head.position} (commit {head.seq}), "
            f"the rows end at {position} (commit {seq})"
        )
        return result(Fault(position + 1, "gap", detail))
    if previous != head.hash:
        detail = f"the head's hash is {head.hash.hex()[:16]}, the rows end in {previous.hex()[:16]}"
        return result(Fault(position, "hash", detail))
    return result(None)


def _excerpts(journal: Journal, base: Base) -> Fault | None:
    """What was kept of removed records: their files, their lines, and that neighbours link."""
    last = None
    try:
        for kept in journal.excerpts.between(1, base.position):
            if not kept.is_sound:
                detail = f"the line kept in {kept.file} does not give the hash that is kept with it"
                return Fault(kept.position, "hash", detail)
            if (
                last is not None and last.position + 1 == kept.position
                and kept.line is not None and kept.previous != last.hash
            ):  # fmt: skip
                detail = f"the record kept in {kept.file} does not follow the one kept before it"
                return Fault(kept.position, "predecessor", detail)
            last = kept
    except ChainBroken as error:
        return Fault(error.position, error.fault, error.detail)
    if last is None or last.position != base.position or last.hash != base.hash:
        detail = "what was kept of the removed records does not end in the hash that the others begin with"
        return Fault(base.position, "hash", detail)
    return None
