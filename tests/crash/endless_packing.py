"""Packs and sweeps all journals of a data folder, again and again, until it is killed.

`python endless_packing.py FOLDER DURABILITY`
Says "ready" when it begins.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from observer_core.maintenance.compaction import CompactionConfig, pack_closed, sweep
from observer_core.shared.errors import Conflict
from observer_core.storage.archive import parquet
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage

CONFIG = CompactionConfig(after=0, hour_bytes=1, day_bytes=1)


def main(folder: str, durability: str) -> None:
    parquet._LEVEL = 1  # type: ignore[misc]
    parquet.arrow()
    storage = LocalStorage(Path(folder), durability="full" if durability == "full" else "normal")
    journals = Journals(storage, worker=f"packs-{os.getpid()}-{os.urandom(4).hex()}")
    print("ready", flush=True)
    while True:
        for name in journals.names():
            with suppress(Conflict):
                list(pack_closed(journals, name, CONFIG))
                sweep(journals, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
