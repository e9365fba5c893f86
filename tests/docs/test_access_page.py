"""docs/access.md: its tables are those of the code, its configurations load, its commands and program run."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from observer_core.cli.app import app as commands
from observer_core.client import Gate
from observer_core.runtime import settings
from observer_core.runtime.web_config import INCLUDES, SCOPES, Scope, TokenConfig
from observer_core.safety.tokens import new_token
from observer_core.web import access, failures
from observer_core.web.server import WebServer
from tests.support.web import Site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "access.md").read_text("utf-8")


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def table(heading: str) -> list[list[str]]:
    """The rows of the table whose first heading it is, their cells as they stand."""
    rows = PAGE.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, web=settings.load(written(tmp_path, blocks("toml")[0])).web.model_dump())
    yield made
    made.close()


def written(folder: Path, toml: str) -> Path:
    path = folder / "observer.toml"
    path.write_text(toml, "utf-8")
    return path


def test_what_is_open_is_what_the_page_says(tokens: Site) -> None:
    told = {path for row in table("without a token, where tokens are asked for") for path in code(row[0])}
    assert told - {"read"} == {f"GET {path}" for path in access.OPEN} | {f"GET {access.OPEN_FOLDER}…"}
    for path in access.OPEN:
        assert tokens.get(path).status_code != 401


def test_every_key_of_a_token_is_explained_and_no_other() -> None:
    assert [code(row[0]) for row in table("key")] == [[name] for name in TokenConfig.model_fields]


def test_the_scopes_are_those_of_the_code() -> None:
    told = {code(row[0])[0]: tuple(code(row[2])) for row in table("scope")}
    assert told == INCLUDES
    assert tuple(told) == SCOPES == get_args(Scope)


def test_the_roles_are_those_of_the_code() -> None:
    assert {code(row[0])[0]: code(row[1])[0] for row in table("role")} == access._ROLES


@pytest.mark.parametrize("number", range(4))
def test_its_configurations_load(number: int, tmp_path: Path) -> None:
    toml = blocks("toml")
    assert len(toml) == 4
    kept = toml[0] if "hosts" in toml[number] else ""
    assert settings.load(written(tmp_path, toml[number] + kept)).web


@pytest.mark.parametrize("command", "".join(blocks("sh")).strip().splitlines())
def test_its_commands_run(command: str) -> None:
    program, *words = shlex.split(command)
    assert program == "observer"
    done = CliRunner().invoke(commands, words)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("qts_")


def test_every_answer_of_the_table_is_given(tokens: Site) -> None:
    client = tokens.client
    bearer = {"authorization": "Bearer qts_x"}
    given = {
        client.get("/v1/whoami").status_code,
        client.post("/v1/commands", json={}, headers={"origin": "https://evil.example"}).status_code,
        client.post("/v1/commands", content=b"{}", headers={"content-type": "text/plain"}).status_code,
        client.get("/livez", headers={"host": "evil.example"}).status_code,
        *(client.get("/v1/whoami", headers=bearer).status_code for _ in range(11)),
    }
    assert given == {int(row[0]) for row in table("answer")}
    assert (
        f"more than {failures.PER_WINDOW} wrong tokens from one address within {failures.WINDOW_S:g} s"
        in PAGE
    )
    client.close()


def test_the_program_of_the_page_runs_with_the_token(tmp_path: Path) -> None:
    (program,) = blocks("python")
    token = new_token()
    kept = {
        "name": "s7", "sha256": hashlib.sha256(token.encode()).hexdigest(), "scopes": ["read"],
        "caller": "strategy-7",
    }  # fmt: skip
    site = Site(tmp_path, web={"token": [kept]})
    server = WebServer(site.app, port=0)
    program = program.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{server.start()}")
    found: dict[str, Any] = {}
    try:
        for shown, reason in ((token, "no_data"), ("qts_x", "client_unauthenticated")):
            text = program.replace("qts_…", shown).replace('strategy-7")', 'strategy-7", timeout=20)')
            exec(compile(text, "access.md", "exec"), found)
            assert found["answer"].reasons[0]["code"] == reason
        assert isinstance(found["gate"], Gate)
    finally:
        server.stop()
        site.close()


def test_the_codes_of_the_client_that_it_names_are_its_own() -> None:
    source = (ROOT / "observer_core" / "client.py").read_text("utf-8")
    for name in re.findall(r"`(client_\w+)`", PAGE):
        assert f'"{name}"' in source


def test_the_metric_that_it_names_is_there(tokens: Site) -> None:
    tokens.get("/v1/whoami")
    (name,) = re.findall(r"`(observer_\w+_total)`", PAGE)
    assert name.encode() in tokens.metrics.render()
