"""docs/gate.md: its configuration loads, its questions and its program run, its codes are those there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from observer_core.decision_pipeline import gate as gate_rules
from observer_core.decision_pipeline import intents
from observer_core.runtime import settings
from observer_core.runtime.gate import desk as gate_desk
from observer_core.runtime.gate.reader import Gate
from observer_core.runtime.health import Health
from observer_core.runtime.metrics import Metrics
from observer_core.runtime.observer import Observer
from observer_core.web.app import create_app
from observer_core.web.server import WebServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "gate.md").read_text("utf-8")
SOURCE = '[[source]]\nname = "desk"\nkind = "push"\nmax_age = "60s"\n'
ROWS = [{"subject": "BTC/USDT", "price": 64000.0}, {"subject": "ETH/USDT", "price": 3200.0}]


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Observer]:
    (toml,) = blocks("toml")
    path = tmp_path / "observer.toml"
    path.write_text(SOURCE + toml, "utf-8")
    made = Observer.local(settings.load(path, root=tmp_path))
    yield made
    made.close()


@pytest.fixture
def app(observer: Observer) -> Any:
    gate = Gate(observer.journals, observer.settings, observer.clock)
    made = create_app(observer, health=Health(observer, gate), metrics=Metrics(observer, gate), gate=gate)
    body = "\n".join(map(json.dumps, ROWS)).encode()
    pushed = TestClient(made, base_url="http://localhost").post(
        "/v1/snapshots/desk", content=body, headers={"content-type": "application/x-ndjson"}
    )
    assert pushed.status_code == 202
    domain = observer.domain("live")
    domain.tick()
    domain.refresh()
    domain.work(refresh=True, flush=True)
    return made


def test_the_questions_of_the_page_get_the_answers_it_tells_of(app: Any) -> None:
    client = TestClient(app, base_url="http://localhost")
    single, several = map(json.loads, blocks("json"))
    (told,) = map(json.loads, blocks("json answer"))
    answer = client.post("/v1/evaluation", json=single).json()
    assert answer["decision"] is told["decision"] is True, answer
    assert answer["context"].keys() == told["context"].keys()
    assert answer["context"]["id"] == told["context"]["id"]
    found = client.post("/v1/evaluations", json=several).json()["evaluations"]
    assert [item["decision"] for item in found] == [True, False]


def test_the_program_of_the_page_runs(app: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = blocks("python")
    server = WebServer(app, port=0)
    try:
        text = program.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{server.start()}")
        exec(compile(text.replace("timeout=0.25", "timeout=20"), "gate.md", "exec"), {})
    finally:
        server.stop()
    assert capsys.readouterr().out == "go: gate.live@2\n"


def test_every_code_is_explained_and_no_other() -> None:
    table = PAGE.partition("| code | denies because |")[2].partition("\n\n")[0]
    told = {
        code
        for row in table.splitlines()
        for code in re.findall(r"`(\w+)`", row.split("|")[1:2][0] if row else "")
    }
    given = {
        code
        for module in (gate_rules, intents, gate_desk)
        for code in re.findall(
            r'(?:_reason\(\s*"|"code": ")(\w+)"', Path(module.__file__ or "").read_text("utf-8")
        )
    }
    assert told == given


def test_every_check_is_explained_and_no_other() -> None:
    table = PAGE.partition("| check | reads | denies when |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(intents.CHECKS)


def test_the_numbers_of_the_page_are_those_of_the_code() -> None:
    assert f"at most {gate_desk.WAITING:,}" in PAGE
    assert f"over {gate_desk.CONTEXT_BYTES // 1024} KiB" in PAGE
    assert gate_desk.PATIENCE_S == 1.0
