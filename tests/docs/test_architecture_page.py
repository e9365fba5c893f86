"""docs/architecture.md: what its diagrams and tables name is in the code, all of it and nothing else."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from observer_core.decision_pipeline import gate as gate_rules
from observer_core.event_bus import subscriptions
from observer_core.retention.config import FLOORED
from observer_core.runtime.audit.ledger import Ledger
from observer_core.runtime.engine import EngineOptions
from observer_core.runtime.gate import desk as gate_desk
from observer_core.runtime.heartbeat import Lifecycle
from observer_core.runtime.observer import Domain
from observer_core.runtime.source_kinds import SourceConfig
from observer_core.runtime.study.feedback import judge
from observer_core.shared.records import PatternRecord
from tests.support.web import Site

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
CORE = ROOT / "observer_core"
PICTURE, FUNCTIONS = re.findall(r"^```mermaid\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
DERIVED = {"name": "twice", "kind": "derived", "series": [
    {"subject": "X", "kind": "ratio", "of": ["feed", "A", "price"], "against": ["feed", "B", "price"]},
]}  # fmt: skip


def table(heading: str) -> list[list[str]]:
    rows = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def first(heading: str) -> list[str]:
    return [code(row[0])[0] for row in table(heading)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Something of everything has happened to it."""
    made = Site(
        tmp_path_factory.mktemp("site"),
        source=[{"name": "feed", "kind": "push", "max_age": "60s"}, DERIVED],
    ).filled()
    observer = made.observer
    made.get("/v1/gate/A")
    entries = observer.journals.open("patterns.desk").scan()
    pattern = next(entry for entry in entries if isinstance(entry.record, PatternRecord))
    judge(observer.journals, made.clock, pattern.ref, right=True, author="kim")
    Ledger(observer.journals, made.clock, None).anchor()
    Lifecycle(observer.journals, made.clock, observer.settings.heartbeat).started()
    yield made
    made.close()


# ---------------------------------------------------------------------- journals and stages


def test_the_kinds_of_journals_are_those_that_are_written(site: Site) -> None:
    written = {name.partition(".")[0] for name in site.observer.journals.names()}
    literal = {
        kind
        for path in CORE.rglob("*.py")
        for kind in re.findall(
            r"(?:open\(|JOURNAL: Final = |OPERATIONS = )f?\"([a-z]+)\.", path.read_text("utf-8")
        )
    }
    assert written <= set(first("kind"))
    assert written | literal | {"results"} == set(first("kind"))
    assert set(first("kind")) >= FLOORED


def test_every_journal_of_the_picture_is_in_the_table() -> None:
    names = {code(row[1])[0] for row in table("kind")}
    drawn = set(re.findall(r'\[\("([^"]+)"\)\]', PICTURE))
    assert drawn <= names
    assert {name.partition(".")[0] for name in names - drawn} == {
        "feedback", "deadletters", "ledger", "operations"
    }  # fmt: skip


def kinds_read(domain: Domain) -> dict[str, tuple[set[str], str]]:
    """What each stage reads and writes, as it is wired; some inputs only where there are any."""
    workers = [*domain.workers(), domain.router]
    return {
        worker.spec.stage.name: (
            {name.partition(".")[0] for name in worker.spec.inputs()},
            worker.spec.output.partition(".")[0],
        )
        for worker in workers
    }


def test_the_stages_read_and_write_what_is_told(site: Site) -> None:
    wired = kinds_read(site.observer.domain("live"))
    told = {code(row[0])[0]: (set(code(row[1])), code(row[2])[0]) for row in table("stage")}
    assert told.keys() == wired.keys()
    for name, (reads, writes) in told.items():
        assert writes == wired[name][1]
        assert wired[name][0] <= reads, name
        assert reads - wired[name][0] <= {"deadletters"}, name  # only where there are any
    for row in table("stage"):
        module = (CORE / code(row[3])[0]).read_text("utf-8")
        assert f'name = "{code(row[0])[0]}"' in module


