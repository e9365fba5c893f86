"""report cost: what is measured, in words and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import ROOT, run

SOURCE = '[[source]]\nname = "host"\nkind = "system"\ninterval = "1s"\n'


def configured(folder: Path, text: str = SOURCE) -> Path:
    (folder / "config").mkdir()
    (folder / "config" / "observer.toml").write_text(text)
    return folder


def test_it_tells_operations_money_and_the_budget(tmp_path: Path) -> None:
    done = run(configured(tmp_path), "report", "cost", "--seconds", "60", "--subjects", "5")
    assert done.exit_code == 0, done.output
    for text in (
        "one instance: 60 quiet snapshots of 5 subjects in 60 s", "2 instances taking turns",
        "within the budget of 12 (polls not counted)", "a million observations: ",
        "prices: East US, dated 2026-11-27; replace them with --prices FILE",
    ):  # fmt: skip
        assert text in done.stdout


def test_as_json_it_is_one_line_with_every_count(tmp_path: Path) -> None:
    found = json.loads(run(configured(tmp_path), "report", "cost", "--seconds", "60", "--json").stdout)
    one, two = found["runs"]
    assert (one["instances"], two["instances"]) == (1, 2)
    assert one["operations_per_snapshot"] < two["operations_per_snapshot"]
    assert one["stages"]["collect-source"]["blob.append"] == 60


def test_another_price_table_gives_other_money(tmp_path: Path) -> None:
    path = tmp_path / "won.toml"
    path.write_text(
        'dated = "2026-01-01"\nregion = "Korea Central"\ncurrency = "KRW"\n'
        "[per_10_000_operations]\nblob_write = 100.0\nblob_read = 10.0\ntable = 1.0\nqueue = 5.0\n"
        "[functions]\nper_million_executions = 300.0\nper_gb_second = 0.02\ngb_seconds_per_execution = 0.05\n"
    )
    done = run(configured(tmp_path), "report", "cost", "--seconds", "60", "--prices", path)
    assert "KRW" in done.stdout
    assert "prices: Korea Central, dated 2026-01-01" in done.stdout


def test_a_configuration_without_sources_says_so(tmp_path: Path) -> None:
    done = run(configured(tmp_path, ""), "report", "cost")
    assert done.exit_code == 2
    assert "there is nothing to cost" in done.stderr


def test_the_cost_of_what_is_shipped_is_one_line_of_json_and_nothing_else() -> None:
    done = run(ROOT, "report", "cost", "--config", ROOT / "config/functions/observer.toml", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["runs"][0]["operations_per_snapshot"] <= 12
