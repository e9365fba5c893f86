"""Settings: command line > environment > `config/observer.toml` > defaults.

The only reader of the environment. `OBSERVER_DATA_DIR` is `data_dir`,
`OBSERVER_WEB__PORT` is `port` under `[web]`, and so on for every key.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    Field,
    PositiveInt,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from observer_core.backup.config import BackupConfig
from observer_core.decision_pipeline.config import DecisionConfig
from observer_core.decision_pipeline.control import ControlConfig
from observer_core.decision_pipeline.intents import PRICES, CallerConfig, IntentConfig
from observer_core.decision_pipeline.judgment import JudgmentConfig
from observer_core.decision_pipeline.permits import PermitsConfig
from observer_core.decision_pipeline.policy import load_policies
from observer_core.event_bus.publisher import PublisherConfig
from observer_core.event_bus.routing import InhibitConfig, RouteConfig, RoutingConfig
from observer_core.event_bus.subscriptions import SubscriptionConfig
from observer_core.logs.redaction import is_secret, know
from observer_core.maintenance.config import MaintenanceConfig
from observer_core.pattern_record.config import RecogniserConfig
from observer_core.retention.config import RetentionConfig
from observer_core.runtime.audit.ledger_config import LedgerConfig
from observer_core.runtime.paths import Paths
from observer_core.runtime.reports.config import ReportsConfig
from observer_core.runtime.source_kinds import (
    LIVE,
    AskedSource,
    DerivedSourceConfig,
    MarketSourceConfig,
    RecordingSourceConfig,
    SourceConfig,
    parts_of,
)
from observer_core.runtime.telemetry.config import HeartbeatConfig, TelemetryConfig
from observer_core.runtime.web_config import WebConfig
from observer_core.safety.config import SafetyConfig
from observer_core.shared.clock import SECOND
from observer_core.shared.config import Config, DurationNs, explain
from observer_core.shared.errors import ConfigError
from observer_core.shared.ids import shard_of
from observer_core.snapshot_engine.derived import Deriver, recorded_as
from observer_core.snapshot_engine.normalise import NormaliserConfig

LEAST_MAX_AGE = 5 * SECOND
"""The gate closes for older data, or later, unless a source's `max_age` says otherwise."""
_FROM_FILE = "_file"
_QUIET = ("APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL", "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED")


class LogConfig(Config):
    level: Literal["debug", "info", "warning", "error"] = "info"
    max_bytes: Annotated[int, Field(ge=65_536)] = 10_000_000
    """Of each file; a line is never longer than the least of it."""
    files: PositiveInt = 5


class GateConfig(Config):
    """How the gate reads what it answers from.

    `views_age`: never from views that were read longer ago (default: 5 ms on files, 1 s on a storage
    account). `reference`: the fields that are a price to hold intents against, the first that a source
    has counts; `mid` is also the middle of `bid` and `ask`.
    """

    views_age: Annotated[DurationNs, Field(ge=0)] | None = None
    reference: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)] = PRICES


class StorageConfig(Config):
    """Where journals lie: files and SQLite under `data_dir`, or a storage account.

    `connection` names the setting of the environment that says where the account is and how it is
    entered, as the Functions host spells it: a connection string, or an identity under
    `<connection>__accountName` and its like. `prefix` keeps several Observers apart in one account;
    queues are called as they are named (`queue_prefix`, and by subscriptions).
    """

    kind: Literal["local", "azure"] = "local"
    connection: Annotated[str, Field(min_length=1)] = "AzureWebJobsStorage"
    prefix: Annotated[str, StringConstraints(pattern=r"^(?:[a-z][a-z0-9]{0,19})?$")] = ""


