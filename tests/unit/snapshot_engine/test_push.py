import math

import orjson
import pytest

from observer_core.shared.records import Snapshot
from observer_core.snapshot_engine.sources import push
from observer_core.snapshot_engine.sources.push import PushError, parse_push

JSON, NDJSON = "application/json", "application/x-ndjson; charset=utf-8"
NOW = 1_600_000_000_000_000_000
TIME, TIME_NS = "2018-04-05T00:01:00Z", 1522886460_000_000_000


def parsed(value: object, kind: str = JSON) -> list[tuple[object, ...]]:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    found = parse_push("p", body, kind, NOW)
    assert found.rejected == []
    return [plain(s) for s in found.snapshots]


def plain(s: Snapshot) -> tuple[object, ...]:
    assert (s.source, s.ingest_ns, s.status) == ("p", NOW, "ok")
    fields = {n: [None if math.isnan(v) else v for v in c.tolist()] for n, c in s.fields.items()}
    return s.event_ns, s.subjects, fields


def test_columns_are_taken_as_they_are() -> None:
    value = {"event_time": TIME, "subjects": ["A", "B"], "fields": {"price": [1, None], "size": [2.5, 3]}}
    expected = (TIME_NS, ("A", "B"), {"price": [1.0, None], "size": [2.5, 3.0]})
    assert parsed(value) == [expected]
    assert parsed([value, value]) == [expected, expected]


def test_rows_of_one_time_make_one_snapshot() -> None:
    rows = [
        {"time": TIME, "subject": "A", "price": 1},
        {"time": TIME_NS // 1000 + 1_000_000, "subject": "A", "values": {"price": 2}},
        {"time": TIME, "subject": "B", "size": 7, "price": None},
    ]
    expected = [
        (TIME_NS, ("A", "B"), {"price": [1.0, None], "size": [None, 7.0]}),
        (TIME_NS + 10**9, ("A",), {"price": [2.0]}),
    ]
    assert parsed(rows) == expected
    assert parsed(b"\n".join(map(orjson.dumps, rows)) + b"\n\n", NDJSON) == expected


def test_a_second_row_of_a_subject_at_one_time_follows_in_a_snapshot_of_its_own() -> None:
    rows = [{"time": TIME, "subject": s, "price": p} for s, p in (("A", 1), ("A", 1), ("B", 2))]
    assert [row[1:] for row in parsed(rows)] == [
        (("A", "B"), {"price": [1.0, 2.0]}),
        (("A",), {"price": [1.0]}),
    ]


def test_what_has_no_time_happened_when_it_came() -> None:
    assert parsed({"subject": "A", "price": 1})[0][0] == NOW


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (b"{", "the body: not JSON"),
        (b'{"subject":"A","price":NaN}', "the body: not JSON"),
        ([], "the body holds no observation; expected at least one"),
        ([1], "row 1: found 1, expected an object with subjects and fields, or a row"),
        ({"time": "2018-04-05T00:01:00", "subject": "A", "x": 1}, "row 1: time: .* has no zone"),
        ({"time": "soon", "subject": "A", "x": 1}, "row 1: time: 'soon' is not a time"),
        ({"time": 1.5, "subject": "A", "x": 1}, "row 1: time is 1.5; expected RFC 3339 text or whole epoch"),
        ({"time": True, "subject": "A", "x": 1}, "row 1: time is True; expected RFC 3339"),
        (
            {"time": "0001-01-01T00:00:00Z", "subject": "A"},
            "row 1: time .* is outside the years 1678 to 2261",
        ),
        ({"time": TIME, "event_time": TIME, "subject": "A"}, "row 1: has event_time and time"),
        ([{"x": 1}], "row 1: the subject None is NoneType, expected text"),
        ({"subject": "", "x": 1}, "row 1: the subject '' is empty"),
        ({"subject": "a\nb", "x": 1}, "row 1: the subject 'a\\\\nb' holds the character"),
        ({"subject": "A"}, "row 1: has no number; expected at least one field"),
        ({"subject": "A", "x": "high"}, "row 1: field 'x' is 'high', expected a number or null"),
        ({"subject": "A", "x": True}, "row 1: field 'x' is True, expected a number or null"),
        ({"subject": "A", "values": 1}, 'row 1: "values" is 1, expected an object of numbers'),
        ({"subject": "A", "values": {"x": 1}, "y": 2}, "row 1: unknown key 'y' beside \"values\""),
        ({"subject": "A", "": 1}, "row 1: the field '' is empty"),
        ({"subjects": ["A"]}, 'row 1: expected "subjects": \\[names\\] and "fields"'),
        ({"subjects": "A", "fields": {}}, "row 1: expected .* found 'A' and {}"),
        (
            {"subjects": ["A"], "fields": {}, "quality": {}},
            "row 1: unknown key 'quality'; expected event_time",
        ),
        ({"subjects": ["A", "A"], "fields": {}}, "row 1: subject 'A' stands in it twice"),
        (
            {"subjects": ["A"], "fields": {"x": [1, 2]}},
            "row 1: field 'x' has 2 values, expected 1, one a subject",
        ),
        ({"subjects": ["A"], "fields": {"x": 1}}, "row 1: field 'x' has 1, expected 1, one a subject"),
        (
            {"subjects": ["A"], "fields": {"x": ["1_0"]}},
            "row 1: field 'x' is '1_0', expected a number or null",
        ),
        (
            {"subjects": ["A"] * 10_001, "fields": {}},
            "row 1: 10,001 subjects and 0 fields; at most 10,000 and 256",
        ),
        ({"subjects": [], "fields": {str(i): [] for i in range(257)}}, "row 1: 0 subjects and 257 fields"),
        ({"subject": "A", **{str(i): 1 for i in range(257)}}, "row 1: 257 fields, at most 256 are taken"),
    ],
)
def test_a_bad_body_is_refused_with_its_row(value: object, message: str) -> None:
    with pytest.raises(PushError, match=message):
        parsed(value)


