"""The picture of an explanation: a self-contained SVG, readable on light and dark grounds.

Each record is a box with its position and the hash of its chain, the decision on top, what it
follows from below; under them the series around the pattern, where there is one. It holds no
script and refers to nothing outside itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from html import escape
from typing import Final

from observer_core.runtime.audit.explain import Curve, Step
from observer_core.shared.clock import SECOND, format_time

_WIDTH: Final = 980
_BOX, _HIGH, _GAP, _DOWN = 226, 92, 16, 40
_IN_A_ROW: Final = 4
_CHART: Final = 200
_LETTERS: Final = 34
_STYLE: Final = """
text{font:12px system-ui,sans-serif;fill:#1f2328}.dim{fill:#59636e;font-size:11px}
.mono{font-family:ui-monospace,monospace;font-size:11px}.ground{fill:#ffffff}
.box{fill:#f6f8fa;stroke:#8c959f}.line{stroke:#8c959f;fill:none}
.curve{stroke:#0969da;fill:none;stroke-width:1.5}.point{fill:#0969da}
.mark{stroke:#cf222e;stroke-dasharray:4 3}.marked{fill:#cf222e}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.ground{fill:#0d1117}
.box{fill:#151b23;stroke:#656c76}.line{stroke:#656c76}.curve{stroke:#4493f8}.point{fill:#4493f8}
.mark{stroke:#ff7b72}.marked{fill:#ff7b72}}
"""


def picture(step: Step, curve: Curve | None = None) -> str:
    """The chain of `step` as SVG text; with `curve` its values too."""
    parts: list[str] = []
    bottom = _chain(parts, step)
    if curve is not None:
        bottom = _chart(parts, curve, bottom + 10)
    height = bottom + 16
    title = _safe(f"{step.stored.ref}: {step.title}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" role="img"><title>{title}</title><style>{_STYLE}</style>'
        f'<rect class="ground" width="{_WIDTH}" height="{height}"/>{"".join(parts)}</svg>\n'
    )


def _chain(parts: list[str], root: Step) -> int:
    """Draws the boxes level by level; gives where they end."""
    level: list[tuple[Step, float | None]] = [(root, None)]
    top, drawn = 16, set()
    while level:
        unique: dict[str, tuple[Step, list[float | None]]] = {}
        for step, parent in level:
            unique.setdefault(step.stored.ref, (step, []))[1].append(parent)
        shown = list(unique.values())[:_IN_A_ROW]
        left = (_WIDTH - len(shown) * _BOX - (len(shown) - 1) * _GAP) / 2
        following: list[tuple[Step, float | None]] = []
        for number, (step, parents) in enumerate(shown):
            x = left + number * (_BOX + _GAP)
            for parent in parents:
                if parent is not None:
                    middle = top - _DOWN / 2
                    parts.append(
                        f'<path class="line" d="M{parent:.0f} {top - _DOWN}C{parent:.0f} {middle:.0f} '
                        f'{x + _BOX / 2:.0f} {middle:.0f} {x + _BOX / 2:.0f} {top}"/>'
                    )
            _box(parts, step, x, top)
            if step.stored.ref not in drawn:  # what it follows from is drawn once
                following += [(cause, x + _BOX / 2) for cause in step.causes]
            drawn.add(step.stored.ref)
        more = len(unique) - len(shown)
        if more:
            end = left + len(shown) * (_BOX + _GAP)
            y = top + _HIGH + 14
            parts.append(
                f'<text class="dim" x="{end - _GAP:.0f}" y="{y}" text-anchor="end">and {more} more</text>'
            )
        level = following
        top += _HIGH + _DOWN
    return top - _DOWN


def _box(parts: list[str], step: Step, x: float, y: int) -> None:
    lines = _wrapped(step.title.partition("  ")[0], 3)
    rows = [("", line) for line in lines]
    rows += [("mono dim", step.stored.ref), ("mono dim", f"chain {step.hash[:16]}")]
    parts.append(f'<rect class="box" x="{x:.0f}" y="{y}" width="{_BOX}" height="{_HIGH}" rx="6"/>')
    for number, (style, text) in enumerate(rows):
        shown = _safe(_cut(text, _LETTERS))
        at = y + 18 + number * 16
        parts.append(f'<text class="{style}" x="{x + 10:.0f}" y="{at}">{shown}</text>')


def _chart(parts: list[str], curve: Curve, top: int) -> int:
    left, right, bottom = 90, _WIDTH - 30, top + _CHART
    known = [value for value in curve.values if math.isfinite(value)]
    low, high = min(known), max(known)
    # Halved first: the span of two huge values of either sign is no float.
    reach = high / 2 - low / 2
    first, last = curve.times[0], max(curve.times[-1], curve.times[0] + 1)

    def across(time_ns: int) -> float:
        return left + (right - left) * min(1.0, max(0.0, (time_ns - first) / (last - first)))

    def up(value: float) -> float:
        share = (value / 2 - low / 2) / reach if reach > 0 else 0.5
        return bottom - 24 - (bottom - top - 60) * share

    parts.append(f'<text x="{left}" y="{top + 14}">{_safe(_cut(curve.name, 100))}</text>')
    for value in dict.fromkeys((low, high)):
        y = up(value)
        parts.append(f'<path class="line" stroke-opacity=".35" d="M{left} {y:.1f}H{right}"/>')
        parts.append(f'<text class="dim" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    for stretch in _stretches(curve):
        points = " ".join(f"{across(time_ns):.1f},{up(value):.1f}" for time_ns, value in stretch)
        if len(stretch) > 1:
            parts.append(f'<polyline class="curve" points="{points}"/>')
        else:
            cx, _, cy = points.partition(",")
            parts.append(f'<circle class="point" cx="{cx}" cy="{cy}" r="2"/>')
    x = across(curve.marked_ns)
    side, at = ("end", x - 6) if x > (left + right) / 2 else ("start", x + 6)
    parts.append(f'<path class="mark" d="M{x:.1f} {top + 24}V{bottom - 20}"/>')
    parts.append(
        f'<text class="marked" x="{at:.1f}" y="{top + 34}" text-anchor="{side}">{_safe(curve.label)}</text>'
    )
    for time_ns, where in ((first, "start"), (curve.times[-1], "end")):
        edge = left if where == "start" else right
        text = format_time(time_ns // SECOND * SECOND)
        parts.append(f'<text class="dim" x="{edge}" y="{bottom - 4}" text-anchor="{where}">{text}</text>')
    return bottom


def _stretches(curve: Curve) -> list[list[tuple[int, float]]]:
    """The curve in pieces: a value that was not observed is a gap, never a line across it."""
    found: list[list[tuple[int, float]]] = [[]]
    for time_ns, value in zip(curve.times, curve.values):
        if math.isfinite(value):
            found[-1].append((time_ns, value))
        elif found[-1]:
            found.append([])
    return [stretch for stretch in found if stretch]


def _wrapped(text: str, most: int) -> Sequence[str]:
    lines = [""]
    for word in text.split():
        joined = f"{lines[-1]} {word}".strip()
        if len(joined) <= _LETTERS or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(word)
    return [*lines[: most - 1], " ".join(lines[most - 1 :])][:most] if len(lines) > most else lines


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _safe(text: str) -> str:
    """As text of XML, which has no control characters."""
    return escape(_FORBIDDEN.sub("\ufffd", text))


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
