"""Every text that comes from outside tries to be more than text: names, reasons, errors, log lines."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.browser import desk
from tests.browser.recorder import HOUR, MINUTE, Recorder
from tests.support.market_feed import walk

MINUTES: Final = 130
END_NS: Final = desk.START_NS + MINUTES * MINUTE
RUN: Final = "window.__xss=1"
NAMES: Final = (
    f"<script>{RUN}</script>",
    f'"><img src=x onerror={RUN}>',
    f"'-{RUN}-'",
    f"javascript:{RUN}",
    f"<svg/onload={RUN}>",
    f"</title></textarea></style><iframe srcdoc='<script>parent.{RUN}</script>'>",
    "${" + RUN + "}{{" + RUN + "}}#{" + RUN + "}",
    "&lt;b&gt; &amp; <b>bold</b>",
    "../../etc/passwd?a=1&b=2#%00%2e%2e",
    "비트코인/원 🚀 שלום مرحبا",
    "한" * 256,
    "x" * 256,
    "-1+1=cmd|' /C calc'!A0",
    " ",
)
"""Names that are allowed: they can all be shown, and must be, as they are."""
REFUSED: Final = (
    "", "*", "y" * 257, "a\nb", "a\tb", "a\x00b", "\u202eevil", "a\u200fb", "\u2066a\u2069",
    "👩\u200d💻", "\ud800",
)  # fmt: skip
"""Names that are no names: empty, all, too long, or with what cannot be shown (line ends, marks that turn
the direction of text, joiners)."""
SETTINGS: Final = """
[[source]]
name = "feed"
kind = "push"
interval = "60s"
max_age = "3m"

[[source]]
name = "down"
kind = "push"
interval = "60s"
max_age = "3m"
"""
POLICIES: Final = desk.POLICIES.replace(
    "A price far outside its own recent moves pauses its subject.", f"<script>{RUN}</script><b>bold</b>"
)


def make(folder: Path) -> None:
    """All of `NAMES` as subjects, fields, authors, reasons, errors and log lines; some have an incident."""
    recorder = Recorder(folder, desk.START_NS, SETTINGS, POLICIES)
    length = MINUTES + 1
    prices = {name: walk(length, seed=place, start=50.0) for place, name in enumerate(NAMES, 1)}
    for minute in range(1, length):
        row = {
            name: round(values[minute] * (0.9 if minute > MINUTES - 5 and place < 3 else 1.0), 4)
            for place, (name, values) in enumerate(prices.items())
        }
        with recorder.at(desk.START_NS + minute * MINUTE):
            recorder.collect("feed", {"price": row, NAMES[1]: row})
            recorder.collect("down", {}, status="unavailable", error=f"{NAMES[0]} {NAMES[1]}")
            if minute == MINUTES - 6:
                _people(recorder)
    for name in NAMES:
        recorder.log("observer", name, "error", **{"source": name, name: name})
    recorder.bury(NAMES[0], NAMES[1], NAMES[4])
    recorder.close()


def _people(recorder: Recorder) -> None:
    until_ns = recorder.now_ns + HOUR
    for name in NAMES:
        who = name.strip() or "nobody"
        recorder.command("block", f"subject:{name}", who, f"{who} because", until_ns)
    recorder.command("override", f"subject:{NAMES[4]}", NAMES[0], NAMES[1], until_ns)
    recorder.silence(NAMES[1], NAMES[0], NAMES[1], HOUR)
