"""infra/bootstrap.sh, with an az that only says what it is told."""

from __future__ import annotations

import json
import re
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pytest

from tests.infra.programs import INFRA, Programs

SCRIPT = INFRA / "bootstrap.sh"
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
PREFIX = "repo:acme@1/qts@2"
GIVEN = ("--subscription", SUBSCRIPTION, "--subject-prefix", PREFIX)
NEW = (
    ("identity show", 0, "11111111-0000-0000-0000-000000000000"),
    ("account show --query tenantId", 0, "00000000-0000-0000-0000-000000000002"),
    ("federated-credential show", 3, ""),
)
CHANGING = {"create", "update", "register", "delete"}


class Done(NamedTuple):
    world: Programs
    process: CompletedProcess[str]


def new(folder: Path) -> Programs:
    """A subscription in which nothing is there yet, and nobody is logged in as a person."""
    world = Programs(folder, "az")
    world.answer(NEW[2], *NEW[:2])
    return world


@pytest.fixture
def world(tmp_path: Path) -> Programs:
    return new(tmp_path)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """It has run once in a new subscription. For looking at only."""
    world = new(tmp_path_factory.mktemp("done"))
    return Done(world, world.run(SCRIPT, *GIVEN))


def changes(world: Programs) -> list[list[str]]:
    return [call for call in world.calls("az") if CHANGING & set(call[:4])]


def option(call: list[str], name: str) -> str:
    return call[call.index(name) + 1]


def test_the_account_of_the_state_takes_no_key_and_forgets_nothing(done: Done) -> None:
    assert done.process.returncode == 0
    [account] = [call for call in changes(done.world) if call[:3] == ["storage", "account", "create"]]
    assert option(account, "--allow-shared-key-access") == "false"
    assert option(account, "--allow-blob-public-access") == "false"
    assert option(account, "--min-tls-version") == "TLS1_2"
    [blobs] = [call for call in changes(done.world) if "blob-service-properties" in call]
    assert option(blobs, "--enable-versioning") == "true"
    assert option(blobs, "--enable-delete-retention") == "true"
    assert option(blobs, "--enable-container-delete-retention") == "true"
    containers = [option(call, "--name") for call in changes(done.world) if "container-rm" in call]
    assert containers == ["dev", "staging", "prod"]


def test_it_is_the_account_that_the_deployment_looks_for(done: Done, tmp_path: Path) -> None:
    [account] = [call for call in changes(done.world) if call[:3] == ["storage", "account", "create"]]
    deploying = Programs(tmp_path, "terraform")
    deploying.run(
        INFRA / "scripts" / "deploy_to_infrastructure.sh", "--environment", "dev", "--image-tag", "x",
        ARM_SUBSCRIPTION_ID=SUBSCRIPTION, ARM_TENANT_ID=SUBSCRIPTION,
    )  # fmt: skip
    name = option(account, "--name")
    assert f"-backend-config=storage_account_name={name}" in deploying.calls("terraform")[0]
    assert re.fullmatch(r"[a-z0-9]{3,24}", name)


def test_each_environment_of_github_is_an_identity_of_its_own(done: Done) -> None:
    made = {
        option(call, "--identity-name"): option(call, "--subject")
        for call in changes(done.world)
        if "federated-credential" in call
    }
    names = ["dev", "dev-plan", "staging", "staging-plan", "prod", "prod-plan"]
    assert made == {f"github-{name}": f"{PREFIX}:environment:{name}" for name in names}


def test_deployers_may_give_only_the_roles_that_terraform_gives(world: Programs) -> None:
    world.run(SCRIPT, *GIVEN, "--environments", "dev")
    [grant] = [call for call in changes(world) if "Role Based Access Control Administrator" in call]
    condition = option(grant, "--condition")
    assert "roleAssignments/write" in condition
    assert "roleAssignments/delete" in condition
    table = dict(re.findall(r'\["([^"]+)"\]=([0-9a-f-]{36})', SCRIPT.read_text()))
    assert all(identity in condition for identity in table.values())
    given = {
        name
        for path in INFRA.glob("modules/*/*.tf")
        for name in re.findall(
            r'"((?:Storage \w+ Data \w+|Acr\w+|Key Vault [\w ]+|Monitoring [\w ]+))"', path.read_text()
        )
    }
    assert given == set(table)


def test_who_plans_may_only_look(world: Programs) -> None:
    world.run(SCRIPT, *GIVEN, "--environments", "dev")
    grants = [
        (option(call, "--role"), option(call, "--scope")) for call in changes(world) if "assignment" in call
    ]
    assert [role for role, _ in grants] == [
        "Contributor", "qts-terraform-locks", "Role Based Access Control Administrator",
        "Storage Blob Data Contributor", "qts-terraform-plan", "AcrPull", "Storage Blob Data Reader",
    ]  # fmt: skip
    assert all(scope.endswith("/containers/dev") for role, scope in grants if role.startswith("Storage"))
    [role] = [
        json.loads(option(call, "--role-definition"))
        for call in changes(world)
        if call[:2] == ["role", "definition"] and "terraform-plan" in str(call)
    ]
    assert role["AssignableScopes"] == [f"/subscriptions/{SUBSCRIPTION}"]
    assert not [action for action in role["Actions"] if re.search(r"/(write|delete)$|^\*$", action)]


