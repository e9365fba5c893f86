"""The picture of a chain: well-formed, inside its frame, honest about gaps, safe against any text."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observer_core.runtime.audit.explain import Curve, Explainer, Step, find
from observer_core.runtime.audit.picture import picture
from observer_core.runtime.audit.stored import Stored
from observer_core.shared.errors import InputError
from tests.support.allows import BTC, Desk, answer, decision
from tests.support.toys import START_NS, note

NS = "{http://www.w3.org/2000/svg}"
TEXT = st.text(max_size=60)


def step(title: str, position: int, causes: list[Step] | None = None) -> Step:
    record = note(position)
    stored = Stored("commands.x", position, record.encode(0), "s", 0, record)
    return Step(stored, "ab" * 32, title, causes=causes or [])


def drawn(root: Step, curve: Curve | None = None) -> ElementTree.Element:
    return ElementTree.fromstring(picture(root, curve))


def texts(image: ElementTree.Element) -> list[str]:
    return [item.text or "" for item in image.iter(f"{NS}text")]


def boxes(image: ElementTree.Element) -> list[tuple[float, ...]]:
    return [
        tuple(float(item.attrib[name]) for name in ("x", "y", "width", "height"))
        for item in image.iter(f"{NS}rect")
        if item.get("class") == "box"
    ]


def test_every_record_is_a_box_below_what_follows_from_it() -> None:
    image = drawn(step("decision", 9, [step("event a", 5, [step("snapshot", 1)]), step("event b", 6)]))
    found = boxes(image)
    assert len(found) == 4
    assert len({y for _, y, _, _ in found}) == 3
    assert "commands.x@9" in texts(image)
    assert "chain abababababababab" in texts(image)


def test_a_record_that_several_follow_from_is_drawn_once() -> None:
    shared = step("snapshot", 1, [step("older", 7)])
    image = drawn(step("decision", 9, [step("event a", 5, [shared]), step("event b", 6, [shared])]))
    assert len(boxes(image)) == 5


def test_more_than_fit_beside_each_other_are_counted() -> None:
    image = drawn(step("decision", 9, [step(f"event {number}", number + 10) for number in range(7)]))
    assert len(boxes(image)) == 5
    assert "and 3 more" in texts(image)


@given(TEXT, TEXT, st.integers(0, 6))
def test_any_text_gives_an_image_whose_boxes_lie_in_it_side_by_side(one: str, two: str, count: int) -> None:
    root = step(one, 1, [step(two, number + 2) for number in range(count)])
    image = drawn(root)
    width, height = float(image.attrib["width"]), float(image.attrib["height"])
    found = boxes(image)
    for x, y, wide, high in found:
        assert 0 <= x <= x + wide <= width
        assert 0 <= y <= y + high <= height
    for (x, y, wide, _), (other, same, _, _) in pairwise(found):
        assert y != same or x + wide <= other


VALUES = st.one_of(st.floats(allow_infinity=False), st.just(1e308), st.just(-1e308))


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(-10, 30))
def test_any_curve_stays_in_the_image_and_a_gap_stays_a_gap(values: list[float], mark: int) -> None:
    if not any(map(math.isfinite, values)):
        return
    times = tuple(START_NS + number * 10**9 for number in range(len(values)))
    curve = Curve("feed <b> price", times, tuple(values), START_NS + mark * 10**9, "spike & more")
    image = drawn(step("decision", 1), curve)
    width, height = float(image.attrib["width"]), float(image.attrib["height"])
    points = [
        tuple(map(float, pair.split(",")))
        for line in image.iter(f"{NS}polyline")
        for pair in line.attrib["points"].split()
    ]
    points += [(float(p.attrib["cx"]), float(p.attrib["cy"])) for p in image.iter(f"{NS}circle")]
    assert len(points) == sum(map(math.isfinite, values))
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    (line,) = [item for item in image.iter(f"{NS}path") if item.get("class") == "mark"]
    assert 0 <= float(re.findall(r"[\d.]+", line.attrib["d"])[0]) <= width
    assert {"feed <b> price", "spike & more"} <= set(texts(image))


def test_it_is_readable_on_dark_and_light_and_refers_to_nothing_outside() -> None:
    text = picture(step("decision", 1))
    assert "prefers-color-scheme:dark" in text
    assert re.findall(r'https?://[^"]+', text) == ["http://www.w3.org/2000/svg"]
    assert "<script" not in picture(step("<script>alert(1)</script>", 1))


class TestAnswers:
    """What an answer of the gate follows from."""

    def test_a_denial_cites_its_block_and_what_it_rests_on(self) -> None:
        desk = Desk()
        block = decision(2, "block")
        desk.write("decisions.live", block)
        reason: dict[str, Any] = {"code": "blocked", "text": "it is blocked", "decision": block.id}
        ref = desk.answer(3, "non_execution", reasons=(reason,), rests={"decisions.live": 2})
        found = Explainer(desk.journals).explain(find(desk.journals, ref))
        assert found.title.startswith(f"deny trade {BTC} for desk")
        assert [cause.stored.ref for cause in found.causes] == ["decisions.live@2"]
        assert found.rests["decisions.live"][0] == 2
        assert found.to_json()["rests"] == found.rests
        assert "blocked: it is blocked" in found.facts

    def test_an_allow_names_its_rules_as_they_were(self) -> None:
        desk = Desk()
        found = Explainer(desk.journals).explain(find(desk.journals, desk.answer(3)))
        assert (found.causes, found.policy) == ([], {})
        assert any(fact.startswith("rests on snapshots.feed@3  chain ") for fact in found.facts)

    def test_what_is_neither_decision_nor_answer_is_told(self) -> None:
        desk = Desk()
        desk.write("gate.live", answer(1))
        with pytest.raises(InputError, match=r"gate\.live@1 is a note of the journal \(epoch\)"):
            Explainer(desk.journals).explain(find(desk.journals, "gate.live@1"))
        with pytest.raises(InputError, match="expected an id, decisions.DOMAIN@N or gate.DOMAIN@N"):
            find(desk.journals, "snapshots.feed@1")
