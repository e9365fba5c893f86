"""The page speaks two languages, and says nothing in only one of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "observer_core/web/page"
_LINE = re.compile(r'^  ("(?:[^"\\]|\\.)+"):\s+("(?:[^"\\]|\\.)*"),$', re.MULTILINE)
_HOLE = re.compile(r"\{(\w+)\}")
# What a language may have alone: the server says it in English itself; Korean has no plural.
_ALONE = re.compile(r"^reason\.|\.one$")
_SAME = {"zone.UTC", "zone.Asia/Seoul", "unit.ms"}


def texts(language: str) -> dict[str, str]:
    source = (PAGE / "locale" / f"{language}.js").read_text()
    found = [(json.loads(key), json.loads(text)) for key, text in _LINE.findall(source)]
    entries = re.findall(r'^  "', source, re.MULTILINE)
    assert len(found) == len(entries), "a line is not one key and one text"
    assert len(dict(found)) == len(found), "a key is given twice"
    return dict(found)


EN, KO = texts("en"), texts("ko")
SOURCE = "\n".join(
    re.sub(r"^\s*//.*$", "", path.read_text(), flags=re.MULTILINE)
    for path in sorted(PAGE.rglob("*.js"))
    if not {"vendor", "locale"} & set(path.relative_to(PAGE).parts)
)
_LITERALS = set(re.findall(r'"([A-Za-z]+(?:\.[\w/]+)*)"', SOURCE))
_PATTERNS = [
    re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w/]+", re.escape(template)))
    for template in re.findall(r"`((?:[\w.]|\$\{[^{}`]*\})+)`", SOURCE)
    if "${" in template and "." in re.sub(r"\$\{.*?\}", "", template)
]


def test_both_languages_have_the_same_texts() -> None:
    shared = [{key for key in found if not _ALONE.search(key)} for found in (EN, KO)]
    assert shared[0] ^ shared[1] == set()


@pytest.mark.parametrize("key", sorted(set(EN) & set(KO)))
def test_a_text_says_the_same_things_in_both(key: str) -> None:
    assert EN[key].strip()
    assert set(_HOLE.findall(EN[key])) == set(_HOLE.findall(KO[key]))
    holes_only = not re.search(r"[A-Za-z]", _HOLE.sub("", EN[key]))
    assert key in _SAME or holes_only or re.search(r"[가-힣]", KO[key]), "it is not translated"


def test_every_text_that_is_asked_for_is_there() -> None:
    asked = set(re.findall(r'\bt\(\s*"([^"]+)"', SOURCE))
    assert len(asked) > 50
    assert asked - set(EN) == set()


def test_every_text_is_asked_for() -> None:
    def used(key: str) -> bool:
        base = key.removesuffix(".one")
        return base in _LITERALS or any(pattern.fullmatch(base) for pattern in _PATTERNS)

    assert [key for key in {**EN, **KO} if not used(key)] == []


def test_a_singular_belongs_to_a_plural() -> None:
    assert [key for key in EN if key.endswith(".one") and key.removesuffix(".one") not in EN] == []
