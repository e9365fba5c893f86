"""docs/decisions.md: its settings load as they stand, its tables and codes are those that there are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from observer_core.decision_pipeline.buckets import INPUTS
from observer_core.decision_pipeline.commands import COMMANDS
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.control import ControlConfig
from observer_core.decision_pipeline.evidence import Feeds
from observer_core.decision_pipeline.judgment import JudgmentConfig

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "decisions.md").read_text("utf-8")
CODE = ROOT / "observer_core" / "decision_pipeline"


def settings() -> dict[str, Any]:
    return tomllib.loads("\n".join(re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)))


def test_the_settings_of_the_page_load_and_those_of_the_judgment_are_the_defaults() -> None:
    config = DecisionConfig.model_validate(settings())
    assert config.judgment == JudgmentConfig()
    assert config.control == ControlConfig(two_person=("unkill", "override"))


def test_every_setting_is_described() -> None:
    names = {*ControlConfig.model_fields, *JudgmentConfig.model_fields}
    assert {name for name in names if name not in PAGE} == set()
    assert {name for name in COMMANDS if f"gate {name}" not in PAGE and f"`{name}`" not in PAGE} <= {"block"}


def test_every_code_of_the_page_is_one_that_is_written() -> None:
    written = "".join(path.read_text("utf-8") for path in CODE.glob("*.py"))
    codes = re.findall(r"`([a-z]+(?:_[a-z]+)+)`", PAGE)
    assert len(codes) > 20
    assert {code for code in codes if code not in written} == set()


def test_the_keys_of_the_sheet_are_described() -> None:
    assert {key for key in Feeds().sheet("*") if f"`{key}`" not in PAGE} == set()
    assert INPUTS == 8
