"""Where all journals stand, the anchors over them, and where anchors go outside the store."""

from __future__ import annotations

from typing import Final

from observer_core.logs.redaction import without_paths
from observer_core.runtime.audit.ledger_config import BlobPlace, FilePlace, WebhookPlace
from observer_core.runtime.settings import Settings
from observer_core.shared.errors import InputError
from observer_core.shared.ids import ref
from observer_core.shared.records import Json
from observer_core.storage.journals import Journals
from observer_core.storage.ledger import LEDGER, read_anchor

ANCHORS: Final = 100
"""The newest, so many."""
_CHAIN: Final = "chain:verified"


def ledger(journals: Journals, settings: Settings, health: Json) -> Json:
    """`models.Ledger`. `health`: a report, for what it has verified."""
    heads = {
        name: {"position": head.position, "hash": head.hash.hex(), "time_ns": head.time_ns}
        for name in journals.names()
        if (head := journals.open(name).head()).position
    }
    return {
        "heads": heads, "anchors": _anchors(journals), "outside": _outside(settings),
        "every_ns": settings.ledger.every, "chain": _chain(health),
    }  # fmt: skip


def _anchors(journals: Journals) -> list[Json]:
    """The newest first; those whose record is none are left out, `observer ledger verify` says why."""
    journal, found = journals.open(LEDGER), list[Json]()
    last = journal.head().position
    first = max(1, last - ANCHORS + 1)
    for commit, lines in journal.raw(first, last) if last else ():
        for position, line in enumerate(lines, commit.first):
            if not first <= position <= last:
                continue
            try:
                anchor = read_anchor(line)
            except InputError:
                continue
            found.append({
                "ref": ref(LEDGER, position), "time_ns": anchor.time_ns, "digest": anchor.root,
                "journals": len(anchor.heads),
            })  # fmt: skip
    return found[::-1]


def _outside(settings: Settings) -> str | None:
    """In words, without a secret or a path of this machine."""
    match settings.ledger.to:
        case FilePlace() as place:
            return f"file {without_paths(place.path)}"
        case BlobPlace() as place:
            return f"container {place.container}"
        case WebhookPlace() as place:
            return f"webhook of the environment's {place.url.env}"
    return None


def _chain(health: Json) -> Json | None:
    """What the health check has verified of the newest records, all journals together."""
    findings = health.get("checks", {}).get(_CHAIN)
    if not findings:
        return None
    faults = [
        {"journal": finding.get("componentId"), "text": finding.get("output", "")}
        for finding in findings
        if finding["status"] != "pass"
    ]
    return {
        "sound": not faults, "time": max(finding["time"] for finding in findings),
        "journals": len(findings), "faults": faults,
        "records": sum(finding.get("observedValue") or 0 for finding in findings),
    }  # fmt: skip
