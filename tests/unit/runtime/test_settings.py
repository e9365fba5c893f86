"""Settings: where each comes from, and what is said of one that cannot be used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from observer_core.runtime.settings import LEAST_MAX_AGE, Settings, load
from observer_core.shared.clock import SECOND
from observer_core.shared.errors import ConfigError

Toml = Callable[[str], Path]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("OBSERVER_", "QTS_OBSERVER")):
            monkeypatch.delenv(name)


@pytest.fixture
def toml(tmp_path: Path) -> Toml:
    """Writes the configuration under the root, which is `tmp_path`."""

    def write(text: str) -> Path:
        path = tmp_path / "config" / "observer.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


# ---------------------------------------------------------------------- precedence


def test_without_anything_the_defaults_hold(tmp_path: Path) -> None:
    found = load(root=tmp_path)
    assert (found.web.host, found.web.port, found.durability) == ("127.0.0.1", 8000, "full")
    assert found.paths.data == tmp_path / "data/observer"
    assert not found.standalone


def test_the_command_line_goes_before_the_environment_before_the_file_before_the_defaults(
    tmp_path: Path, toml: Toml, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml('data_dir = "file"\nlog_dir = "file"\nconfig_dir = "config"\nmax_lag = "7s"\n')
    monkeypatch.setenv("OBSERVER_DATA_DIR", "environment")
    monkeypatch.setenv("OBSERVER_LOG_DIR", "environment")
    found = load(root=tmp_path, data_dir=Path("line"))
    assert found.paths.data == tmp_path / "line"
    assert found.paths.logs == tmp_path / "environment"
    assert (found.max_lag, found.clock_interval) == (7 * SECOND, SECOND)


def test_tables_are_merged_key_by_key(tmp_path: Path, toml: Toml, monkeypatch: pytest.MonkeyPatch) -> None:
    toml('[web]\nhost = "0.0.0.0"\nport = 7000\n[log]\nlevel = "debug"\n')
    monkeypatch.setenv("OBSERVER_WEB__PORT", "9001")
    for given, port in (({}, 9001), ({"web": {"port": 1}}, 1)):
        web = load(root=tmp_path, **given).web
        assert (web.host, web.port) == ("0.0.0.0", port)
    assert load(root=tmp_path).log.level == "debug"


def test_an_override_that_is_none_was_not_given(tmp_path: Path, toml: Toml) -> None:
    toml('data_dir = "file"\n')
    assert load(root=tmp_path, data_dir=None, web=None).paths.data == tmp_path / "file"


def test_a_variable_that_is_empty_was_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files set what nobody has chosen to nothing; the data must not land in the root."""
    monkeypatch.setenv("OBSERVER_DATA_DIR", "")
    assert load(root=tmp_path).paths.data == tmp_path / "data/observer"


def test_standalone_is_switched_on_by_its_own_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QTS_OBSERVER_STANDALONE", "1")
    assert load(root=tmp_path).standalone


def test_the_root_and_config_dir_of_the_environment_say_where_the_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "observer.toml").write_text("[web]\nport = 7777\n")
    monkeypatch.setenv("OBSERVER_ROOT", str(tmp_path))
    assert load().web.port == 8000
    monkeypatch.setenv("OBSERVER_CONFIG_DIR", "etc")
    assert load().web.port == 7777
    assert load(config_dir=Path("elsewhere")).web.port == 8000


def test_a_named_file_is_read_instead(tmp_path: Path, toml: Toml) -> None:
    toml("[web]\nport = 1\n")
    other = tmp_path / "other.toml"
    other.write_text("[web]\nport = 2\n")
    assert load(other, root=tmp_path).web.port == 2


# ---------------------------------------------------------------------- what is refused

