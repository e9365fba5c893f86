"""Names of sources, subjects and fields: what may stand in a record, a path of series, a screen."""

from __future__ import annotations

from observer_core.shared.records import ALL

MAX_NAME = 256


def fault(name: object) -> str | None:
    """What is wrong with a name, or None: text of 1 to 256 characters that can all be shown."""
    if not isinstance(name, str):
        return f"is {type(name).__name__}, expected text"
    if 0 < len(name) <= MAX_NAME and name.isprintable():
        return "is *, which stands for all of them" if name == ALL else None
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"has {len(name)} characters, at most {MAX_NAME} were expected"
    bad = next(character for character in name if not character.isprintable())
    return f"holds the character {bad!a}, which cannot be shown"


def shown(name: object) -> str:
    """A name as an error quotes it: short, whatever came."""
    text = ascii(name)
    return text if len(text) <= 80 else text[:77] + "..."
