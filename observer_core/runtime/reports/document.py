"""A report as a reader has it: sections of paragraphs, figures, tables and charts. Plain texts, no markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "warn", "bad", "none"]
"""How a figure is to be taken; it is told by a word or a sign too, never by a colour alone."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`note`: what it is of, or measured by."""

    label: str
    value: str
    note: str = ""
    state: State = "none"


@dataclass(frozen=True, slots=True)
class Figures:
    items: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Table:
    """`numbers`: columns that stand to the right; `codes`: those that are spelled as they are (refs, names).

    `note`: what was left out.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    codes: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """`svg` stands alone, with title and description; `text` shows the same in characters."""

    title: str
    desc: str
    svg: str
    text: Sequence[str]


@dataclass(frozen=True, slots=True)
class Remark:
    """A paragraph; `warn`: it has to be seen."""

    text: str
    warn: bool = False


@dataclass(frozen=True, slots=True)
class Basis:
    """What the figures of a section mean, which records they come from, and commands that list them."""

    terms: Sequence[tuple[str, str]]
    records: Sequence[str] = ()
    commands: Sequence[str] = ()


Block = Figures | Table | Chart | Remark | Basis


@dataclass(slots=True)
class Section:
    name: str
    title: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(slots=True)
class Document:
    """`frame`: what the report is of, line by line. `labels`: words that the form itself needs."""

    lang: str
    title: str
    frame: list[tuple[str, str]]
    sections: list[Section]
    labels: dict[str, str]
