"""Much of it: 500 subjects for 200 minutes, and a series of 10,000 points in a domain of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

from observer_core.shared.clock import SECOND
from tests.browser.desk import POLICIES, START_NS
from tests.browser.recorder import MINUTE, Recorder
from tests.support.market_feed import walk

MANY: Final = tuple(f"S{number:03d}/USDT" for number in range(500))
MINUTES: Final = 200
END_NS: Final = START_NS + MINUTES * MINUTE
LONG: Final = 10_000
SETTINGS: Final = """
[[source]]
name = "wide"
kind = "push"
interval = "60s"
max_age = "3m"

[[source]]
name = "long"
kind = "recording"
domain = "tape"
paths = ["long.csv"]
mapping = { time = "ts", subject_name = "LONG", fields = ["price"], bar = "1s" }
"""


def make(folder: Path) -> None:
    recorder = Recorder(folder, START_NS, SETTINGS, POLICIES)
    first_s = START_NS // SECOND
    lines = [
        f"{first_s + second},{price:.5f}\n" for second, price in enumerate(walk(LONG, seed=3, step_bp=1.0))
    ]
    (folder / "long.csv").write_text("ts,price\n" + "".join(lines))
    recorder.ingest()
    wide(recorder, MINUTES)
    recorder.log("observer", "started", port=8000, sources=["wide", "long"])
    recorder.close()


def wide(recorder: Recorder, minutes: int, subjects: tuple[str, ...] = MANY) -> None:
    """So many minutes of all subjects; the last three fall silent, two are blocked by hand."""
    random = np.random.Generator(np.random.PCG64(7))
    prices = 10.0 + 190.0 * random.random(len(subjects))
    for minute in range(1, minutes + 1):
        prices *= 1.0 + 3e-4 * random.standard_normal(len(subjects))
        count = len(subjects) - (3 if minute > minutes - 30 else 0)
        with recorder.at(START_NS + minute * MINUTE):
            columns = {
                "price": prices[:count].round(4),
                "volume": 100.0 + 10.0 * random.random(count).round(2),
            }
            recorder.write("wide", subjects[:count], columns)
            if minute == minutes - 5:
                for name in subjects[7], subjects[123]:
                    recorder.command("block", f"subject:{name}", "jin", "delisted")