class Settings(BaseSettings):
    """Everything that can be set. Unknown keys are refused, in files and in code."""

    model_config = SettingsConfigDict(
        env_prefix="OBSERVER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=False,
        env_ignore_empty=True,
    )

    standalone: bool = Field(default=False, validation_alias="QTS_OBSERVER_STANDALONE")
    root: Path = Path()
    data_dir: Path = Path("data/observer")
    log_dir: Path = Path("logs")
    config_dir: Path = Path("config")
    deployment: Path = Path("deployment_config.json")
    """What the deployment is meant to be; `run` refuses to start when it is something else."""
    durability: Literal["full", "normal"] = "full"
    storage: StorageConfig = StorageConfig()
    queue_prefix: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:-?[a-z0-9]){0,30}$")] = "observer"
    """What the names of the Functions app's queues begin with: `<prefix>-recognise`, …"""
    max_lag: Annotated[DurationNs, Field(gt=0)] = 30 * SECOND
    clock_interval: Annotated[DurationNs, Field(gt=0)] = SECOND
    web: WebConfig = WebConfig()
    log: LogConfig = LogConfig()
    source: tuple[SourceConfig, ...] = ()
    recognise: RecogniserConfig = RecogniserConfig()
    publish: PublisherConfig = PublisherConfig()
    judgment: JudgmentConfig = JudgmentConfig()
    control: ControlConfig = ControlConfig()
    policies: Path | None = None
    """A TOML file of policies; without it the presets apply."""
    subscription: tuple[SubscriptionConfig, ...] = ()
    route: RouteConfig = RouteConfig()
    inhibit: tuple[InhibitConfig, ...] = ()
    gate: GateConfig = GateConfig()
    caller: tuple[CallerConfig, ...] = ()
    intent: tuple[IntentConfig, ...] = ()
    permits: PermitsConfig = PermitsConfig()
    ledger: LedgerConfig = LedgerConfig()
    maintenance: MaintenanceConfig = MaintenanceConfig()
    retention: RetentionConfig = RetentionConfig()
    backup: BackupConfig = BackupConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    reports: ReportsConfig = ReportsConfig()
    safety: SafetyConfig = SafetyConfig()

    @model_validator(mode="after")
    def _names_differ(self) -> Settings:
        for what, names in (
            ("source", [item.name for item in self.source]),
            ("subscription", [item.name for item in self.subscription]),
            ("caller", [item.name for item in self.caller]),
            ("intent", [item.name for item in self.intent]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{what} name {twice[0]!r} is given twice; each {what} needs its own")
        for item in self.source:
            anywhere = isinstance(item, DerivedSourceConfig)
            if not anywhere and isinstance(item, RecordingSourceConfig) == (item.domain == LIVE):
                raise ValueError(
                    f"source {item.name!r} of kind {item.kind} cannot be in domain {item.domain!r}: "
                    f"recordings need a domain of their own, everything else is in {LIVE!r}"
                )
        return self

    @model_validator(mode="after")
    def _routes_lead_somewhere(self) -> Settings:
        known = {item.name for item in self.subscription}
        unknown = sorted(self.routing().named() - known)
        if unknown:
            raise ValueError(
                f"a route leads to subscription {unknown[0]!r}, which is not configured; "
                f"there are: {', '.join(sorted(known)) or 'none'}"
            )
        return self

    @model_validator(mode="after")
    def _parts_and_inputs_fit(self) -> Settings:
        before: dict[str, str] = {}
        parts = {name: item.name for item in self.source for name in parts_of(item) if name != item.name}
        for item in self.source:
            if item.name in parts:
                raise ValueError(
                    f"source {item.name!r} has the name of a shard of {parts[item.name]!r}; rename it"
                )
            reads = Deriver.inputs(item) if isinstance(item, DerivedSourceConfig) else []
            missing = [name for name in reads if before.get(name) != item.domain]
            if missing and (item.domain == LIVE or missing[0] in before):
                known = sorted(name for name, domain in before.items() if domain == item.domain)
                raise ValueError(
                    f"source {item.name!r} derives from {missing[0]!r}, which is no source of domain "
                    f"{item.domain!r} before it; there are: {', '.join(known) or 'none'}"
                )
            before[item.name] = item.domain
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        assert isinstance(init_settings, InitSettingsSource)
        given = dict(init_settings.init_kwargs)
        from_file = given.pop(_FROM_FILE, {})
        return (
            InitSettingsSource(settings_cls, given),
            env_settings,
            InitSettingsSource(settings_cls, from_file),
        )

    @property
    def paths(self) -> Paths:
        return Paths.resolve(self.root, self.data_dir, self.log_dir, self.config_dir)

    def routing(self) -> RoutingConfig:
        """Where records go."""
        return RoutingConfig(route=self.route, inhibit=self.inhibit)

    def publisher(self, domain: str) -> PublisherConfig:
        """With the venues of the domain's sources, as they are recorded; those of one source go unsaid."""
        parts: dict[str, list[str]] = {}
        for item in self.source:
            if item.domain == domain:
                parts.setdefault(item.venue or item.name, []).extend(parts_of(item))
        venues = {name: venue for venue, names in parts.items() if names != [venue] for name in names}
        return self.publish.model_copy(update={"venues": {**venues, **self.publish.venues}})

    def decisions(self) -> DecisionConfig:
        """The policies in force."""
        if self.policies is None:
            return DecisionConfig(judgment=self.judgment, control=self.control)
        policies = load_policies(self.paths.root / self.policies)
        return DecisionConfig(policies=policies, judgment=self.judgment, control=self.control)

    def source_of(self, name: str) -> SourceConfig | None:
        """The configuration of a source, or of the source that `name` is a shard of."""
        return next((item for item in self.source if name in parts_of(item)), None)

    def shard(self, name: str) -> tuple[int, int] | None:
        """Which part of how many a source is; None when it is whole."""
        item = self.source_of(name)
        if item is None or item.name == name:
            return None
        names = parts_of(item)
        return names.index(name), len(names)

    def inputs_of(self, source: str) -> list[str]:
        """Which sources, as they are recorded, a derived one reads; none for any other."""
        item = self.source_of(source)
        if not isinstance(item, DerivedSourceConfig):
            return []
        return Deriver.inputs(recorded_as(item.derived(), self.part_of))

    def parts_of(self, source: str) -> tuple[str, ...]:
        """The names under which a source is recorded: its shards', or its own."""
        item = next((item for item in self.source if item.name == source), None)
        return (source,) if item is None else parts_of(item)

    def part_of(self, source: str, subject: str) -> str:
        """The name under which a source's subject is recorded."""
        names = self.parts_of(source)
        return names[shard_of(subject, len(names))]

    def retired_from(self, name: str) -> str | None:
        """The configured source that `name` may have been a part or the whole of, with other shards."""
        if self.source_of(name) is not None:
            return None
        base, _, number = name.rpartition("-")
        asked = {item.name for item in self.source if isinstance(item, AskedSource)}
        return name if name in asked else base if number.isdecimal() and base in asked else None

    def recogniser(self, source: str) -> RecogniserConfig:
        item = self.source_of(source)
        return self.recognise if item is None or item.recognise is None else item.recognise

    def normaliser(self, source: str) -> NormaliserConfig:
        item = self.source_of(source)
        if item is None:
            return NormaliserConfig()
        if not isinstance(item, MarketSourceConfig) or item.bar_ns is None:
            return item.normalise
        known = {"bar": item.bar_ns, **({"expected_interval": item.bar_ns} if item.data == "candles" else {})}
        given = item.normalise.model_fields_set
        return item.normalise.model_copy(update={key: ns for key, ns in known.items() if key not in given})

    def max_age_ns(self, source: str) -> int | None:
        """How old a source's newest data may be before the gate closes; None if it is not configured."""
        item = self.source_of(source)
        if item is None or item.max_age is not None:
            return None if item is None else item.max_age
        if isinstance(item, DerivedSourceConfig):
            inputs = self.inputs_of(item.name)
            return item.tolerance + max(self.max_age_ns(name) or LEAST_MAX_AGE for name in inputs)
        interval = item.mapping.bar if isinstance(item, RecordingSourceConfig) else item.interval
        return max(LEAST_MAX_AGE, 3 * (interval or 60 * SECOND))


def load(config: Path | None = None, **overrides: Any) -> Settings:
    """The settings in force; `ConfigError` names the file and key of what cannot be used.

    `config` must exist when it is given; without it `config/observer.toml` under the
    root is read where it exists. Overrides that are None do not count.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        environment = EnvSettingsSource(Settings)()
    except SettingsError as error:
        raise ConfigError(f"environment (OBSERVER_…): expected JSON: {error}") from None
    root = Path(given.get("root") or environment.get("root") or ".")
    path = config or root / given.get("config_dir", environment.get("config_dir", "config")) / "observer.toml"
    values: Mapping[str, Any] = {}
    if config is not None or path.is_file():
        values = read_toml(path)
    where = f"{path}, environment (OBSERVER_…) or command line"
    try:
        settings = Settings(**{_FROM_FILE: values, **given})
    except ValidationError as error:
        raise explain(error, where) from None
    _know_secrets(settings)
    return settings


def _know_secrets(value: Any) -> None:
    """What the settings hold of secrets themselves is masked from now on, wherever it is written."""
    if isinstance(value, SecretStr):
        know(value.get_secret_value())
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            _know_secrets(getattr(value, name))
    elif isinstance(value, list | tuple):
        for item in value:
            _know_secrets(item)


def connection_values(name: str) -> dict[str, str]:
    """What the environment says about the connection `name`: a string, or `<name>__accountName` and its like.

    Full of secrets: not to be kept, shown or logged.
    """
    found = {key: value for key, value in os.environ.items() if key == name or key.startswith(f"{name}__")}
    for key, value in found.items():
        if key == name or is_secret(key.removeprefix(f"{name}__")):
            know(value)
    return found


def platform_signs_in() -> bool:
    """Whether App Service says that its own authentication (Easy Auth) stands before this app.

    Where it does not, nobody takes forged headers away, and what they say is not to be believed.
    """
    return os.environ.get("WEBSITE_AUTH_ENABLED", "").lower() == "true"


def release_id() -> str | None:
    """What the image that this runs in was built from; None where nobody has said so."""
    return os.environ.get("QTS_OBSERVER_REVISION") or None


def secret(name: str) -> str:
    """What the environment holds under `name`; `ConfigError` when there is nothing."""
    value = os.environ.get(name, "")
    if not value:
        raise ConfigError(f"the environment has no {name}, which the configuration names as a secret")
    know(value)
    return value


def exporter_values(config: TelemetryConfig) -> dict[str, str]:
    """Where telemetry goes and what is shown there, by `endpoint`, `headers` and `connection`.

    The exporter for Azure Monitor also tells Microsoft about itself, and takes orders from there, unless
    the environment forbids it: it does from here on, where nobody has said otherwise.
    """
    found = {"endpoint": "", "headers": "", "connection": ""}
    for exporter in {config.traces, config.metrics} - {"none"}:
        if exporter == "azure_monitor":
            found["connection"] = secret(config.connection)
            for name in _QUIET:
                os.environ.setdefault(name, "true")
        else:
            found["endpoint"] = os.environ.get(config.endpoint, "") or "http://localhost:4318"
            found["headers"] = "" if config.headers is None else secret(config.headers)
            for item in found["headers"].split(","):
                know(item.partition("=")[2].strip())
    return found


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected UTF-8 text: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: expected TOML: {error}") from None
