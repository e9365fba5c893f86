"""Charts as SVG that stands alone, and as text: bars, columns with a limit, and lanes of spans over time.

Colours are of Okabe and Ito; nothing is told by colour alone: spans are hatched by kind, and every chart
has a title, a description, its numbers in words, and a text form. Equal input gives equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final, Literal, NamedTuple

from observer_core.runtime.reports.document import Chart

WIDTH: Final = 720
_INK, _MUTED, _LINE = "#1a2027", "#56606b", "#dce0e5"
_GOOD, _BAD, _SILENT, _INFO, _BLOCKED = "#00694c", "#ae4400", "#8a3a6b", "#005a94", "#855800"
_LABEL: Final = 190
_SHARES: Final = " ▁▂▃▄▅▆▇█"
_TEXT_WIDTH: Final = 30
Kind = Literal["there", "failed", "silent", "blocked"]
_FILL: Final = {"there": _GOOD, "failed": _BAD, "silent": _SILENT, "blocked": _BLOCKED}
_SIGN: Final = {"there": "█", "failed": "x", "silent": "·", "blocked": "▓"}


class Bar(NamedTuple):
    label: str
    value: float
    shown: str


class Span(NamedTuple):
    from_ns: int
    to_ns: int
    kind: Kind


class Lane(NamedTuple):
    """`spans` over a ground (None: nothing) from `from_ns` up to `to_ns`; `shown` stands behind it."""

    label: str
    spans: Sequence[Span]
    shown: str
    ground: Kind | None = "there"
    from_ns: int = 0
    to_ns: int = 2**63


class Tick(NamedTuple):
    at_ns: int
    label: str


def bars(name: str, title: str, desc: str, items: Sequence[Bar]) -> Chart:
    """One bar an item, from zero; the longest fills the width."""
    most = max((item.value for item in items), default=0.0) or 1.0
    room = WIDTH - _LABEL - 130
    parts, height = [], 22 * len(items) + 4
    for row, item in enumerate(items):
        y, width = 22 * row, max(0.0, room * item.value / most)
        parts += [
            _text(_LABEL - 8, y + 15, _short(item.label, 28), anchor="end", full=item.label),
            f'<rect x="{_LABEL}" y="{y + 4}" width="{_number(max(width, 1.0))}" height="14" fill="{_INFO}"/>',
            _text(_LABEL + max(width, 1.0) + 6, y + 15, item.shown, fill=_MUTED),
        ]
    lines = [
        f"{_fit(item.label, 28)}  {'█' * round(_TEXT_WIDTH * item.value / most)} {item.shown}".rstrip()
        for item in items
    ]
    return Chart(title, desc, _svg(name, title, desc, height, parts), lines)


def columns(
    name: str, title: str, desc: str, values: Sequence[float], labels: Sequence[str], *,
    limit: tuple[int, str] | None = None,
) -> Chart:  # fmt: skip
    """One column a value. `labels`: below them, "" for none. `limit`: a line before the column with this
    number, and what it is; columns behind it are of another colour and hatched."""
    most, high, base = max(values, default=0.0) or 1.0, 96, 112
    step = (WIDTH - 40) / max(1, len(values))
    parts = [f'<line x1="36" y1="{base}" x2="{WIDTH - 4}" y2="{base}" stroke="{_LINE}"/>',
             _text(32, base - high + 4, f"{most:g}", anchor="end", fill=_MUTED)]  # fmt: skip
    for place, (value, label) in enumerate(zip(values, labels)):
        x, height = 38 + step * place, high * value / most
        over = limit is not None and place >= limit[0]
        if value:
            tall, fill = max(height, 1.5), f"url(#{name}-failed)" if over else _INFO
            parts.append(
                f'<rect x="{_number(x)}" y="{_number(base - tall)}" width="{_number(max(step - 2, 1))}" '
                f'height="{_number(tall)}" fill="{fill}"><title>{escape(label)}: {value:g}</title></rect>'
            )
        if label:
            parts.append(_text(x + step / 2 - 1, base + 14, label, anchor="middle", fill=_MUTED))
    if limit is not None:
        x = 37 + step * limit[0]
        at = _number(x)
        parts += [
            f'<line x1="{at}" y1="6" x2="{at}" y2="{base}" stroke="{_BAD}" stroke-dasharray="4 3"/>',
            _text(x + 4, 14, limit[1], fill=_BAD),
        ]
    spark = "".join(_SHARES[max(1, round(8 * value / most)) if value else 0] for value in values)
    ticks = [f"{label}: {value:g}" for label, value in zip(labels, values) if label and value]
    return Chart(title, desc, _svg(name, title, desc, base + 20, parts), [f"|{spark}|", *ticks])


def lanes(
    name: str, title: str, desc: str, items: Sequence[Lane], from_ns: int, to_ns: int, ticks: Sequence[Tick],
    legend: Sequence[tuple[Kind, str]], cells: int,
) -> Chart:  # fmt: skip
    """A lane an item, all over the same time. `cells`: characters a lane has as text."""
    length = max(1, to_ns - from_ns)
    room = WIDTH - _LABEL - 76

    def x(at_ns: int) -> float:
        return _LABEL + room * min(max(at_ns - from_ns, 0), length) / length

    parts, height = [], 20 * len(items)
    for tick in ticks:
        at = _number(x(tick.at_ns))
        parts += [f'<line x1="{at}" y1="0" x2="{at}" y2="{height + 2}" stroke="{_LINE}"/>',
                  _text(x(tick.at_ns), height + 14, tick.label, anchor="middle", fill=_MUTED)]  # fmt: skip
    lines = []
    for row, lane in enumerate(items):
        y, start_ns, end_ns = 20 * row + 3, max(from_ns, lane.from_ns), min(to_ns, lane.to_ns)
        parts.append(_text(_LABEL - 8, y + 11, _short(lane.label, 28), anchor="end", full=lane.label))
        if lane.ground is not None and start_ns < end_ns:
            parts.append(_rect(x(start_ns), y, x(end_ns) - x(start_ns), _FILL[lane.ground]))
        for span in lane.spans:
            width = max(x(span.to_ns) - x(span.from_ns), 1.5)
            parts.append(_rect(x(span.from_ns), y, width, f"url(#{name}-{span.kind})"))
        parts.append(_text(WIDTH - 70, y + 11, lane.shown))
        lines.append(f"{_fit(lane.label, 20)} {_cells(lane, from_ns, to_ns, cells)} {lane.shown}")
    place = float(_LABEL)
    for kind, word in legend:
        parts += [_rect(place, height + 21, 12, f"url(#{name}-{kind})"), _text(place + 17, height + 32, word)]
        place += 34 + _width(word)
    lines.append(" ".join(f"{_SIGN[kind]} {word}" for kind, word in legend))
    return Chart(title, desc, _svg(name, title, desc, height + 40, parts), lines)


def _cells(lane: Lane, from_ns: int, to_ns: int, count: int) -> str:
    """A sign a stretch of time: what was the worst in it, however short."""
    found = []
    for cell in range(count):
        low, high = (from_ns + (to_ns - from_ns) * edge // count for edge in (cell, cell + 1))
        bare = lane.ground is None or high <= lane.from_ns or low >= lane.to_ns
        sign = " " if bare else _SIGN[lane.ground or "there"]
        for span in lane.spans:
            if span.from_ns < high and low < span.to_ns:
                sign = _SIGN[span.kind]
        found.append(sign)
    return f"|{''.join(found)}|"


def _svg(name: str, title: str, desc: str, height: int, parts: Sequence[str]) -> str:
    patterns = "".join(
        f'<pattern id="{name}-{kind}" width="6" height="6" patternUnits="userSpaceOnUse"'
        f'{_TURN.get(kind, "")}><rect width="6" height="6" fill="{_FILL[kind]}"/>{_HATCH[kind]}</pattern>'
        for kind in _FILL
    )  # fmt: skip
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" font-size="11" fill="{_INK}" '
        f"font-family=\"system-ui, 'Noto Sans KR', 'Noto Sans CJK KR', 'Malgun Gothic', sans-serif\">"
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(desc)}</desc>'
        f"<defs>{patterns}</defs>{''.join(parts)}</svg>"
    )


_LIGHT: Final = 'stroke="#ffffff" stroke-width="1.6" stroke-opacity="0.75"'
_HATCH: Final = {
    "there": "", "failed": f'<line x1="0" y1="0" x2="0" y2="6" {_LIGHT}/>',
    "silent": f'<line x1="0" y1="0" x2="0" y2="6" {_LIGHT}/>',
    "blocked": f'<line x1="0" y1="3" x2="6" y2="3" {_LIGHT}/>',
}  # fmt: skip
_TURN: Final = {
    "failed": ' patternTransform="rotate(45)"', "silent": ' patternTransform="rotate(-45)"',
}  # fmt: skip


def _rect(x: float, y: float, width: float, fill: str) -> str:
    return f'<rect x="{_number(x)}" y="{y}" width="{_number(max(width, 0.0))}" height="14" fill="{fill}"/>'


def _text(
    x: float, y: float, text: str, *, anchor: str = "start", fill: str = _INK, full: str | None = None
) -> str:
    more = "" if full is None or full == text else f"<title>{escape(full)}</title>"
    place = f'x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}">{escape(text)}{more}</text>'


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _is_wide(sign: str) -> bool:
    return ord(sign) >= 0x1100


def _width(text: str) -> float:
    """About how wide a text is in a chart."""
    return sum(11.0 if _is_wide(sign) else 6.2 for sign in text)


def _short(text: str, most: int) -> str:
    """As much of it as fits into the room of so many narrow letters."""
    room, kept = most * 6.2, ""
    if _width(text) <= room:
        return text
    for sign in text:
        if _width(kept + sign) > room - 8:
            break
        kept += sign
    return kept + "…"


def _fit(text: str, cells: int) -> str:
    """Exactly so many cells of a terminal."""
    kept, used = "", 0
    for sign in text:
        wide = 2 if _is_wide(sign) else 1
        if used + wide > cells:
            kept = kept[:-1] + "…" if used == cells and not _is_wide(kept[-1]) else kept
            break
        kept, used = kept + sign, used + wide
    return kept + " " * (cells - used)