TWO = '[[source]]\nname = "a"\nkind = "system"\n[[source]]\nname = "a"\nkind = "push"\n'
RECORDING = '[[source]]\nname = "r"\nkind = "recording"\npaths = ["x.csv"]\nmapping = { time = "t" }\n'
HOOK = (
    '[[subscription]]\nname = "s"\n{}'
    'sink = {{ kind = "webhook", url = "https://h.example/x", secret = "hunter2" }}\n'
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("durabilty = 'full'", "durabilty: unknown key; remove it or check its spelling"),
        ("[web]\nprt = 1", "web.prt: unknown key"),
        ("durability = 'some'", "durability: Input should be 'full' or 'normal'; found 'some'"),
        ("max_lag = 'soon'", "max_lag: 'soon' is not a duration: expected one like 250ms, 30s"),
        ("max_lag = '0s'", "max_lag: Input should be greater than 0; found '0s'"),
        ("[web]\nport = 70000", "web.port: Input should be less than or equal to 65535; found 70000"),
        (TWO, "source name 'a' is given twice; each source needs its own"),
        (HOOK.format("") * 2, "subscription name 's' is given twice; each subscription needs its own"),
        (
            RECORDING,
            "source 'r' of kind recording cannot be in domain 'live': recordings need a domain of their own",
        ),
        (
            '[[source]]\nname = "a"\nkind = "push"\ndomain = "x"',
            "source 'a' of kind push cannot be in domain 'x'",
        ),
        ('[[source]]\nname = "a"\nkind = "nix"', "source.0: Input tag 'nix'"),
        ('[[source]]\nkind = "push"', "source.0.push.name: missing; it must be given"),
        ('[[source]]\nname = "A B"\nkind = "push"', "source.0.push.name: String should match pattern"),
        ("= 5", "expected TOML: Invalid statement (at line 1, column 1)"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_with_file_key_and_value(
    tmp_path: Path, toml: Toml, text: str, message: str
) -> None:
    path = toml(text)
    with pytest.raises(ConfigError) as refused:
        load(root=tmp_path)
    assert message in str(refused.value)
    assert str(refused.value).startswith(str(path))


def test_all_faults_are_told_at_once(tmp_path: Path, toml: Toml) -> None:
    toml("nix = 1\nmax_lag = 'soon'\n[web]\nport = -1\n")
    with pytest.raises(ConfigError) as refused:
        load(root=tmp_path)
    for key in ("nix: ", "max_lag: ", "web.port: "):
        assert key in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OBSERVER_WEB__PORT", "nix", "web.port: Input should be a valid integer"),
        ("OBSERVER_SOURCE", "not json", "environment (OBSERVER_…): expected JSON"),
        ("OBSERVER_WEB", "{", "environment (OBSERVER_…): expected JSON"),
        ("OBSERVER_WEB__PRT", "1", "web.prt: unknown key"),
    ],
)
def test_a_variable_that_cannot_be_used_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError) as refused:
        load(root=tmp_path)
    assert message in str(refused.value)


def test_an_unknown_override_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nix: unknown key"):
        load(root=tmp_path, nix=1)


def test_a_named_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nix.toml: cannot be read: No such file or directory"):
        load(tmp_path / "nix.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_a_file_that_is_not_text_is_told(tmp_path: Path, toml: Toml) -> None:
    toml("").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="observer.toml: expected UTF-8 text"):
        load(root=tmp_path)


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, toml: Toml, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml("")

    def forbidden(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", forbidden)
    with pytest.raises(ConfigError, match="observer.toml: cannot be read: Permission denied"):
        load(root=tmp_path)


def test_policies_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nix.toml: cannot be read as TOML"):
        load(root=tmp_path, policies=Path("nix.toml")).decisions()


# ---------------------------------------------------------------------- secrets


def test_secrets_are_masked_wherever_settings_are_shown(tmp_path: Path, toml: Toml) -> None:
    toml(HOOK.format(""))
    found = load(root=tmp_path)
    assert found.subscription[0].sink.secret.get_secret_value() == "hunter2"  # type: ignore[union-attr]
    for shown in (repr(found), str(found), repr(found.subscription[0]), found.model_dump_json()):
        assert "hunter2" not in shown


@pytest.mark.parametrize("fault", ['verdicts = ["block"]\n', "nix = 1\n", 'min_severity = "grave"\n'])
def test_an_error_does_not_tell_the_secrets_beside_it(tmp_path: Path, toml: Toml, fault: str) -> None:
    for text in (HOOK.format(fault), TWO + HOOK.format("")):
        toml(text)
        with pytest.raises(ConfigError) as refused:
            load(root=tmp_path)
        assert "hunter2" not in str(refused.value)


# ---------------------------------------------------------------------- what follows from them


def test_a_source_may_have_its_own_recogniser_and_age(tmp_path: Path, toml: Toml) -> None:
    toml(
        "[recognise.spike]\nthreshold = 9.0\n"
        '[[source]]\nname = "own"\nkind = "push"\nmax_age = "2s"\n'
        "[source.recognise.spike]\nthreshold = 4.0\n[source.normalise]\nmax_fields = 3\n"
        '[[source]]\nname = "slow"\nkind = "system"\ninterval = "1m"\n'
        '[[source]]\nname = "fast"\nkind = "system"\ninterval = "1s"\n'
        + RECORDING.replace('mapping = { time = "t" }', 'domain = "r"\nmapping = { time = "t", bar = "1d" }')
    )
    found = load(root=tmp_path)
    assert [found.recogniser(n).spike.threshold for n in ("own", "slow", "nix")] == [4.0, 9.0, 9.0]
    assert [found.normaliser(n).max_fields for n in ("own", "slow")] == [3, 256]
    ages = [found.max_age_ns(name) for name in ("own", "slow", "fast", "r")]
    assert ages == [2 * SECOND, 180 * SECOND, LEAST_MAX_AGE, 3 * 86_400 * SECOND]
    assert found.max_age_ns("nix") is None


def test_settings_do_not_change(tmp_path: Path) -> None:
    found = load(root=tmp_path)
    with pytest.raises(ValueError, match="frozen"):
        found.durability = "normal"
    assert isinstance(found, Settings)
