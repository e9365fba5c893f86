"""What the decide stage runs on: policies, the judgment's numbers, what needs two persons."""

from __future__ import annotations

from pydantic import model_validator

from observer_core.decision_pipeline.control import ControlConfig
from observer_core.decision_pipeline.judgment import JudgmentConfig
from observer_core.decision_pipeline.policy import Policy, refuse_clashes
from observer_core.decision_pipeline.presets import DEFAULT_POLICIES
from observer_core.shared.config import Config


class DecisionConfig(Config):
    policies: tuple[Policy, ...] = DEFAULT_POLICIES
    judgment: JudgmentConfig = JudgmentConfig()
    control: ControlConfig = ControlConfig()

    @model_validator(mode="after")
    def _names_differ(self) -> DecisionConfig:
        refuse_clashes(self.policies)
        return self