def test_who_runs_it_may_enter_the_state_as_a_person(world: Programs) -> None:
    world.answer(("signed-in-user show", 0, "22222222-0000-0000-0000-000000000000"), NEW[2], *NEW[:2])
    assert world.run(SCRIPT, *GIVEN).returncode == 0
    mine = [call for call in changes(world) if "22222222-0000-0000-0000-000000000000" in call]
    assert [option(call, "--scope").rpartition("/")[2] for call in mine] == ["dev", "staging", "prod"]
    assert {option(call, "--role") for call in mine} == {"Storage Blob Data Contributor"}
    assert {option(call, "--assignee-principal-type") for call in mine} == {"User"}
    others = [call for call in changes(world) if "assignment" in call and call not in mine]
    assert {option(call, "--assignee-principal-type") for call in others} == {"ServicePrincipal"}


def test_where_no_person_is_logged_in_it_says_what_is_missing(done: Done) -> None:
    assert done.process.returncode == 0
    assert "needs Storage Blob Data Contributor" in done.process.stderr


def test_it_ends_when_everything_is_registered(done: Done) -> None:
    made = changes(done.world)
    asked = [option(call, "--namespace") for call in made if call[1] == "register"]
    waited = [option(call, "--namespace") for call in made[-len(set(asked)) :] if "--wait" in call]
    assert set(waited) == set(asked)


def test_what_is_there_is_left_or_brought_up_to_date(world: Programs) -> None:
    world.answer(
        ("container-rm exists", 0, "true"), ("role assignment list", 0, "/an/id"),
        ("role definition list", 0, "qts"), ("federated-credential show", 0, "github"), *NEW[:2],
    )  # fmt: skip
    assert world.run(SCRIPT, *GIVEN).returncode == 0
    assert not [call for call in changes(world) if "container-rm" in call or "assignment" in call]
    assert {call[2] for call in changes(world) if "definition" in call or "federated-credential" in call} == {
        "update"
    }


def test_it_says_what_github_must_know(done: Done) -> None:
    said = done.process.stdout
    assert "gh secret set ARM_CLIENT_ID --env prod-plan --body 11111111-0000-0000-0000-000000000000" in said
    assert f"gh secret set ARM_SUBSCRIPTION_ID --env dev --body {SUBSCRIPTION}" in said
    assert "gh secret set ARM_TENANT_ID --body 00000000-0000-0000-0000-000000000002" in said


def test_a_dry_run_asks_nobody(world: Programs) -> None:
    done = world.run(SCRIPT, *GIVEN, "--dry-run")
    assert (done.returncode, world.calls("az")) == (0, [])
    assert "+ az storage account create" in done.stdout
    (world.bin / "az").unlink()
    assert world.run(SCRIPT, *GIVEN, "--dry-run").returncode == 0


@pytest.mark.parametrize(
    "failing", ["provider register", "group create", "storage account create", "blob-service-properties",
                "container-rm create", "role definition create", "identity create",
                "federated-credential create", "role assignment create"],
)  # fmt: skip
def test_what_fails_ends_it_and_is_named(world: Programs, failing: str) -> None:
    world.answer((failing, 1, "denied"), NEW[2], *NEW[:2])
    done = world.run(SCRIPT, *GIVEN)
    assert (done.returncode, "failed" in done.stderr) == (1, True)
    assert failing in " ".join(world.calls("az")[-1])


def test_an_identity_that_is_not_shown_yet_ends_it(world: Programs) -> None:
    world.answer()
    done = world.run(SCRIPT, *GIVEN)
    assert (done.returncode, "run this again in a minute" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--subject-prefix", PREFIX), "--subscription is ''"),
        (("--subscription", SUBSCRIPTION), "--subject-prefix is ''"),
        (
            ("--subscription", SUBSCRIPTION, "--subject-prefix", "repo:acme/qts:environment:prod"),
            "--subject-prefix",
        ),
        ((*GIVEN, "--environments", "dev live"), "--environments has 'live'"),
        ((*GIVEN, "--project", "QTS"), "--project is 'QTS'"),
        ((*GIVEN, "--force"), "'--force' is not known"),
        ((*GIVEN, "--project"), "--project needs a value"),
    ],
)
def test_what_is_missing_or_wrong_is_said_before_anything_begins(
    world: Programs, arguments: tuple[str, ...], says: str
) -> None:
    done = world.run(SCRIPT, *arguments)
    assert (done.returncode, world.calls("az")) == (2, [])
    assert says in done.stderr
