"""The heads that the shipped recording gives. Prints them; `--write` makes them the golden ones.

Runs in a process of its own so that NumPy can be told which vector instructions not to use.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from observer_core.pattern_record.config import (
    AnomalyPattern,
    ChangePointPattern,
    LevelShift,
    Limits,
    RecogniserConfig,
    Severity,
    VarianceShift,
)
from observer_core.pattern_record.market.config import Horizon, Market, PriceShock, Volatility
from observer_core.pattern_record.relations.settings import Relation, Relations
from observer_core.runtime import settings
from observer_core.runtime.ingest import ingest
from observer_core.runtime.observer import Observer
from observer_core.shared.clock import SECOND, ManualClock
from observer_core.snapshot_engine.sources.recording import RecordingConfig
from observer_core.storage.epochs import Build
from observer_core.storage.memory import MemoryStorage

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).with_name("heads.json")
RECORDING = ROOT / "examples" / "sp500-2000.csv"
MAPPING = RecordingConfig(time="date", zone="America/New_York", subject_name="SPX", bar=86_400 * SECOND)
FIXED = Build("golden", "golden")


def observer(storage: MemoryStorage, folder: Path, sigmas: float) -> Observer:
    """One with thresholds for daily data, the anomaly score and change points on, and the preset policies."""
    shock = PriceShock(
        horizons=(Horizon(span=1, sigmas=sigmas, floor=150.0), Horizon(span=5, sigmas=sigmas, floor=300.0)),
        refractory=10, sustained=250, severity=Severity(warning=0.5, critical=0.52),
    )  # fmt: skip
    market = Market(volatility=Volatility(span=20, slow_span=500), price_shock=shock)
    recognise = RecogniserConfig(
        market=market, anomaly=AnomalyPattern(),
        change_points=ChangePointPattern(fields=("close",), shape=True),
        relations=Relations(watch=(Relation(field="adjclose", tolerance="2%"),)),
        level_shift=LevelShift(threshold=10.0), variance_shift=VarianceShift(ratio=1.8),
        limits=Limits(refractory=10, sustained=250),
    )  # fmt: skip
    chosen = settings.load(root=folder, recognise=recognise)
    return Observer(chosen, storage, build=FIXED, clock=ManualClock(0))


def heads(batch: int, *, change_after: int | None = None) -> dict[str, str]:
    """Journal → `position hash`; with `change_after` the threshold changes after so many rows."""
    storage = MemoryStorage(ManualClock(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if change_after is not None:
            part = folder / "part.csv"
            part.write_bytes(b"".join(RECORDING.read_bytes().splitlines(keepends=True)[: change_after + 1]))
            before = observer(storage, folder, sigmas=5.0)
            ingest(before, [part], source="spx", domain="spx", mapping=MAPPING, batch=batch)
            before.close()
        after = observer(storage, folder, sigmas=4.0)
        ingest(after, [RECORDING], source="spx", domain="spx", mapping=MAPPING, batch=batch)
        found = {}
        for journal in after.journals.names():
            head = after.journals.open(journal).head()
            found[journal] = f"{head.position} {head.hash.hex()}"
        return found


def all_heads() -> dict[str, dict[str, str]]:
    return {"one epoch": heads(500), "two epochs": heads(500, change_after=2500)}


if __name__ == "__main__":
    text = json.dumps(all_heads(), indent=1, sort_keys=True) + "\n"
    if "--write" in sys.argv:
        GOLDEN.write_text(text)
    print(text, end="")
