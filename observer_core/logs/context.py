"""Where the work at hand stands, for every line that is logged meanwhile: stage, source, position, trace.

Whoever begins some work says once how to find that out; it is worked out only when a line is written, so
that work which logs nothing pays a tenth of a microsecond. Threads and tasks have one each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

Says = Callable[[], Mapping[str, Any]]
"""The fields of now. What is None is left out; what fails says nothing."""
_Chain = tuple[Says, Any] | None
_current: ContextVar[_Chain] = ContextVar("observer_logs", default=None)
_always: list[Says] = []
Left = Token[_Chain]


def enter(says: Says) -> Left:
    """From now on lines have what `says` gives too, before what was said outside; until `leave`."""
    return _current.set((says, _current.get()))


def leave(left: Left) -> None:
    """Ends what `enter` began."""
    _current.reset(left)


@contextmanager
def within(says: Says) -> Iterator[None]:
    """`enter` and `leave`, where a microsecond does not count."""
    left = enter(says)
    try:
        yield
    finally:
        leave(left)


def always(says: Says) -> None:
    """From now on every line of this process has what `says` gives, where nothing else says it."""
    if says not in _always:
        _always.append(says)


def fields() -> dict[str, Any]:
    """What a line is given here; the innermost word counts."""
    found: dict[str, Any] = {}
    for says in (*_inside(), *_always):
        try:
            said = says()
        except Exception:  # noqa: S112 - a line is worth more than where it stands
            continue
        for name, value in said.items():
            if value is not None:
                found.setdefault(name, value)
    return found


def _inside() -> Iterator[Says]:
    """From the innermost to the outermost."""
    chain = _current.get()
    while chain is not None:
        says, chain = chain
        yield says
