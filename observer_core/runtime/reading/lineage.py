"""What a decision follows from, its policy as it was, and whether the stored bytes are as committed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from observer_core.runtime.audit.explain import Curve, Explainer, Step, curve_of
from observer_core.runtime.audit.stored import Stored
from observer_core.runtime.reading.finding import Finder
from observer_core.runtime.reading.lines import Budget
from observer_core.runtime.reading.policies import policy_toml
from observer_core.runtime.reading.timeline import became
from observer_core.shared.canonical import Fragment
from observer_core.shared.errors import ChainBroken
from observer_core.shared.records import Json
from observer_core.storage.journal import Journal
from observer_core.storage.journals import Journals
from observer_core.storage.rows import GENESIS, CommitRow, chain

RECORDS: Final = 200
SIZE: Final = 4 * 1024 * 1024
"""No more causes are followed once so many records, or bytes of them, are shown."""
CURVE_BYTES: Final = 16 * 1024 * 1024
_KINDS: Final = ("decisions", "gate")


def lineage(journals: Journals, finder: Finder, text: str) -> Json:
    """`models.Lineage` of a decision by its id or ref, or of an answer of the gate by its ref."""
    line = finder.of_ref(text, _KINDS) if "@" in text else finder.find("decisions", text)
    explainer = Explainer(journals, Budget(RECORDS, SIZE), finder.of_decision)
    step = explainer.explain(Stored.of(line))
    found = curve_of(journals, step, CURVE_BYTES)
    return {
        "step": _step(step), "policy_text": policy_toml(step.policy) if step.policy else None,
        "curve": None if found is None else _curve(found), "verified": verified(journals, step).to_json(),
        "became": became(journals, line),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verified:
    """How many records were read again, and what is wrong with them."""

    checked: int
    faults: list[str]

    def to_json(self) -> Json:
        """`models.Verified`."""
        return {"sound": not self.faults, "checked": self.checked, "faults": self.faults}


def verified(journals: Journals, step: Step) -> Verified:
    """Reads the commits that hold the chain's records again, and checks each against its neighbours."""
    places = {(one.stored.journal, one.stored.position): one for one in step.steps()}
    faults: list[str] = []
    sound: dict[str, list[tuple[int, int]]] = {}
    checked: set[tuple[str, str]] = set()
    for (name, position), one in sorted(places.items()):
        if any(first <= position <= last for first, last in sound.get(name, ())):
            continue
        try:
            if (name, one.stored.segment) not in checked:
                journals.open(name).check_archives(position)
                checked.add((name, one.stored.segment))
            if (kept := journals.open(name).excerpt(position)) is not None:
                if not kept.is_sound or kept.line != one.stored.raw:
                    faults.append(f"{one.stored.ref}: its line does not give the hash that was kept with it")
                continue
            row, lines = _commit(journals.open(name), position)
        except ChainBroken as error:
            faults.append(f"{one.stored.ref}: {error}")
            continue
        wrong = list(_faults(journals.open(name), row, lines))
        if lines[position - row.first] != one.stored.raw:
            wrong.append("its bytes have changed while they were read")
        faults += [f"{one.stored.ref}: {text}" for text in wrong]
        if not wrong:
            sound.setdefault(name, []).append((row.first, row.last))
    return Verified(len(places), faults)


def _commit(journal: Journal, position: int) -> tuple[CommitRow, list[bytes]]:
    for found in journal.raw(position, position):
        return found
    raise ChainBroken(journal.name, position, "gap", "no commit holds this position any more")


def _faults(journal: Journal, row: CommitRow, lines: list[bytes]) -> Iterator[str]:
    """What is wrong with a commit: its bytes, or that it does not link to the one before, or the next."""
    found = chain(row.previous, lines)
    if found != row.hash:
        yield (
            f"positions {row.first} to {row.last} in {row.segment} hash to {found.hex()[:16]}, "
            f"committed was {row.hash.hex()[:16]}"
        )
    before = _hash_before(journal, row)
    if before is None:
        yield f"the commit before position {row.first} is missing"
    elif before != row.previous:
        yield f"the commit follows {row.previous.hex()[:16]}, the one before it ends in {before.hex()[:16]}"
    after = _hash_after(journal, row)
    if after is None:
        yield f"what comes after position {row.last} is missing"
    elif after != row.hash:
        yield f"the commit ends in {row.hash.hex()[:16]}, what comes after it follows {after.hex()[:16]}"


def _hash_before(journal: Journal, row: CommitRow) -> bytes | None:
    if row.seq == 1:
        return GENESIS
    for before in journal.rows(after_seq=row.seq - 2, from_position=row.first - 1, page=100):
        if before.seq == row.seq - 1:
            return before.hash
        break
    base = journal.base()
    return base.hash if base.seq == row.seq - 1 else None


def _hash_after(journal: Journal, row: CommitRow) -> bytes | None:
    """What the next commit follows, or where the head stands."""
    for _ in range(2):  # it may have been the newest until now
        head = journal.head()
        if head.seq == row.seq:
            return head.hash
        for later in journal.rows(after_seq=row.seq, from_position=row.last, page=100):
            return later.previous if later.seq == row.seq + 1 else None
    return None


def _step(step: Step) -> Json:
    stored = step.stored
    return {
        "ref": stored.ref, "title": step.title, "facts": step.facts, "hash": step.hash,
        "segment": stored.segment, "offset": stored.offset, "length": len(stored.raw),
        "record": Fragment(stored.raw), "policy": dict(step.policy), "origin_rows": list(step.origin_rows),
        "rests": dict(step.rests), "causes": [_step(cause) for cause in step.causes],
    }  # fmt: skip


def _curve(curve: Curve) -> Json:
    return {
        "name": curve.name, "label": curve.label, "time_ms": [time_ns / 1e6 for time_ns in curve.times],
        "value": [value if math.isfinite(value) else None for value in curve.values],
        "marked_ms": curve.marked_ns / 1e6,
    }  # fmt: skip
