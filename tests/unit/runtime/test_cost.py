from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from observer_core.runtime.settings import Settings, load
from observer_core.runtime.study.cost import BUDGET, MONTH_S, Prices, measure
from observer_core.shared.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
PRICES = Prices.load()


def settings(tmp_path: Path, *intervals: str, **more: Any) -> Settings:
    sources = tuple(
        {"kind": "system", "name": f"s{number}", "interval": interval}
        for number, interval in enumerate(intervals)
    )
    return load(root=tmp_path, source=sources, config_dir=tmp_path, **more)


@pytest.mark.parametrize("folder", ["config", "config/functions"])
def test_the_configurations_that_are_shipped_are_within_the_budget(folder: str) -> None:
    run = measure(load(root=ROOT, config_dir=Path(folder)))
    assert run.per_snapshot <= BUDGET


def test_eight_sources_a_second_are_within_the_budget_for_one_instance_and_for_two(tmp_path: Path) -> None:
    for instances in (1, 2):
        run = measure(settings(tmp_path, *["1s"] * 8), instances=instances, seconds=120)
        assert run.snapshots == 8 * 120
        assert run.per_snapshot <= BUDGET, run


def test_every_stage_takes_part_and_says_how_far_it_has_come(tmp_path: Path) -> None:
    run = measure(settings(tmp_path, "1s"), seconds=120)
    assert run.executions["collect-source"] == run.executions["recognise"] == 120
    assert run.executions["clock"] == 12
    assert run.stages["clock"]["table.transaction"] == 12 * 3  # the tick, publish's time, decide's time
    assert run.stages["recognise"]["table.transaction"] >= 120 // 3


def test_polls_are_told_and_not_counted(tmp_path: Path) -> None:
    run = measure(settings(tmp_path, "1s"), seconds=60)
    assert "queue.receive" not in run.operations()


def test_the_same_run_costs_the_same(tmp_path: Path) -> None:
    first, second = (measure(settings(tmp_path, "1s", "5s"), seconds=60) for _ in range(2))
    assert first == second


def test_money_is_operations_times_prices(tmp_path: Path) -> None:
    run = measure(settings(tmp_path, "1s"), seconds=60)
    month = run.month(PRICES)
    appends = run.operations()["blob.append"] + run.operations()["blob.write"]
    reads = run.operations()["blob.read"]
    expected = (appends * 0.065 + reads * 0.005) / 10_000 * MONTH_S / 60
    assert month["blob operations"] == pytest.approx(expected)
    assert month["function executions"] == pytest.approx(run.executions.total() * MONTH_S / 60 * 0.2 / 1e6)


def test_without_a_source_there_is_nothing_to_cost(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no live source and none of kind push"):
        measure(settings(tmp_path))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("dated = 1", "dated: Input should be a valid string; found 1"),
        ("dated =", "expected TOML"),
        ("dated = 'x'\nregion = 'r'\ncurrency = 'KRW'\nmore = 1", "more: unknown key"),
    ],
)
def test_a_price_table_that_is_none_is_refused_by_its_key(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=what):
        Prices.load(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        Prices.load(tmp_path / "missing.toml")
