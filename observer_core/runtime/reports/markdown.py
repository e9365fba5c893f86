"""A report as Markdown, with its charts in characters."""

from __future__ import annotations

import re

from observer_core.runtime.reports.document import (
    Basis,
    Block,
    Chart,
    Document,
    Figures,
    Remark,
    Table,
)
from observer_core.runtime.reports.plain import cleaned

_SIGNS = re.compile(r"([\\`*_\[\]<>|#~&!])")


def markdown(document: Document) -> str:
    """The whole file. What records hold is text in it, never markup."""
    labels = document.labels
    lines = [f"# {_text(document.title)}", ""]
    lines += [f"- {_text(term)}: {_text(value)}" for term, value in document.frame]
    for section in document.sections:
        lines += ["", f"## {_text(section.title)}"]
        for block in section.blocks:
            lines += ["", *_block(block, labels)]
    return "\n".join([*lines, "", f"---\n{_text(labels['footer'])}"]) + "\n"


def _block(block: Block, labels: dict[str, str]) -> list[str]:
    match block:
        case Figures():
            return [
                f"- {_text(item.label)}: **{_text(item.value)}**{_note(item.note, labels.get(item.state))}"
                for item in block.items
            ]
        case Table():
            return _table(block)
        case Chart():
            # A fence longer than any run of backticks that a name may have.
            return [
                f"### {_text(block.title)}", "", _text(block.desc), "", "``````text",
                *(line.replace("`", "'") for line in block.text), "``````",
            ]  # fmt: skip
        case Remark():
            return [f"> **{_text(block.text)}**" if block.warn else _text(block.text)]
    return _basis(block, labels)


def _note(note: str, word: str | None) -> str:
    parts = [_text(part) for part in (note, word) if part]
    return f" ({' · '.join(parts)})" if parts else ""


def _table(block: Table) -> list[str]:
    rule = ["---:" if column in block.numbers else "---" for column in range(len(block.head))]
    rows = [
        [_code(text) if column in block.codes else _text(text) for column, text in enumerate(row)]
        for row in block.rows
    ]
    lines = [f"### {_text(block.title)}", ""]
    lines += [f"| {' | '.join(row)} |" for row in ([_text(name) for name in block.head], rule, *rows)]
    return [*lines, *(["", _text(block.note)] if block.note else [])]


def _basis(block: Basis, labels: dict[str, str]) -> list[str]:
    lines = [f"**{_text(labels['basis'])}**", ""]
    lines += [f"- {_text(term)}: {_text(text)}" for term, text in block.terms]
    if block.records:
        lines.append(f"- {_text(labels['records'])}: {', '.join(map(_code, block.records))}")
    if block.commands:
        lines.append(f"- {_text(labels['commands'])}: {', '.join(map(_code, block.commands))}")
    return lines


def _text(text: str) -> str:
    return _SIGNS.sub(r"\\\1", cleaned(text))


def _code(text: str) -> str:
    text = cleaned(text).replace("`", "'").replace("|", "\\|")
    return f"`{text}`" if text else ""