def test_every_arrow_of_the_picture_is_one_of_the_stages_table() -> None:
    arrows = re.findall(r"^  (\w+)(?:\(.*\))? -->\|(\w+)\| (\w+)", PICTURE, re.MULTILINE)
    drawn = {(label, start, end) for start, label, end in arrows}
    stages = {
        (code(row[0])[0], kind, code(row[2])[0])
        for row in table("stage")
        for kind in code(row[1])
        if kind not in ("commands", "clock", "deadletters")
    }
    assert drawn - stages == {
        ("collect", "sources", "snapshots"), ("deliver", "routes", "results")
    }  # fmt: skip
    assert stages <= drawn
    plain = set(re.findall(r"^  (commands|clock) --> (\w+)", PICTURE, re.M))
    assert plain == {
        (kind, code(row[2])[0])
        for row in table("stage") for kind in code(row[1]) if kind in ("commands", "clock")
    }  # fmt: skip


def test_sources_and_sinks_of_the_picture_are_those_that_there_are() -> None:
    (sources,) = re.findall(r'\(\["sources: (.*?)"\]\)', PICTURE)
    assert set(sources.split(", ")) == kinds_of(SourceConfig) - {"derived"}
    (sinks,) = re.findall(r'\(\["sinks: (.*?)"\]\)', PICTURE)
    assert set(sinks.split(", ")) == kinds_of(subscriptions.Sink)


def kinds_of(union: Any) -> set[str]:
    members = get_args(get_args(union)[0])
    return {get_args(item.model_fields["kind"].annotation)[0] for item in members}


def test_the_rows_are_those_that_are_written() -> None:
    storage = "".join(path.read_text("utf-8") for path in (CORE / "storage").rglob("*.py"))
    written = set(re.findall(r"[f\"]\"?([a-z]\.)(?:\{|\" \+)", storage)) | {"head"}
    assert set(first("row")) == written - {"m."}


def test_an_entry_is_tried_as_often_as_is_told() -> None:
    words = {3: "three"}
    assert f"is tried {words[EngineOptions().max_attempts]} times" in PAGE


def test_the_codes_of_the_gate_are_some_that_it_gives() -> None:
    source = "".join(Path(module.__file__ or "").read_text("utf-8") for module in (gate_rules, gate_desk))
    for row in table("what happens"):
        for name in code(row[1]):
            assert f'"{name}"' in source, name


# ---------------------------------------------------------------------- code


def test_the_functions_of_the_diagram_are_those_of_the_app() -> None:
    app = (ROOT / "function_app.py").read_text("utf-8")
    functions = set(re.findall(r"^(?:async )?def ([a-z]\w*)\(", app, re.MULTILINE))
    drawn = set(re.findall(r"\b[a-z]\w*\b", re.sub(r"\[\(.*?\)\]|^flowchart.*$", "", FUNCTIONS, flags=re.M)))
    assert drawn - {"dead", "storage"} == functions
    timers = set(re.findall(r"timer_trigger[^\n]*\ndef (\w+)\(", app))
    assert set(re.findall(r"\{\{(\w+)\}\}", FUNCTIONS)) == timers


def test_every_package_is_in_the_table_of_folders_and_no_other() -> None:
    packages = {path.parent.name for path in CORE.glob("*/__init__.py")}
    assert set(first("folder of `observer_core`")) == packages
    for row in table("folder of `observer_core`"):
        for inner in code(row[1]):
            inside = CORE / code(row[0])[0] / inner
            if re.fullmatch(r"[a-z_]+(\.py)?", inner) and inner != "observer":
                assert inside.exists() or inside.with_suffix(".py").exists(), inside


def test_the_files_that_it_names_are_there() -> None:
    for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", PAGE):
        assert (CORE / name).exists() or (ROOT / name).exists(), name
    for name in re.findall(r"`(tests/\w+)`", PAGE):
        assert (ROOT / name).is_dir(), name


def test_the_layers_are_those_of_the_contract() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = [re.sub(r"[()]", "", line) for line in contracts[0]["layers"]]
    told = PAGE.partition("## Layers")[2].partition("```\n")[2].partition("```")[0].splitlines()
    assert told == layers
    pure = next(item for item in contracts if "computed again" in item["name"])
    (sentence,) = re.findall(r"What is computed again \((.*?)\)\s+may not import (.*?) and their", PAGE)
    assert [f"observer_core.{name}" for name in code(sentence[0])] == pure["source_modules"]
    assert set(code(sentence[1])) <= set(pure["forbidden_modules"])


def test_every_decision_is_linked() -> None:
    pages = {path.name for path in (ROOT / "docs" / "adr").glob("*.md")}
    assert {re.findall(r"\(adr/(.+?)\)", row[0])[0] for row in table("decision")} == pages
