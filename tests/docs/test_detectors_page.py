"""docs/detectors.md: its configuration is loaded, and its table has every pattern that there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from observer_core.pattern_record.config import RecogniserConfig
from observer_core.pattern_record.findings import DETECTORS
from observer_core.pattern_record.recogniser import Recogniser
from observer_core.runtime.settings import load

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "detectors.md").read_text()
BLOCKS = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
EVERYTHING = RecogniserConfig.model_validate({
    "anomaly": {}, "change_points": {},
    "correlations": {"watch": [{"of": ["*", "last"], "against": ["BTC/USDT", "last"]}]},
})  # fmt: skip


@pytest.mark.parametrize("block", BLOCKS)
def test_its_configuration_is_one(block: str, tmp_path: Path) -> None:
    settings = load(root=tmp_path, config_dir=tmp_path, **tomllib.loads(block))
    assert settings.recognise.model_fields_set == tomllib.loads(block)["recognise"].keys()


def test_the_table_has_every_pattern_and_no_other() -> None:
    families = Recogniser("any", EVERYTHING)._families
    known = {*DETECTORS, *(pattern for family in families for pattern in family.detectors)}
    rows = PAGE.partition("| pattern |")[2].partition("\n\n")[0]
    shown = {name for row in rows.splitlines()[2:] for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])}
    assert shown == known - {"change_points_full"}
