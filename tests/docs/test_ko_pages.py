"""docs/ko: the same commands, tables, links and structure as the English pages, so that they cannot drift."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS, KO = ROOT / "docs", ROOT / "docs" / "ko"
PAGES = ("runbook", "architecture")
FENCE = re.compile(r"^```(.*?)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HANGUL = re.compile(r"[가-힣]")


def pages(name: str) -> tuple[str, str]:
    """In English, in Korean."""
    return (DOCS / f"{name}.md").read_text("utf-8"), (KO / f"{name}.md").read_text("utf-8")


def sections(text: str) -> list[tuple[str, str, str]]:
    """Level and heading of each part, and what stands under it; a # in a block is none."""
    kept = FENCE.sub(lambda found: found[0].replace("\n#", "\n\0"), text)
    parts = re.split(r"^(#+) (.+)\n", kept, flags=re.MULTILINE)[1:]
    return [
        (level, heading, body.replace("\n\0", "\n#"))
        for level, heading, body in zip(parts[::3], parts[1::3], parts[2::3])
    ]


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Kind and lines of each block, without remarks but with the exit codes that they name."""
    return [
        (kind, [line for line in map(bare, body.splitlines()) if line]) for kind, body in FENCE.findall(text)
    ]


def bare(line: str) -> str:
    code, mark, remark = re.sub(r"(^|\s+)# ", "\0", line, count=1).partition("\0")
    exits = re.findall(r"^exit \d+|^\w+(?=:)", remark) if mark else []
    return " ".join([code.rstrip(), *exits]).strip()


def tables(text: str) -> Iterator[list[list[str]]]:
    """What stands in code style in each row of each table, in the first column, which nobody translates."""
    for table in re.findall(r"(?:^\|.*\n)+", FENCE.sub("", text), re.MULTILINE):
        yield [re.findall(r"`([^`]+)`", row.split("|")[1]) for row in table.splitlines()[2:]]


@pytest.mark.parametrize("name", PAGES)
def test_the_headings_correspond(name: str) -> None:
    english, korean = map(sections, pages(name))
    assert [level for level, _, _ in english] == [level for level, _, _ in korean]
    assert all(HANGUL.search(heading) for _, heading, _ in korean)


@pytest.mark.parametrize("name", PAGES)
def test_every_chapter_has_the_same_blocks_tables_and_figures(name: str) -> None:
    for (_, heading, body), (_, title, text) in zip(*map(sections, pages(name)), strict=True):
        where = f"{heading} / {title}"
        assert blocks(body) == blocks(text), where
        assert list(tables(body)) == list(tables(text)), where
        # Beside commands: settings, codes and files that the text names, wherever they stand in it.
        assert sorted(set(named(body))) == sorted(set(named(text))), where


def named(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))


@pytest.mark.parametrize("name", PAGES)
def test_every_link_is_there_in_both(name: str) -> None:
    english, korean = pages(name)
    assert targets(english, DOCS) - {f"docs/ko/{name}.md"} == targets(korean, KO) - {f"docs/{name}.md"}


def targets(text: str, folder: Path) -> set[str]:
    """What a page links to, from the root; a Korean page stands for its English one."""
    found = set()
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+://", target):
            path = str((folder / target).resolve().relative_to(ROOT))
            if folder == KO:
                path = re.sub(r"^docs/ko/", "docs/", path.replace("docs/ko/README.md", "README.md"))
            found.add(path)
    return found


@pytest.mark.parametrize("name", [*PAGES, "README"])
def test_the_chapters_that_a_korean_page_links_to_are_there(name: str) -> None:
    text = (KO / f"{name}.md").read_text("utf-8")
    known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for _, heading, _ in sections(text)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= known


def test_the_readme_has_the_same_commands_and_links() -> None:
    """Its words may differ: what a newcomer types, and where he is led, may not."""
    english, korean = (ROOT / "README.md").read_text("utf-8"), (KO / "README.md").read_text("utf-8")

    def typed(text: str) -> list[tuple[str, list[str]]]:
        return [block for block in blocks(text) if block[0] in ("sh", "console")]

    assert typed(english) == typed(korean)
    led = {target for target in targets(english, ROOT) if not target.startswith("docs/images/")}
    assert led - {"docs/ko/README.md"} <= targets(korean, KO) | {"docs/adr"}
    assert all(HANGUL.search(heading) for _, heading, _ in sections(korean)[1:])
