"""The tables of variables and outputs in infra/README.md, from the .tf files as `terraform fmt` leaves them.

`readme_tables.py` writes them anew between their marks; with `--check` it ends with 1 where they differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

INFRA: Final = Path(__file__).resolve().parent.parent
_MARKED: Final = re.compile(r"(<!-- tables: (?P<folder>\S+) -->\n).*?(<!-- end of tables -->)", re.DOTALL)
_BLOCK: Final = re.compile(
    r'^(?P<kind>variable|output) "(?P<name>\w+)" \{\n(?P<body>.*?)^\}$', re.DOTALL | re.MULTILINE
)
_ARGUMENT: Final = re.compile(r"^  (?P<name>\w+) += (?P<value>.*?)(?=^  \w|^$|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Declared:
    """A variable or an output, its arguments as they are written."""

    kind: str
    name: str
    arguments: dict[str, str]

    @property
    def description(self) -> str:
        text = self.arguments.get("description", '""')
        return text.removeprefix('"').removesuffix('"').replace('\\"', '"')


def declared(folder: Path) -> list[Declared]:
    """Everything that a module takes and gives, in the order in which it is written."""
    return [
        Declared(
            block["kind"], block["name"],
            {item["name"]: item["value"].strip() for item in _ARGUMENT.finditer(block["body"])},
        )
        for path in (folder / "variables.tf", folder / "outputs.tf")
        for block in _BLOCK.finditer(path.read_text("utf-8"))
    ]  # fmt: skip


def tables(folder: Path) -> Iterator[str]:
    """The lines of both tables of a module."""
    found = declared(folder)
    yield "| variable | type | default | |"
    yield "|---|---|---|---|"
    for item in found:
        if item.kind == "variable":
            default = f"`{_line(item.arguments['default'])}`" if "default" in item.arguments else "required"
            kind, text = _line(item.arguments["type"]), _cell(item.description)
            yield f"| `{item.name}` | `{kind}` | {default} | {text} |"
    yield ""
    yield "| output | |"
    yield "|---|---|"
    for item in found:
        if item.kind == "output":
            yield f"| `{item.name}` | {_cell(item.description)} |"


def written(text: str) -> str:
    """A README with its tables as they must be."""
    return _MARKED.sub(
        lambda match: f"{match[1]}\n" + "\n".join(tables(INFRA / match["folder"])) + f"\n\n{match[3]}", text
    )


def _line(value: str) -> str:
    """A value on one line."""
    lines = [re.sub(r" += ", " = ", line.strip()) for line in value.splitlines()]
    joined = lines[0]
    for line in lines[1:]:
        joined += (" " if joined[-1] in "{[(," or line[0] in "}])" else ", ") + line
    return joined.replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    readme = INFRA / "README.md"
    before = readme.read_text("utf-8")
    after = written(before)
    if "--check" not in sys.argv[1:]:
        readme.write_text(after, "utf-8")
        return 0
    if before != after:
        print(
            "infra/README.md: its tables are not what the .tf files say; run infra/scripts/readme_tables.py",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