def test_a_bad_line_of_ndjson_is_named() -> None:
    with pytest.raises(PushError, match="row 2: not JSON"):
        parsed(b'\n{"subject"\n', NDJSON)


@pytest.mark.parametrize(
    ("rows", "row", "message"),
    [
        ([{"subject": "A", "x": 1}, {"x": 1}, {"subject": "B", "x": 2}], 2, "the subject None is NoneType"),
        ([{"subject": str(i), str(i): 1} for i in range(257)], 257, "rows of one time have 257 different"),
        ([{"subject": str(i), "x": 1} for i in range(10_001)], 10_001, "more than 10,000 subjects at one"),
    ],
)
def test_the_rows_that_can_be_used_are_and_the_others_are_named(
    rows: list[object], row: int, message: str
) -> None:
    found = parse_push("p", orjson.dumps(rows), JSON, NOW)
    assert sum(len(s.subjects) for s in found.snapshots) == len(rows) - 1
    assert [(rejected.row, rejected.detail[: len(message)]) for rejected in found.rejected] == [
        (row, message)
    ]


def test_an_error_names_every_row_that_it_is_of() -> None:
    with pytest.raises(PushError, match="row 1: found 1, expected") as caught:
        parse_push("p", b'[1, {"subject": "A"}]', JSON, NOW)
    assert [rejected.row for rejected in caught.value.rejected] == [1, 2]


def test_times_without_a_zone_are_in_the_declared_one() -> None:
    row = b'{"time": "2018-04-05T09:01:00", "subject": "A", "x": 1}'
    (snapshot,) = parse_push("p", row, JSON, NOW, "Asia/Seoul").snapshots
    assert snapshot.event_ns == TIME_NS


def test_decimal_texts_are_numbers_and_kept_exactly() -> None:
    rows = [
        {"subject": "A", "x": "0.1", "y": "1.23456789012345678901"},
        {"subject": "B", "x": "-2E3", "y": None},
    ]
    (snapshot,) = parse_push("p", orjson.dumps(rows), JSON, NOW).snapshots
    assert plain(snapshot)[2] == {"x": [0.1, -2000.0], "y": [1.2345678901234568, None]}
    assert snapshot.decimals == {"y": {"A": "1.23456789012345678901"}}
    columns = {"subjects": ["A", "B"], "fields": {"y": ["1.23456789012345678901", 7]}}
    (snapshot,) = parse_push("p", orjson.dumps(columns), JSON, NOW).snapshots
    assert snapshot.decimals == {"y": {"A": "1.23456789012345678901"}}


def test_a_body_that_is_too_large_is_refused() -> None:
    with pytest.raises(PushError, match="the body has 8,388,609 bytes, at most 8,388,608 are taken"):
        parsed(b" " * (push.MAX_BODY_BYTES + 1))


def test_other_content_types_are_refused() -> None:
    with pytest.raises(PushError, match="content type 'text/csv' is not taken; expected application/json"):
        parsed(b"a,b\n", "text/csv")
