"""Numbers, times and texts in the language of the reader. Both languages have the same keys."""

from __future__ import annotations

import tomllib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Final

from observer_core.runtime.reports.config import Lang
from observer_core.shared.clock import SECOND, zone_of

_TEXTS: Final = Path(__file__).parent / "texts"
_UNITS: Final = (("d", 86_400 * SECOND), ("h", 3600 * SECOND), ("min", 60 * SECOND), ("s", SECOND))
NOTHING: Final = "–"


@cache
def texts(lang: Lang) -> dict[str, str]:
    """All of a language, by key."""
    return tomllib.loads((_TEXTS / f"{lang}.toml").read_text("utf-8"))


class Words:
    """`zone`: every time is told in it."""

    def __init__(self, lang: Lang, zone: str) -> None:
        self.lang, self.zone = lang, zone
        self._texts, self._zone = texts(lang), zone_of(zone)

    def __call__(self, key: str, **values: object) -> str:
        return self._texts[key].format(**values)

    def named(self, group: str, code: str) -> str:
        """What a code is called, or the code itself."""
        return self._texts.get(f"{group}.{code}", code)

    def number(self, value: float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"

    def share(self, value: float | None, digits: int = 2) -> str:
        """In percent, rounded down: what is not all is never told as all."""
        if value is None:
            return NOTHING
        scale = 10 ** (digits + 2)
        return f"{int(value * scale + 1e-6) / 10**digits:.{digits}f} %"

    def of(self, count: int, whole: int) -> str:
        """A count with its share."""
        return self.number(count) + (f" ({self.share(count / whole, 1)})" if whole else "")

    def span(self, ns: int | None) -> str:
        """The two largest units, rounded down; below a second in milliseconds."""
        if ns is None:
            return NOTHING
        if ns < SECOND:
            return f"{ns // 1_000_000} ms" if ns >= 1_000_000 or not ns else "< 1 ms"
        parts: list[str] = []
        for unit, length in _UNITS:
            count, ns = divmod(ns, length)
            if count and len(parts) < 2:
                parts.append(self(f"unit.{unit}", n=f"{count:,}"))
            elif parts:
                break
        return " ".join(parts)

    def latency(self, ns: int) -> str:
        """As exact as it matters."""
        if ns < SECOND:
            return f"{ns / 1e6:.1f} ms"
        return self("unit.s", n=f"{ns / 1e9:.2f}") if ns < 60 * SECOND else self.span(ns)

    def bound(self, ms: int) -> str:
        """The end of a bin of latencies."""
        return f"{ms} ms" if ms < 1000 else self("unit.s", n=ms // 1000)

    def time(self, ns: int | None) -> str:
        if ns is None:
            return NOTHING
        return datetime.fromtimestamp(ns // SECOND, self._zone).strftime("%Y-%m-%d %H:%M:%S")

    def short(self, ns: int | None) -> str:
        """Without the year, where the reader knows it."""
        return self.time(ns)[5:] if ns is not None else NOTHING

    def clock(self, ns: int) -> str:
        return datetime.fromtimestamp(ns // SECOND, self._zone).strftime("%H:%M")

    def day(self, ns: int) -> str:
        """Month and day, for charts."""
        return datetime.fromtimestamp(ns // SECOND, self._zone).strftime("%m-%d")

    def size(self, count: float) -> str:
        for unit in ("B", "KiB", "MiB", "GiB"):
            if count < 1024:
                return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
            count /= 1024
        return f"{count:.1f} TiB"
