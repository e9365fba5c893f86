"""infra/scripts/deploy_to_infrastructure.sh, with a terraform that only says what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.infra.programs import INFRA, Programs

SCRIPT = INFRA / "scripts" / "deploy_to_infrastructure.sh"
IDS = {
    "ARM_SUBSCRIPTION_ID": "00000000-0000-0000-0000-000000000001",
    "ARM_TENANT_ID": "00000000-0000-0000-0000-000000000002",
    "TF_VAR_image_tag": "0123abc-functions",
}
CHANGES = ("plan -detailed-exitcode", 2, "")


@pytest.fixture
def world(tmp_path: Path) -> Programs:
    world = Programs(tmp_path, "terraform", "az")
    world.answer(CHANGES, ("show -no-color", 0, "Plan: 1 to add"))
    return world


def steps(world: Programs) -> list[str]:
    return [call[1] for call in world.calls("terraform")]


def test_a_plan_is_made_shown_and_not_applied(world: Programs) -> None:
    done = world.run(SCRIPT, "--environment", "dev", **IDS)
    assert (done.returncode, done.stdout) == (0, "Plan: 1 to add\n")
    assert steps(world) == ["init", "validate", "plan", "show"]
    init, _, plan, _ = world.calls("terraform")
    assert f"-chdir={INFRA}" in init
    assert "-backend-config=env/dev.azurerm.tfbackend" in init
    assert any(argument.startswith("-backend-config=storage_account_name=qtstfstate") for argument in init)
    assert "-var-file=env/dev.tfvars" in plan
    assert "-lock=false" in plan


def test_the_very_plan_that_was_shown_is_applied(world: Programs) -> None:
    assert world.run(SCRIPT, "--environment", "staging", "--apply", **IDS).returncode == 0
    assert steps(world) == ["init", "validate", "plan", "show", "apply"]
    plan, show, apply = world.calls("terraform")[2:]
    [out] = [argument.removeprefix("-out=") for argument in plan if argument.startswith("-out=")]
    assert show[-1] == apply[-1] == out
    assert "-lock=false" not in plan


def test_without_changes_nothing_is_applied(world: Programs) -> None:
    world.answer()
    done = world.run(SCRIPT, "--environment", "dev", "--apply", **IDS)
    assert done.returncode == 0
    assert "nothing to change" in done.stderr
    assert "apply" not in steps(world)


@pytest.mark.parametrize("mode", ["--plan", "--apply", "--drift"])
@pytest.mark.parametrize("failing", ["init", "validate", "plan -detailed-exitcode", "show"])
def test_what_fails_ends_it_and_is_named(world: Programs, mode: str, failing: str) -> None:
    world.answer((failing, 3, "as you said"), CHANGES)
    done = world.run(SCRIPT, "--environment", "dev", mode, **IDS)
    assert done.returncode == 1
    assert "failed with exit code 3" in done.stderr
    assert steps(world)[-1] == failing.split(maxsplit=1)[0]
    assert world.left() == []


def test_an_apply_that_fails_is_named(world: Programs) -> None:
    world.answer((" apply ", 1, ""), CHANGES)
    done = world.run(SCRIPT, "--environment", "dev", "--apply", **IDS)
    assert (done.returncode, "apply: failed with exit code 1" in done.stderr) == (1, True)


def test_no_plan_is_left(world: Programs) -> None:
    world.run(SCRIPT, "--environment", "dev", "--apply", **IDS)
    assert world.left() == []


def test_prod_is_applied_only_when_that_is_said_twice(world: Programs) -> None:
    done = world.run(SCRIPT, "--environment", "prod", "--apply", **IDS)
    assert (done.returncode, steps(world)) == (2, [])
    assert "--environment prod --apply --yes" in done.stderr
    assert world.run(SCRIPT, "--environment", "prod", "--apply", "--yes", **IDS).returncode == 0
    assert steps(world)[-1] == "apply"


def test_prod_is_planned_without_more_ado(world: Programs) -> None:
    assert world.run(SCRIPT, "--environment", "prod", "--plan", **IDS).returncode == 0


def test_drift_fails_where_there_is_some_and_changes_nothing(world: Programs) -> None:
    done = world.run(SCRIPT, "--environment", "prod", "--drift", **IDS)
    assert (done.returncode, "is not what Terraform made it" in done.stderr) == (1, True)
    world.answer()
    assert world.run(SCRIPT, "--environment", "prod", "--drift", **IDS).returncode == 0
    assert "apply" not in steps(world)


def test_drift_needs_no_image(world: Programs) -> None:
    world.answer()
    ids = {name: value for name, value in IDS.items() if name.startswith("ARM_")}
    assert world.run(SCRIPT, "--environment", "dev", "--drift", **ids).returncode == 0
    assert world.environment()["TF_VAR_image_tag"] == "none"


def test_ids_reach_terraform_by_the_environment_and_not_by_arguments(world: Programs) -> None:
    world.run(SCRIPT, "--environment", "dev", ARM_CLIENT_SECRET="hush", **IDS)
    assert world.environment()["TF_VAR_subscription_id"] == IDS["ARM_SUBSCRIPTION_ID"]
    assert world.environment()["TF_VAR_tenant_id"] == IDS["ARM_TENANT_ID"]
    assert "hush" not in str(world.calls("terraform"))


def test_az_is_asked_where_nobody_says_which_subscription(world: Programs) -> None:
    world.answer(("--query id", 0, IDS["ARM_SUBSCRIPTION_ID"]), ("--query tenantId", 0, IDS["ARM_TENANT_ID"]))
    assert world.run(SCRIPT, "--environment", "dev", "--image-tag", "abc").returncode == 0
    assert world.environment()["ARM_SUBSCRIPTION_ID"] == IDS["ARM_SUBSCRIPTION_ID"]
    assert world.environment()["TF_VAR_image_tag"] == "abc"


def test_the_account_of_the_state_can_be_named(world: Programs) -> None:
    world.run(SCRIPT, "--environment", "dev", TF_STATE_STORAGE_ACCOUNT="elsewhere", **IDS)
    assert "-backend-config=storage_account_name=elsewhere" in world.calls("terraform")[0]


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ((), IDS, "--environment is ''"),
        (("--environment", "production"), IDS, "--environment is 'production'"),
        (("--environment",), IDS, "--environment needs a value"),
        (("--environment", "dev", "--destroy"), IDS, "'--destroy' is not known"),
        (("--environment", "dev"), {**IDS, "TF_VAR_image_tag": ""}, "which image"),
        (("--environment", "dev"), {"TF_VAR_image_tag": "x"}, "which subscription"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_begins(
    world: Programs, arguments: tuple[str, ...], environment: dict[str, str], says: str
) -> None:
    done = world.run(SCRIPT, *arguments, **environment)
    assert (done.returncode, steps(world)) == (2, [])
    assert says in done.stderr


def test_help_says_how(world: Programs) -> None:
    done = world.run(SCRIPT, "--help")
    assert done.returncode == 0
    assert "--environment dev|staging|prod" in done.stdout
    assert "set -euo" not in done.stdout
