"""How much is stored, how fast it grows, and what asking for it has cost."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from observer_core.runtime.storages import where
from observer_core.shared.records import Json
from observer_core.storage.journal import Journal
from observer_core.storage.operations import Operations

if TYPE_CHECKING:
    from observer_core.runtime.gate.reader import Gate
    from observer_core.runtime.observer import Observer
    from observer_core.runtime.settings import Settings

FOLDERS: Final = ("snapshots", "patterns", "events", "decisions", "state")
DAY_NS: Final = 86_400 * 1_000_000_000
_SAMPLE: Final = 500
"""So many of a journal's newest records, and commits, say how large its records are."""
_POLLS: Final = frozenset(("queue.receive",))


def sizes(data: Path) -> dict[str, int]:
    """Bytes under a data folder by what is in them, those of the index, and what is free on its disk."""
    found = {name: _bytes(data / name) for name in FOLDERS}
    found["index"] = _sum(data.glob("journal.db*"))
    found["free"] = shutil.disk_usage(next(at for at in (data, *data.parents) if at.exists())).free
    return found


class StorageReader:
    """Looks at an Observer's storage. What it was asked and what that cost is since this was made."""

    def __init__(self, observer: Observer, gate: Gate) -> None:
        self._observer, self._gate = observer, gate
        self._began = time.monotonic()

    def read(self) -> Json:
        """`models.Storage`. Some hundred operations, and a walk over all files: to be kept for a while.

        What is written a day is that of journals that keep the clock's time: a recording is written once.
        """
        settings, journals = self._observer.settings, self._observer.journals
        local = settings.storage.kind == "local"
        folders = sizes(settings.paths.data) if local else {}
        free = folders.pop("free", None)
        items: list[Json] = []
        a_day, now_ns, live = 0.0, self._observer.clock.now_ns(), dict[str, bool]()
        for name in journals.names():
            journal, domain = journals.open(name), journals.domain_of(name) or ""
            head = journal.head()
            last_day = head.position - journal.position_at(head.time_ns - DAY_NS) if head.position else 0
            items.append({
                "journal": name, "domain": domain, "records": head.position, "last_day": last_day,
                "newest_ns": head.time_ns if head.position else None,
            })  # fmt: skip
            if domain not in live:
                live[domain] = self._gate.is_live(domain)
            if live[domain] and last_day and head.time_ns > now_ns - DAY_NS:
                a_day += last_day * _mean_bytes(journal, head.position)
        return {
            "where": _named(settings), "folders": folders or None, "free": free, "bytes_a_day": a_day,
            "operations": self._operations(), "cost": None if local else self._cost(), "journals": items,
        }  # fmt: skip

    def _operations(self) -> dict[str, int] | None:
        found = getattr(self._observer.storage, "operations", None)
        return dict(sorted(found.counts().items())) if isinstance(found, Operations) else None

    def _cost(self) -> Json | None:
        """What this process alone has asked of the account, in money; None where that is not counted."""
        from observer_core.runtime.study.cost import MONTH_S, Prices

        found = getattr(self._observer.storage, "operations", None)
        if not isinstance(found, Operations):
            return None
        prices = Prices.load()
        services: dict[str, float] = {}
        for kind, count in found.counts().items():
            if kind not in _POLLS:
                service = kind.partition(".")[0]
                services[service] = services.get(service, 0.0) + count * prices.of(kind)
        seconds = max(1.0, time.monotonic() - self._began)
        so_far = sum(services.values())
        return {
            "of": "operations of this process", "currency": prices.currency, "region": prices.region,
            "dated": prices.dated, "seconds": round(seconds), "so_far": so_far,
            "a_month": so_far / seconds * MONTH_S, "services": services,
        }  # fmt: skip


def _named(settings: Settings) -> str:
    """The storage in words, without where on the disk it is."""
    if settings.storage.kind != "local":
        return where(settings)
    data, root = settings.paths.data, settings.paths.root
    return f"files in {data.relative_to(root) if data.is_relative_to(root) else data.name}"


def _mean_bytes(journal: Journal, last: int) -> float:
    rows = list(islice(journal.rows(from_position=max(1, last - _SAMPLE + 1)), _SAMPLE))
    return sum(row.length for row in rows) / max(1, sum(row.records for row in rows))


def _bytes(folder: Path) -> int:
    return sum(_sum(Path(at, name) for name in files) for at, _, files in os.walk(folder))


def _sum(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            continue  # a running Observer's draft
    return total
