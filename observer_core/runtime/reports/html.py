"""A report as one HTML file: no other file, no script, no host. Light, for the screen and for paper."""

from __future__ import annotations

import re
from html import escape

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

_STYLE = """
:root { color-scheme: light; --ink: #1a2027; --muted: #56606b; --line: #dce0e5; --raised: #f3f5f7;
  --ok: #00694c; --warn: #855800; --bad: #ae4400; --accent: #005a94; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.5rem 4rem; background: #fff; color: var(--ink);
  font: 0.9375rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR",
    "Noto Sans CJK KR", "Apple SD Gothic Neo", "Malgun Gothic", sans-serif;
  font-variant-numeric: tabular-nums; }
:lang(ko) { word-break: keep-all; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 0.75rem; }
h2 { font-size: 1.1875rem; margin: 2.5rem 0 0.75rem; padding-bottom: 0.25rem; border-bottom: 2px solid var(--ink); }
h3 { font-size: 0.9375rem; margin: 1.5rem 0 0.375rem; }
p { margin: 0.5rem 0; max-width: 48rem; }
a { color: var(--accent); }
.frame { display: grid; grid-template-columns: max-content 1fr; gap: 0.125rem 1rem; margin: 0; }
.frame dt, .basis dt { color: var(--muted); }
dd { margin: 0; overflow-wrap: anywhere; }
nav ol { margin: 1rem 0 0; padding-left: 1.25rem; columns: 2; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 0.5rem; margin: 0.75rem 0; padding: 0; }
.figures div { border: 1px solid var(--line); border-left-width: 4px; border-radius: 3px; padding: 0.5rem 0.75rem; }
.figures .ok { border-left-color: var(--ok); }
.figures .warn { border-left-color: var(--warn); }
.figures .bad { border-left-color: var(--bad); }
.figures dt { color: var(--muted); font-size: 0.8125rem; }
.figures dd { font-size: 1.1875rem; font-weight: 650; }
.figures dd.note { font-size: 0.8125rem; font-weight: 400; color: var(--muted); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.8125rem; line-height: 1.4; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.625rem 0.25rem 0; border-bottom: 1px solid var(--line); }
td { overflow-wrap: break-word; max-width: 26rem; }
thead th { color: var(--muted); font-weight: 600; border-bottom-color: #8b95a1; }
.n { text-align: right; white-space: nowrap; }
code { font: 0.92em/1.4 ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace; }
td code, .t { white-space: nowrap; }
figure { margin: 1rem 0; }
figcaption { font-weight: 600; font-size: 0.9375rem; }
figcaption span { display: block; font-weight: 400; font-size: 0.8125rem; color: var(--muted); }
svg { display: block; width: 100%; height: auto; margin-top: 0.375rem; }
.remark { color: var(--muted); }
.warned { border-left: 4px solid var(--bad); background: #fcece2; padding: 0.5rem 0.75rem; }
.left { color: var(--muted); font-size: 0.8125rem; }
.basis { margin: 1.25rem 0 0; background: var(--raised); border-radius: 3px; padding: 0.625rem 0.875rem; font-size: 0.8125rem; }
.basis h3 { margin: 0 0 0.25rem; font-size: 0.8125rem; }
.basis dl { display: grid; grid-template-columns: minmax(7rem, max-content) 1fr; gap: 0.125rem 0.875rem; margin: 0; }
.basis code { overflow-wrap: anywhere; }
.basis p { margin: 0.375rem 0 0; max-width: none; }
footer { margin-top: 3rem; color: var(--muted); font-size: 0.8125rem; }
@media (max-width: 40rem) { nav ol { columns: 1; } .basis dl { display: block; } body { padding: 1rem; } }
@page { size: A4; margin: 14mm 12mm 16mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  h2 { break-after: avoid; } h3, figcaption, thead { break-after: avoid; }
  figure, .figures div, tr { break-inside: avoid; }
  .scroll { overflow: visible; } table { font-size: 7.5pt; } td code { white-space: normal; overflow-wrap: anywhere; }
  th, td { padding-right: 0.375rem; }
  .figures { grid-template-columns: repeat(4, 1fr); }
  svg, .figures div, .basis, .warned { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  a { color: inherit; text-decoration: none; }
}
"""
_TIME = re.compile(r"(\d{4}-)?\d\d-\d\d \d\d:\d\d:\d\d")
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


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
        f"<title>{_text(document.title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
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
        word = f" · {labels[item.state]}" if item.state in ("warn", "bad") else ""
        note = f'<dd class="note">{_text(item.note + word)}</dd>' if item.note or word else ""
        found.append(
            f'<div class="{item.state}"><dt>{_text(item.label)}</dt><dd>{_text(item.value)}</dd>{note}</div>'
        )
    return f'<dl class="figures">{"".join(found)}</dl>\n'


def _table(block: Table) -> str:
    def cell(kind: str, column: int, text: str) -> str:
        right = ' class="n"' if column in block.numbers else ' class="t"' if _TIME.fullmatch(text) else ""
        scope = ' scope="col"' if kind == "th" else ""
        shown = f"<code>{_text(text)}</code>" if kind == "td" and column in block.codes else _text(text)
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
