"""A report as one HTML file: no other file, no script, no host. Light, for the screen and for paper."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Final

from observer_core.runtime.reports.document import (
    Basis,
    Block,
    Chart,
    Document,
    Figures,
    Remark,
    Section,
    Table,
)
from observer_core.runtime.reports.plain import cleaned

_STYLE: Final = Path(__file__).with_name("report.css")
_TIME: Final = re.compile(r"(\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d")
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def html(document: Document) -> str:
    """The whole file. What records hold is text in it, never markup."""
    labels = document.labels
    frame = "".join(f"<dt>{_text(term)}</dt><dd>{_text(value)}</dd>" for term, value in document.frame)
    contents = "".join(
        f'<li><a href="#{section.name}">{_text(section.title)}</a></li>' for section in document.sections
    )
    body = "".join(_section(section, labels) for section in document.sections)
    return (
        f'<!doctype html>\n<html lang="{document.lang}">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(document.title)}</title>\n<style>\n{_STYLE.read_text('utf-8')}</style>\n</head>\n<body>\n"
        f'<header>\n<h1>{_text(document.title)}</h1>\n<dl class="frame">{frame}</dl>\n'
        f'<nav aria-label="{_text(labels["contents"])}"><ol>{contents}</ol></nav>\n</header>\n'
        f"<main>\n{body}</main>\n<footer><p>{_text(labels['footer'])}</p></footer>\n</body>\n</html>\n"
    )


def _section(section: Section, labels: dict[str, str]) -> str:
    blocks = "".join(_block(block, labels) for block in section.blocks)
    return f'<section id="{section.name}">\n<h2>{_text(section.title)}</h2>\n{blocks}</section>\n'


def _block(block: Block, labels: dict[str, str]) -> str:
    match block:
        case Figures():
            return _figures(block, labels)
        case Table():
            return _table(block)
        case Chart():
            # Its title and description stand above it; the picture has them for those who do not see it.
            return (
                f"<figure><figcaption>{_text(block.title)}<span>{_text(block.desc)}</span></figcaption>"
                f"{block.svg}</figure>\n"
            )
        case Remark():
            return f'<p class="{"warned" if block.warn else "remark"}">{_text(block.text)}</p>\n'
    return _basis(block, labels)


def _figures(block: Figures, labels: dict[str, str]) -> str:
    found = []
    for item in block.items:
        parts = [part for part in (item.note, labels.get(item.state, "")) if part]
        note = f'<dd class="note">{_text(" · ".join(parts))}</dd>' if parts else ""
        found.append(
            f'<div class="{item.state}"><dt>{_text(item.label)}</dt><dd>{_text(item.value)}</dd>{note}</div>'
        )
    return f'<dl class="figures">{"".join(found)}</dl>\n'


def _table(block: Table) -> str:
    def cell(kind: str, column: int, text: str) -> str:
        right = ' class="n"' if column in block.numbers else ' class="t"' if _TIME.fullmatch(text) else ""
        scope = ' scope="col"' if kind == "th" else ""
        shown = (
            f"<code>{_text(text).replace('@', '<wbr>@')}</code>"
            if kind == "td" and column in block.codes
            else _text(text)
        )
        return f"<{kind}{scope}{right}>{shown}</{kind}>"

    head = "".join(cell("th", column, text) for column, text in enumerate(block.head))
    rows = "".join(
        f"<tr>{''.join(cell('td', column, text) for column, text in enumerate(row))}</tr>\n"
        for row in block.rows
    )
    note = f'<p class="left">{_text(block.note)}</p>' if block.note else ""
    return (
        f'<h3>{_text(block.title)}</h3>\n<div class="scroll"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody></table></div>{note}\n"
    )


def _basis(block: Basis, labels: dict[str, str]) -> str:
    terms = "".join(f"<dt>{_text(term)}</dt><dd>{_text(text)}</dd>" for term, text in block.terms)
    records = ", ".join(f"<code>{_text(one)}</code>" for one in block.records)
    commands = "<br>".join(f"<code>{_text(one)}</code>" for one in block.commands)
    parts = [f"<h3>{_text(labels['basis'])}</h3>", f"<dl>{terms}</dl>"]
    if records:
        parts.append(f"<p>{_text(labels['records'])}: {records}</p>")
    if commands:
        parts.append(f"<p>{_text(labels['commands'])}:<br>{commands}</p>")
    return f'<div class="basis">{"".join(parts)}</div>\n'


def _text(text: str) -> str:
    return escape(cleaned(text))
