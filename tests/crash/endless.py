"""Runs the toy chain on a data folder until it is done, or killed.

`python endless.py FOLDER DURABILITY TOTAL`
Says "ready" once it works, and prints the heads when there is nothing left to do.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from observer_core.shared.clock import ManualClock
from observer_core.storage.journals import Journals
from observer_core.storage.local import LocalStorage
from observer_core.storage.recovery import recover
from tests.support.toys import Chain


def main(folder: str, durability: str, total: str) -> None:
    storage = LocalStorage(Path(folder), durability="full" if durability == "full" else "normal")
    journals = Journals(storage, worker=f"process-{os.getpid()}-{os.urandom(4).hex()}")
    cuts = recover(journals, ManualClock(1))
    print("ready", flush=True)
    chain = Chain(storage, journals=journals, total=int(total), grouped=os.getpid() % 2 == 0)
    while chain.step():
        pass
    print(json.dumps({"heads": chain.finish(), "cuts": len(cuts)}), flush=True)
    storage.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
