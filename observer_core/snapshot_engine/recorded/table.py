"""The rows of one file, in columns: what every format is read into."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from observer_core.shared.clock import parse_time
from observer_core.shared.errors import InputError
from observer_core.snapshot_engine.names import fault, shown
from observer_core.snapshot_engine.recorded.content import RecordingError
from observer_core.snapshot_engine.recorded.mapping import MAX_COLUMNS, MAX_SUBJECTS

NAN = float("nan")
_MAX_REMEMBERED_TIMES = 200_000


@dataclass(slots=True)
class Table:
    """Columns of equal length: stamps in ns, places of subjects in `Subjects`, values with NaN for none.

    `exact`: by field and row, the decimals that came as text and that their value is not.
    """

    stamps: array[int] = field(default_factory=lambda: array("q"))
    subjects: array[int] = field(default_factory=lambda: array("i"))
    fields: dict[str, array[float]] = field(default_factory=dict)
    exact: dict[str, dict[int, str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stamps)


class Subjects(dict[str, int]):
    """Name -> place, in order of first appearance; a new name is checked and gets the next place."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __missing__(self, text: str) -> int:
        name = text.strip()
        if name == text or name not in self:
            if problem := fault(name):
                raise InputError(f"the subject's name {problem}; expected a short text such as BTC/USDT")
            if len(self) >= MAX_SUBJECTS:
                raise InputError(
                    f"a subject beyond {MAX_SUBJECTS:,} different ones; is this the subject column?"
                )
            self[name] = len(self.names)
            self.names.append(name)
        place = self[text] = self[name]
        return place


class Times(dict[str, int]):
    """Text -> ns, each text parsed once while it is remembered; exactly `parse_time`, only faster.

    Within a minute only the seconds are read anew where that is exact: UTC, no text but
    digits. `InputError` for what is not a time of the years 1678 to 2261.
    """

    def __init__(self, zone: str | None) -> None:
        super().__init__()
        self._zone = zone
        self._ends = ("Z", "") if zone == "UTC" else ("Z",)
        self._minutes: dict[str, int] = {}

    def __missing__(self, text: str) -> int:
        if len(self) >= _MAX_REMEMBERED_TIMES:
            self.clear()
            self._minutes.clear()
        ns = self[text] = self._parse(text)
        return ns

    def _parse(self, text: str) -> int:
        second = text[17:19]
        if text[16:17] == ":" and text[19:] in self._ends and second.isdecimal() and "00" <= second < "60":
            minute = text[:17]
            start = self._minutes.get(minute)
            if start is None:
                start = self._minutes[minute] = self._exact(minute + "00" + text[19:])
            return start + int(second) * 1_000_000_000
        return self._exact(text)

    def _exact(self, text: str) -> int:
        whole, point, fraction = text.strip().partition(".")
        if point and whole.isdecimal() and fraction.isdecimal() and len(whole) >= 9:
            unit: int = 10 ** max(0, 9 - 3 * ((len(whole) - 9) // 3))
            ns: int = parse_time(whole) + int(fraction) * unit // 10 ** len(fraction)
        else:
            ns = parse_time(text, self._zone)
        if not -(2**63) < ns < 2**63:
            raise InputError(f"{shown(text)} is outside the years 1678 to 2261 that nanoseconds can count")
        return ns


def check_header(path: str, columns: Sequence[str]) -> None:
    """Refuses a header that no sensible table has."""
    if len(columns) > MAX_COLUMNS:
        raise RecordingError(
            path, f"has {len(columns):,} columns, at most {MAX_COLUMNS:,} were expected", line=1
        )
    for name in columns:
        if any(character < " " for character in name):
            raise RecordingError(
                path, f"found {shown(name)} as a column's name; expected text: is this file binary?", line=1
            )


def require(path: str, what: str, name: str, columns: Iterable[str]) -> None:
    """`RecordingError` that lists the columns there are, unless `name` is one of them, once."""
    there = list(columns)
    if there.count(name) == 1:
        return
    if name in there:
        raise RecordingError(
            path, f"has {there.count(name)} columns named {name!r}; the {what} must be one of them"
        )
    listed = ", ".join(there[:40]) + (f", … ({len(there)} in all)" if len(there) > 40 else "")
    raise RecordingError(path, f"has no {what} {name!r}; it has: {listed}. Name one of these")
