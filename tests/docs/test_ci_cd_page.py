"""docs/ci_cd.md names every secret, variable, environment, job and script of the workflows, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with schemathesis; make setup installs it")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "ci_cd.md").read_text()
TEXTS = {path.name: path.read_text() for path in (ROOT / ".github" / "workflows").glob("*.yml")}
FLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}


def column(heading: str) -> set[str]:
    """What stands in code style in the first column of the table with that first heading."""
    rows = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0].splitlines()
    return {
        name for row in rows if row.startswith("| `") for name in re.findall("`([^`]+)`", row.split("|")[1])
    }


@pytest.mark.parametrize(("heading", "context"), [("secret", "secrets"), ("variable", "vars")])
def test_the_tables_have_every_secret_and_variable_and_no_other(heading: str, context: str) -> None:
    used = {name for text in TEXTS.values() for name in re.findall(rf"\b{context}\.(\w+)", text)}
    assert column(heading) == used


def test_every_environment_is_explained() -> None:
    names = {"dev", "staging", "prod"}
    assert column("environment") == names | {
        f"{name}{suffix}" for name in names for suffix in ("-plan", "-gate")
    }


def test_the_tables_have_every_workflow_and_script() -> None:
    assert column("workflow") == set(TEXTS)
    scripts = {path.name for path in (ROOT / "scripts" / "ci").glob("*.sh")}
    assert column("script") == scripts - {"lib.sh"}


def test_the_picture_has_every_job() -> None:
    picture = PAGE.partition("```\n")[2].partition("```")[0]
    for name in ("deploy.yml", "release.yml"):
        for job in FLOWS[name]["jobs"]:
            assert re.search(rf"(?<![\w-]){job}(?![\w-])", picture), job


def test_what_a_branch_must_pass_are_jobs_of_a_pull_request() -> None:
    wanted = set(re.findall(r'"context": "([^"]+)"', PAGE))
    jobs = FLOWS["deploy.yml"]["jobs"]
    pythons = jobs["test"]["strategy"]["matrix"]["python"]
    targets = [one["target"] for one in jobs["build"]["strategy"]["matrix"]["include"]]
    assert jobs["test"]["name"] == "test ${{ matrix.python }}"
    assert jobs["build"]["name"] == "build ${{ matrix.target }}"
    assert wanted == {
        "security-scan",
        *(f"test {one}" for one in pythons),
        *(f"build {one}" for one in targets),
    }


def test_who_may_change_something_is_kept_to_branches() -> None:
    """An environment that admits every branch gives its identity to whoever may push one."""
    setup = PAGE.partition("## Set up")[2]
    made = re.findall(r'--method PUT "repos/\$repo/environments/([^"]+)" ?(.*)', setup)
    assert {name for name, rest in made if "--input" in rest} == {"$name", "prod-gate"}
    assert {name for name, rest in made if "--input" not in rest} == {"$name-plan"}
    branches = set(re.findall(r'environments/([^"/]+)/deployment-branch-policies" -f name=(\w+)', setup))
    assert branches == {("$name", "main"), ("dev", "develop"), ("prod-gate", "main")}


def test_the_night_is_when_the_page_says() -> None:
    minute, hour = FLOWS["scheduled.yml"][True]["schedule"][0]["cron"].split()[:2]
    assert f"{(int(hour) + 9) % 24:02}:{int(minute):02} in Seoul" in PAGE


def test_what_is_set_by_the_environment_is() -> None:
    sources = "".join(path.read_text() for path in (ROOT / "scripts" / "ci").glob("*.sh"))
    for name in ("POLL_S", "WAIT_S", "HTTP_S"):
        assert f"`{name}`" in PAGE
        assert f"${{{name}:=" in sources
