"""Is a journal what was committed? Hashes stored bytes; never serialises anything again."""

from __future__ import annotations

from dataclasses import dataclass

from observer_core.shared.errors import ChainBroken
from observer_core.storage.journal import Journal
from observer_core.storage.rows import GENESIS, CommitRow, chain


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
    """What was checked: how many records and bytes, and the first fault if there is one."""

    journal: str
    records: int
    size: int
    head: bytes
    fault: Fault | None = None


def verify(journal: Journal, after: CommitRow | None = None) -> Verified:
    """Checks every commit after `after` (default: all) against rows, bytes and head."""
    head = journal.head()
    previous, position, total = GENESIS, 0, 0
    if after is not None:
        previous, position = after.hash, after.last
    seq = after.seq if after is not None else 0

    def result(fault: Fault | None) -> Verified:
        return Verified(journal.name, position, total, previous, fault)

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
