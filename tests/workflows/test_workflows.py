"""What no linter knows of the workflows: the order, who may do what, when production is taken back."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML comes with schemathesis; make setup installs it")

ROOT: Final = Path(__file__).resolve().parents[2]
GITHUB: Final = ROOT / ".github"
WORKFLOWS: Final = {
    path.stem: yaml.safe_load(path.read_text()) for path in (GITHUB / "workflows").glob("*.yml")
}
ACTIONS: Final = {
    path.parent.name: yaml.safe_load(path.read_text()) for path in GITHUB.glob("actions/*/action.yml")
}
TEXTS: Final = {
    path: path.read_text() for path in [*GITHUB.glob("workflows/*.yml"), *GITHUB.glob("actions/*/*.yml")]
}
PIN: Final = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
JOBS: Final = [(name, job) for name, flow in WORKFLOWS.items() for job in flow["jobs"]]
RELEASE: Final = WORKFLOWS["release"]["jobs"]
SCRIPT: Final = re.compile(r"(?:scripts|infra/scripts|\.ci)/[\w./-]+")


def job(where: tuple[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = WORKFLOWS[where[0]]["jobs"][where[1]]
    return found


def triggers(name: str) -> dict[str, Any]:
    found: dict[str, Any] = WORKFLOWS[name][True]  # YAML 1.1: a bare `on` is true
    return found


def needs(of: dict[str, Any]) -> set[str]:
    found = of.get("needs", [])
    return {found} if isinstance(found, str) else set(found)


def before(jobs: dict[str, Any], name: str) -> set[str]:
    """Every job that has ended when this one begins."""
    return needs(jobs[name]).union(*(before(jobs, one) for one in needs(jobs[name])))


def steps() -> list[dict[str, Any]]:
    of_jobs = (
        step
        for name, flow in WORKFLOWS.items()
        for one in flow["jobs"].values()
        for step in one.get("steps", [])
    )
    return [*of_jobs, *(step for action in ACTIONS.values() for step in action["runs"]["steps"])]


def test_there_is_what_was_asked_for() -> None:
    assert set(WORKFLOWS) == {"deploy", "release", "scheduled", "terraform"}


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(GITHUB)))
def test_every_action_is_pinned_and_says_its_version(path: Path) -> None:
    for line in re.findall(r"uses: (.+)", TEXTS[path]):
        assert line.startswith("./.github/") or PIN.fullmatch(line), line


def test_one_action_has_one_version() -> None:
    used = {line for text in TEXTS.values() for line in re.findall(r"uses: ([\w-]+/.+)", text)}
    names = [line.split("@")[0] for line in used]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", WORKFLOWS)
def test_nothing_is_allowed_that_no_job_asks_for(name: str) -> None:
    flow = WORKFLOWS[name]
    assert flow["permissions"] == {}
    assert flow["concurrency"]["group"]
    assert "pull_request_target" not in triggers(name)
    assert "workflow_run" not in triggers(name)


@pytest.mark.parametrize("where", JOBS, ids="/".join)
def test_every_job_has_its_permissions_and_its_time(where: tuple[str, str]) -> None:
    one = job(where)
    assert set(one["permissions"].values()) <= {"read", "write"}
    writes = {name for name, may in one["permissions"].items() if may == "write"}
    assert writes <= {"id-token", "security-events", "attestations", "pull-requests"}
    if "uses" not in one:
        assert 0 < one["timeout-minutes"] <= 90
        assert one["runs-on"] in ("ubuntu-24.04", "${{ vars.RELEASE_RUNNER || 'ubuntu-24.04' }}")
        # Who may ask for a token of Azure's says in which environment, and so as whom.
        assert "id-token" not in writes or one["environment"]


@pytest.mark.parametrize("where", JOBS, ids="/".join)
def test_a_called_workflow_gets_all_that_its_jobs_ask_for(where: tuple[str, str]) -> None:
    """GitHub does not even start a run in which a called job asks for more than its caller has."""
    one = job(where)
    if "uses" in one:
        called = WORKFLOWS[Path(one["uses"]).stem]["jobs"].values()
        for inner in called:
            assert inner["permissions"].items() <= {**inner["permissions"], **one["permissions"]}.items()
            assert set(inner["permissions"]) <= set(one["permissions"])


def test_no_credentials_stay_behind_and_nothing_untrusted_is_run() -> None:
    for step in steps():
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"] == {"persist-credentials": False}
        assert "${{" not in step.get("run", ""), "values come in by env"
        assert len(step.get("run", "").strip().splitlines()) <= 3, "longer ones are scripts"


def test_every_script_is_there_and_executable_and_every_one_is_used() -> None:
    named = {found for step in steps() for found in SCRIPT.findall(step.get("run", ""))}
    for script in named:
        assert os.access(ROOT / script, os.X_OK), script
    sources = [path.read_text() for path in (ROOT / "scripts" / "ci").glob("*.sh")]
    for path in (ROOT / "scripts" / "ci").glob("*.sh"):
        used = f"scripts/ci/{path.name}" in named or any(f"/{path.name}" in text for text in sources)
        assert used, path.name


def test_who_runs_the_tools_of_venv_ops_has_made_it_before() -> None:
    """With CI=true a tool that is missing is a failure."""
    for where in JOBS:
        made = False
        for step in job(where).get("steps", []):
            run = step.get("run", "")
            made = made or run.startswith(("make .venv-ops/.installed", "make lint-ops", ".ci/run"))
            for script in SCRIPT.findall(run):
                path = ROOT / script
                if path.suffix == ".sh" and path.exists() and "/.venv-ops/bin" in path.read_text():
                    assert made, (where, script)


# ------------------------------------------------------------------ the order


def test_a_commit_goes_from_the_scan_to_the_message() -> None:
    jobs = WORKFLOWS["deploy"]["jobs"]
    chain = ["security-scan", "test", "build", "terraform", "staging", "prod", "notify"]
    for first, second in itertools.pairwise(chain):
        assert first in before(jobs, second), (first, second)
    assert before(jobs, "dev") == {"security-scan", "test", "build"}
    assert needs(jobs["notify"]) == set(jobs) - {"notify"}
    assert triggers("deploy") == {
        "push": {"branches": ["main", "develop"]},
        "pull_request": {"branches": ["main", "develop"]},
    }


def test_an_image_goes_from_the_slot_to_production() -> None:
    chain = ["terraform", "deploy", "health-check", "gate", "swap", "check-production", "rollback"]
    for first, second in itertools.pairwise(chain):
        assert first in before(RELEASE, second), (first, second)
    assert set(RELEASE) == set(chain)


def test_the_image_is_scanned_before_it_is_pushed_and_goes_on_by_digest() -> None:
    build = WORKFLOWS["deploy"]["jobs"]["build"]
    names = [step.get("name") for step in build["steps"]]
    assert names.index("Scan") < names.index("Registry") < names.index("Push, with SBOM and provenance")
    push = build["steps"][names.index("Push, with SBOM and provenance")]["with"]
    assert (push["sbom"], push["provenance"], push["push"]) == (True, "mode=max", True)
    assert build["steps"][-1]["run"].startswith('scripts/ci/same_image.sh "$LOCAL" ')
    assert "@$DIGEST" in build["steps"][-1]["run"]
    for name in ("dev", "staging", "prod"):
        assert WORKFLOWS["deploy"]["jobs"][name]["with"]["image"] == "${{ needs.build.outputs.functions }}"


def test_findings_are_shown_even_when_they_stop_the_run() -> None:
    upload = ACTIONS["trivy"]["runs"]["steps"][-1]
    assert upload["uses"].startswith("github/codeql-action/upload-sarif@")
    assert upload["if"].startswith("always()")
    scans = {step["with"]["type"] for step in steps() if step.get("uses") == "./.github/actions/trivy"}
    assert scans == {"fs", "config", "image"}


# ------------------------------------------------------------------ who runs when

PUSH_MAIN: Final = {"event": "push", "ref": "refs/heads/main"}
PUSH_DEVELOP: Final = {"event": "push", "ref": "refs/heads/develop"}
PUSH_BRANCH: Final = {"event": "push", "ref": "refs/heads/fix"}
PULL: Final = {"event": "pull_request", "ref": "refs/pull/3/merge"}
FORK: Final = {**PULL, "fork": True}
DEPENDABOT: Final = {**PULL, "user": "dependabot[bot]"}


def holds(condition: str, *, results: dict[str, str] | None = None, **given: Any) -> bool:
    """What GitHub would say to an `if`, as far as ours go: names, ==, !=, &&, ||, !, (), status functions."""
    text = re.sub(r"\s+", " ", condition)
    pull = "github.event.pull_request"
    known = {
        "github.event_name": given.get("event"), "github.ref": given.get("ref"),
        "github.base_ref": given.get("base"), "github.repository": "qts/observer",
        f"{pull}.head.repo.full_name": "mallory/observer" if given.get("fork") else "qts/observer",
        f"{pull}.user.login": given.get("user", "kim"), "inputs.approval": given.get("approval"),
        **{f"needs.{name}.result": result for name, result in (results or {}).items()},
    }  # fmt: skip
    status = {"always()": True, "!cancelled()": not given.get("cancelled")}
    for word, value in status.items():
        text = text.replace(word, repr(value))
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, repr(known[name]))
    text = text.replace("&&", " and ").replace("||", " or ").replace("fromJSON(", "list(")
    text = re.sub(r"contains\((list\('.*?'\)), ([^)]+)\)", r"(\2 in \1)", text)
    text = re.sub(r"!(?!=)", " not ", text)
    text = re.sub(r"list\('(.*?)'\)", r"\1", text)
    return bool(eval(text, {"__builtins__": {}}))


@pytest.mark.parametrize(
    ("given", "runs"),
    [
        ({**PULL, "base": "main"}, {"terraform"}),
        (PUSH_DEVELOP, {"dev"}),
        (PUSH_MAIN, {"terraform", "staging", "prod"}),
    ],
)
def test_develop_goes_to_dev_and_main_to_staging_and_prod(given: dict[str, Any], runs: set[str]) -> None:
    jobs = WORKFLOWS["deploy"]["jobs"]
    assert {name for name, one in jobs.items() if "uses" in one and holds(one["if"], **given)} == runs
    assert holds(jobs["notify"]["if"], **given) == (given["event"] == "push")
    assert {jobs[name]["with"]["environment"] for name in ("dev", "staging", "prod")} == {
        "dev",
        "staging",
        "prod",
    }
    assert jobs["prod"]["with"]["approval"] is True


def terraform_step(name: str) -> str:
    found = [one["if"] for one in job(("terraform", "terraform"))["steps"] if one.get("name") == name]
    return str(found[0])


@pytest.mark.parametrize(
    "given", [PUSH_DEVELOP, PUSH_BRANCH, PULL, FORK, {"event": "schedule", "ref": "refs/heads/main"}]
)
def test_terraform_applies_only_on_a_push_to_main(given: dict[str, Any]) -> None:
    assert holds(terraform_step("Apply"), **PUSH_MAIN)
    assert not holds(terraform_step("Apply"), **given)
    for step in steps():
        if "--apply" in step.get("run", ""):
            assert step["if"] == terraform_step("Apply")


def test_terraform_plans_everything_but_what_strangers_propose() -> None:
    condition = job(("terraform", "terraform"))["if"]
    assert [holds(condition, **given) for given in (PUSH_MAIN, PUSH_DEVELOP, PUSH_BRANCH, PULL)] == [True] * 4
    assert [holds(condition, **given) for given in (FORK, DEPENDABOT)] == [False] * 2
    # A push or a pull request to main or develop comes through deploy.yml, every other one by itself;
    # Dependabot's pushes have no secrets, and no `user` that a condition could ask for.
    ours = triggers("deploy")["push"]["branches"]
    assert triggers("terraform")["push"] == {"branches-ignore": [*ours, "dependabot/**"]}
    assert triggers("terraform")["pull_request"] == {"branches-ignore": ours}


def test_what_is_applied_is_the_plan_that_is_kept() -> None:
    """`--apply` shows a plan and does exactly that; a second `--plan` beside it would show another."""
    steps_of = job(("terraform", "terraform"))["steps"]
    for given in (PUSH_MAIN, PUSH_DEVELOP, PUSH_BRANCH, PULL):
        runs = [step["run"] for step in steps_of if "deploy_to_infrastructure" in step.get("run", "")
                and holds(step["if"], **given)]  # fmt: skip
        (run,) = runs
        assert run.endswith('| tee "plan-$ENVIRONMENT.txt"')
        assert ("--apply --yes" in run) == (given == PUSH_MAIN), "prod is applied with --yes only"
    (kept,) = [step for step in steps_of if "upload-artifact" in step.get("uses", "")]
    assert (kept["if"], kept["with"]["overwrite"]) == ("always()", True)


@pytest.mark.parametrize(
    ("given", "suffix"), [(PUSH_MAIN, ""), (PUSH_DEVELOP, ""), (PUSH_BRANCH, "-plan"), (PULL, "-plan")]
)
def test_what_is_proposed_is_planned_by_who_may_only_look(given: dict[str, Any], suffix: str) -> None:
    where = job(("terraform", "terraform"))["environment"]
    found = re.fullmatch(
        r"\$\{\{ matrix\.environment \}\}\$\{\{ (.+) && '-plan' \|\| '' \}\}", where, re.DOTALL
    )
    assert found is not None
    assert ("-plan" if holds(found[1], **given) else "") == suffix


def test_a_pull_request_gets_no_secret_but_those_of_a_plan() -> None:
    for where in JOBS:
        one = job(where)
        for step in one.get("steps", []):
            if "secrets." in str(step):
                condition = step.get("if", one.get("if", ""))
                planned = where[0] in ("terraform", "release", "scheduled")
                assert planned or not holds(condition, **PULL), (where, step.get("name"))
    assert not holds(job(("deploy", "notify"))["if"], **PULL)


# ------------------------------------------------------------------ back


def results(**changed: str) -> dict[str, str]:
    names = {name.replace("-", "_"): name for name in RELEASE if name != "rollback"}
    return {name: changed.get(key, "success") for key, name in names.items()}


@pytest.mark.parametrize(
    ("ended", "back"),
    [
        (results(), False),
        (results(check_production="failure"), True),
        (results(check_production="cancelled"), True),  # by its timeout, or by somebody
        (results(swap="failure", check_production="skipped"), True),
        (results(swap="cancelled", check_production="skipped"), True),
        (results(gate="failure", swap="skipped", check_production="skipped"), False),  # refused
        (results(gate="cancelled", swap="skipped", check_production="skipped"), False),
        (results(health_check="failure", gate="skipped", swap="skipped", check_production="skipped"), False),
    ],
)
def test_production_is_taken_back_when_it_may_have_been_swapped_and_is_not_known_to_be_good(
    ended: dict[str, str], back: bool
) -> None:
    assert holds(RELEASE["rollback"]["if"], results=ended) == back


def test_a_rollback_is_told_however_it_ends() -> None:
    *_, back, tell, _ = RELEASE["rollback"]["steps"]
    assert back["run"] == "scripts/ci/rollback.sh"
    assert tell["if"] == "always()"
    assert tell["env"]["RESULT"] == "${{ job.status == 'success' && 'rollback' || 'rollback_failed' }}"
    for where in (("deploy", "notify"), ("scheduled", "notify")):
        assert job(where)["if"].startswith("always()")
    assert needs(job(("scheduled", "notify"))) == set(WORKFLOWS["scheduled"]["jobs"]) - {"notify"}


def test_who_asks_the_app_opens_a_door_and_shuts_it_whatever_happens() -> None:
    for name, one in RELEASE.items():
        runs = [step.get("run", "") for step in one.get("steps", [])]
        if not any(
            f"/{script}.sh" in run for run in runs for script in ("check_app", "production", "rollback")
        ):
            assert not any("door.sh" in run for run in runs), name
            continue
        doors: dict[str, list[tuple[str, str]]] = {"open": [], "shut": []}
        for step in one["steps"]:
            if "door.sh" in step.get("run", ""):
                given = {**one["env"], **step.get("env", {})}
                doors[step["run"].split()[-1]].append((given["APP_URL"], given.get("SLOT", "")))
                assert step.get("if") == ("always()" if step["run"].endswith("shut") else None)
        assert sorted(doors["open"]) == sorted(doors["shut"]) != [], name
        for url, slot in doors["open"]:
            assert ("slot_url" in url) == bool(slot), "the address and the app are of the same one"
    (opens,) = [step for step in RELEASE["rollback"]["steps"] if step.get("run", "").endswith("open")]
    assert opens["continue-on-error"] is True, "it must not be in the way of the rollback"


def test_devs_infrastructure_is_not_changed_in_the_middle_of_its_release() -> None:
    """main applies dev's, develop releases into it: two runs, which know of each other by this alone."""
    group = WORKFLOWS["deploy"]["jobs"]["terraform"]["concurrency"]["group"]
    assert WORKFLOWS["release"]["concurrency"]["group"] == "release-${{ inputs.environment }}"
    assert group.startswith("${{ github.event_name == 'push' && 'release-dev' || ")
    # Who waits for a group that its own caller holds waits for ever.
    assert "release-" not in WORKFLOWS["terraform"]["concurrency"]["group"]
    assert not [name for name, one in RELEASE.items() if "concurrency" in one]


