"""What an exchange tells, as rows: the closed bars of its candles and trades, and snapshots of rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from observer_core.shared.errors import InputError
from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.exact import column
from observer_core.snapshot_engine.source import MAX_ERROR, History

Row = Mapping[str, Any]
"""Numbers by field: decimal texts, integers, floats, or None for what is missing."""
Bars = Mapping[int, Row]
"""Rows by the start of their bar."""

CANDLE: Final = ("open", "high", "low", "close", "volume")
TRADE_BAR: Final = ("price", "vwap", "volume", "count", "buy_volume")
_MS: Final = 1_000_000
_LATEST_MS: Final = 2**63 // _MS
_MAX_NOTES: Final = 3


def candle_bars(candles: Iterable[Sequence[Any]], length_ns: int, now_ns: int) -> Bars:
    """The closed candles in order of time; of two with one start, the later one in the answer.

    `InputError` when candles came, and none has both a time and a price.
    """
    usable, refused = [], 0
    for candle in candles:
        start = nanoseconds(candle[0])
        if start is None or all(price is None for price in candle[1:5]):
            refused += 1
        else:
            usable.append((start, dict(zip(CANDLE, candle[1:6]))))
    if refused and not usable:
        raise InputError("what came holds no candle with a time and a price")
    usable.sort(key=lambda bar: bar[0])
    return {start: row for start, row in usable if start + length_ns <= now_ns}


def trade_bars(trades: Sequence[Mapping[str, Any]], length_ns: int, now_ns: int, limit: int) -> Bars:
    """The closed bars that the trades fill, in order of time; a trade that came twice counts once.

    Exchanges give the newest trades, up to `limit` or a round number of their own: the oldest bar
    of such an answer may lack its first trades, and is left out. `InputError` when trades came, and
    none has a time, a price and an amount.
    """
    bars: dict[int, list[Mapping[str, Any]]] = {}
    seen: set[str] = set()
    usable = [trade for trade in trades if _is_trade(trade)]
    if trades and not usable:
        raise InputError("what came holds no trade with a time, a price and an amount")
    for trade in sorted(usable, key=_order):
        if (identity := trade.get("id")) is not None:
            if identity in seen:
                continue
            seen.add(identity)
        moment = trade["timestamp"] * _MS
        bars.setdefault(moment - moment % length_ns, []).append(trade)
    starts = list(bars)
    if len(trades) >= limit or len(trades) % 10 == 0:
        starts = starts[1:]
    return {start: _trade_bar(bars[start]) for start in starts if start + length_ns <= now_ns}


def _is_trade(trade: Mapping[str, Any]) -> bool:
    return (
        nanoseconds(trade.get("timestamp")) is not None
        and trade.get("price") is not None
        and trade.get("amount") is not None
    )


def _order(trade: Mapping[str, Any]) -> tuple[int, int, str]:
    """By time, then by number: ccxt sorts the numbers of trades as texts."""
    identity = str(trade.get("id") or "")
    return trade["timestamp"], len(identity), identity


def _trade_bar(trades: Sequence[Mapping[str, Any]]) -> Row:
    sizes = [
        (Decimal(str(trade["price"])), Decimal(str(trade["amount"])), trade.get("side")) for trade in trades
    ]
    volume = sum((amount for _, amount, _ in sizes), Decimal())
    cost = sum((price * amount for price, amount, _ in sizes), Decimal())
    bought = sum((amount for _, amount, side in sizes if side == "buy"), Decimal())
    return {
        "price": trades[-1]["price"],
        "vwap": float(cost / volume) if volume else None,
        "volume": f"{volume:f}",
        "count": len(trades),
        "buy_volume": None if any(side is None for _, _, side in sizes) else f"{bought:f}",
    }


def history(
    source: str, now_ns: int, bars: Mapping[str, Bars], fields: Sequence[str], notes: list[str]
) -> History:
    """One snapshot a bar start, in order of time. What went wrong stands in the newest.

    `InputError` when something went wrong and there is no bar that could say so.
    """
    starts = sorted({start for found in bars.values() for start in found})
    if notes and not starts:
        raise InputError(listed(notes))
    snapshots = []
    for start in starts:
        rows = {subject: found[start] for subject, found in bars.items() if start in found}
        said = notes if start == starts[-1] else []
        snapshots.append(as_snapshot(source, start, now_ns, rows, fields, said))
    return History(tuple(snapshots))


def as_snapshot(
    source: str, event_ns: int, now_ns: int, rows: Mapping[str, Row], fields: Sequence[str], notes: list[str],
    quality: Mapping[str, tuple[str, ...]] | None = None,
) -> Snapshot:  # fmt: skip
    """A row a subject, exact decimals kept. What is no number is missing and joins the `notes`."""
    subjects = tuple(rows)
    columns, decimals = {}, {}
    for field in sorted(fields):
        columns[field], texts, refused = column([row.get(field) for row in rows.values()])
        if texts:
            decimals[field] = {subjects[place]: text for place, text in texts.items()}
        notes.extend(
            f"{subjects[place]}: {field} is {what}, a number was expected" for place, what in refused.items()
        )
    return Snapshot(
        source=source, event_ns=event_ns, ingest_ns=now_ns, subjects=subjects, fields=columns,
        quality=quality or {}, decimals=decimals, status="partial" if notes else "ok",
        error=listed(notes) if notes else None,
    )  # fmt: skip


def nanoseconds(timestamp: Any) -> int | None:
    """Of ccxt's milliseconds; None for what is no moment."""
    if type(timestamp) is not int or not 0 < timestamp < _LATEST_MS:
        return None
    return timestamp * _MS


def listed(notes: Sequence[str]) -> str:
    """The first notes, and how many more there are, within the length of an error."""
    more = f"; and {len(notes) - _MAX_NOTES} more" if len(notes) > _MAX_NOTES else ""
    text = "; ".join(notes[:_MAX_NOTES])
    room = MAX_ERROR - len(more)
    return (text if len(text) <= room else text[: room - 1] + "…") + more
