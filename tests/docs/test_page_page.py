"""docs/page.md: its views, keys and states are those of the page's own files; its pictures are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "page.md").read_text("utf-8")
CODE = ROOT / "observer_core" / "web" / "page"
APP = (CODE / "app.js").read_text("utf-8")
LIVE = (CODE / "live.js").read_text("utf-8")
TEXTS = dict(re.findall(r'^  "([\w.]+)":\s+"(.*)",$', (CODE / "locale" / "en.js").read_text(), re.MULTILINE))


def table(heading: str, part: int = 0) -> list[list[str]]:
    """The rows of the table with that first heading, the `part`th of them."""
    text = re.split(rf"^\| {heading} \|", PAGE, flags=re.MULTILINE)[1 + part].partition("\n\n")[0]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in text.splitlines()[2:]]


def test_the_views_are_those_that_there_are_in_their_order() -> None:
    (tabs,) = re.findall(r"^const TABS = \[(.*)\];", APP, re.MULTILINE)
    names = re.findall(r'"(\w+)"', tabs)
    told = [re.findall(r"\[(\w+)\]\(#(\w+)\)", row[1])[0] for row in table("key")]
    assert told == [(TEXTS[f"nav.{name}"], name) for name in names]
    assert [row[0] for row in table("key")] == [f"`{number}`" for number in range(1, len(names) + 1)]
    for title, name in told:
        picture = {"incidents": "incident", "decisions": "decision"}.get(name, name)
        section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        assert f"](images/{picture}.png)" in section


def test_the_keys_are_those_of_the_help() -> None:
    (keys,) = re.findall(r"const keysOf = \[(.*?)\];", APP, re.DOTALL)
    shown = [(key, TEXTS[text]) for key, text in re.findall(r'\["(.+?)", "(help\.\w+)"\]', keys)]
    told = [(" ".join(re.findall(r"`(.+?)`", row[0])), row[1]) for row in table("key", 1)]
    assert [key for key, _ in told] == [re.sub(r"  +", " ", key) for key, _ in shown]
    assert all(does.startswith(text.removeprefix("this ")) for (_, does), (_, text) in zip(told, shown))


def test_what_old_looks_like_is_in_the_page_s_own_words() -> None:
    (links,) = re.findall(r"@typedef \{(.*)\} Link$", LIVE, re.MULTILINE)
    states = set(re.findall(r'"(\w+)"', links)) - {"connecting", "live"}
    said = {TEXTS[f"link.{state}"].rstrip(".") for state in states}
    assert {row[1] for row in table("what happened")} == said
    assert "const TIMEOUT = 2_500;" in LIVE
    assert "const BACK_OFF = [500, 1_000, 2_000, 4_000, 5_000];" in LIVE


def test_the_parts_of_operate_are_those_that_there_are() -> None:
    named = {TEXTS[f"operate.{part}"] for part in (
        "kill", "scopes", "requests", "blocks", "overrides", "silences", "subscriptions", "quarantined",
        "letters", "asked",
    )}  # fmt: skip
    assert {name for row in table("part") for name in row[0].split(", ")} == named
