"""Fills of a CSV file: read whole, or refused with line, column and what was expected."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.audit.fills import Fill, read_fills
from observer_core.shared.errors import InputError
from tests.support.toys import START_NS

TIME = "2018-04-05T00:00:00Z"


def fills(tmp_path: Path, text: str | bytes, columns: dict[str, str] | None = None, **options: Any) -> Any:
    path = tmp_path / "fills.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_fills(path, columns or {}, **options)


def test_all_columns_are_read_under_their_usual_names_and_in_the_order_of_time(tmp_path: Path) -> None:
    text = (
        "\ufefftime,id,instrument,side,quantity,price,permit,answer,venue\n"
        f"2018-04-05T00:00:01Z,f2,ETH,,,,,,x\n{TIME},f1,BTC/USDT, BUY ,0.10,67000.5,a.b.c,gate.live@3,x\n"
    )
    first, second = fills(tmp_path, text)
    assert first == Fill(
        3, "f1", START_NS, "BTC/USDT", "buy", Decimal("0.10"), Decimal("67000.5"), "a.b.c", "gate.live@3"
    )
    assert (second.line, second.side, second.quantity, second.permit) == (2, None, None, None)


def test_other_names_zones_and_separators(tmp_path: Path) -> None:
    columns = {"time": "executed at", "instrument": "symbol"}
    text = 'executed at;symbol\n2018-04-05 09:00:00;"BTC;USDT"\n'
    (fill,) = fills(tmp_path, text, columns, zone="Asia/Seoul", delimiter=";")
    assert (fill.id, fill.time_ns, fill.instrument) == ("line 2", START_NS, "BTC;USDT")


def test_a_file_without_fills_is_fine(tmp_path: Path) -> None:
    assert fills(tmp_path, "time,instrument\n") == []


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", {}, "there is no column 'time'; its first line names nothing"),
        ("when,instrument\n", {}, r"no column 'time'.*when, instrument.*--time COL"),
        ("time,instrument\n", {"price": "px"}, "no column 'px'"),
        (f"time,instrument\n{TIME}\n", {}, "line 2 has not as many columns"),
        (f"time,instrument\n{TIME},BTC,3\n", {}, "line 2 has not as many columns"),
        (f"time,instrument\n{TIME},BTC\nyesterday,BTC\n", {}, "line 3: 'yesterday' is not a time"),
        ("time,instrument\n2018-04-05 00:00:00,BTC\n", {}, "line 2: .*has no zone"),
        (f"time,instrument\n{TIME},\n", {}, "line 2: instrument is empty"),
        (f"time,instrument,quantity\n{TIME},BTC,-1\n", {}, "line 2: quantity is '-1'; a number above 0"),
        (f"time,instrument,price\n{TIME},BTC,1e999999999\n", {}, "line 2: price is"),
        (f"time,instrument,price\n{TIME},BTC,nan\n", {}, "line 2: price is 'nan'"),
        (b"time,instrument\n\xff\xfe,x\n", {}, "expected UTF-8 text"),
        (f'time,instrument\n{TIME},"BTC\n', {}, "expected UTF-8 text with ','"),
    ],
)
def test_what_cannot_be_read_refuses_the_file(
    tmp_path: Path, text: str | bytes, columns: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        fills(tmp_path, text, columns)


def test_only_the_first_faults_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line 6.*; and 95 more\. Nothing was compared"):
        fills(tmp_path, "time,instrument\n" + "never,BTC\n" * 100)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_fills(tmp_path / "none.csv", {})