def test_nothing_is_swapped_where_nobody_could_look_at_it() -> None:
    """A runner of one's own that is away must be missed before the swap, not after it."""
    assert len({RELEASE[name]["runs-on"] for name in ("swap", "check-production", "rollback")}) == 1


def test_only_the_gate_waits_for_somebody() -> None:
    assert RELEASE["gate"]["environment"] == "${{ inputs.environment }}-gate"
    assert {one.get("environment") for name, one in RELEASE.items() if name not in ("gate", "terraform")} == {
        "${{ inputs.environment }}"
    }
    assert holds(RELEASE["gate"]["steps"][1]["if"], approval=True)


@pytest.mark.parametrize("name", ["deploy", "health-check", "swap", "check-production", "rollback"])
def test_a_script_has_what_it_needs(name: str) -> None:
    """What a script's `need` names stands in the environment of its job or step."""
    one = RELEASE[name]
    for step in one["steps"]:
        for script in SCRIPT.findall(step.get("run", "")):
            text = (ROOT / script).read_text()
            wanted = {
                word for line in re.findall(r"^need (.+)$", text, re.MULTILINE) for word in line.split()
            }
            given = set(one["env"]) | set(step.get("env", {}))
            assert {word for word in wanted if not word.startswith("GITHUB_")} <= given, script


def test_dependabot_looks_everywhere_and_waits_a_week() -> None:
    updates = yaml.safe_load((GITHUB / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} >= {
        "github-actions",
        "pip",
        "npm",
        "docker",
        "terraform",
    }
    assert all(one["cooldown"]["default-days"] >= 7 for one in updates)
    (npm,) = (set(one["directories"]) for one in updates if one["package-ecosystem"] == "npm")
    locks = (path.parent for path in ROOT.glob("*/*/package-lock.json"))
    assert {f"/{folder.relative_to(ROOT)}" for folder in locks} <= npm
