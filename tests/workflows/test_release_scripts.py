"""Deploy, health gate, swap, rollback, in the order of release.yml; and each step that can fail."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tests.workflows.world import DECISION, KEY, NEW, OLD, World, functions

ELSEWHERE = NEW.replace("registry.example", "staging.example")


def failed(run: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert run.returncode == code, run.stdout + run.stderr
    for text in said:
        assert text in run.stderr


def in_production(world: World, script: str, **given: Any) -> subprocess.CompletedProcess[str]:
    return world.run(script, APP_URL=world.url("production"), SLOT=given.pop("SLOT", None), **given)


class TestTheSlotGetsTheImage:
    def test_by_its_digest(self, world: World) -> None:
        run = world.run("deploy_slot.sh")
        assert run.returncode == 0, run.stderr
        assert (world.state["slot"], world.state["production"]) == (NEW, OLD)
        assert not [call for call in world.calls("az") if call[1][:2] == ["acr", "import"]]

    def test_from_the_environments_own_registry(self, world: World) -> None:
        assert world.run("deploy_slot.sh", IMAGE=ELSEWHERE).returncode == 0
        imports = [call[1] for call in world.calls("az") if call[1][:2] == ["acr", "import"]]
        assert imports[0][2:8] == [
            "--name", "registry", "--source", ELSEWHERE, "--image", "qts-observer:new-functions",
        ]  # fmt: skip
        assert world.state["slot"] == NEW

    def test_from_a_registry_of_another_subscription(self, world: World) -> None:
        """az finds a registry by its name in its own subscription only."""
        registry = (
            "/subscriptions/1/resourceGroups/r/providers/Microsoft.ContainerRegistry/registries/staging"
        )
        assert world.run("deploy_slot.sh", IMAGE=ELSEWHERE, ACR_ID=registry).returncode == 0
        (imported,) = [call[1] for call in world.calls("az") if call[1][:2] == ["acr", "import"]]
        assert imported[imported.index("--registry") + 1] == registry
        assert imported[imported.index("--source") + 1] == ELSEWHERE.partition("/")[2]

    @pytest.mark.parametrize(
        "image", ["registry.example/qts-observer:latest", "qts-observer@sha256:" + "b" * 64]
    )
    def test_a_tag_is_refused(self, world: World, image: str) -> None:
        failed(world.run("deploy_slot.sh", IMAGE=image), 2, "a tag may move")
        assert not world.calls()

    @pytest.mark.parametrize(
        "what", ["az acr import", "az functionapp config container set", "az functionapp config show"]
    )
    def test_each_step_may_fail(self, world: World, what: str) -> None:
        world.write(fail=[what])
        assert world.run("deploy_slot.sh", IMAGE=ELSEWHERE).returncode != 0

    def test_what_was_set_is_looked_at(self, world: World) -> None:
        world.write(says={"az functionapp config container set": [0, ""]})
        failed(world.run("deploy_slot.sh"), 1, f"is set to '{OLD}'; {NEW} was expected")

    def test_without_its_settings_it_does_not_begin(self, world: World) -> None:
        failed(world.run("deploy_slot.sh", IMAGE=None), 2, "needs IMAGE in the environment")


class TestTheHealthGate:
    def test_it_waits_until_the_new_image_answers(self, world: World) -> None:
        world.write(slot=NEW, late=3)
        run = world.run("check_app.sh", WAIT_S="20")
        assert run.returncode == 0, run.stderr
        assert "qts-app (staging) runs new" in run.stdout
        assert f"has all {len(functions())} functions" in run.stdout

    def test_the_old_image_cannot_pass_for_the_new_one(self, world: World) -> None:
        failed(world.run("check_app.sh"), 1, "not within 1 s: qts-app (staging) runs new; last seen: old")

    def test_it_must_be_healthy(self, world: World) -> None:
        world.write(slot=NEW, sick=[NEW])
        failed(world.run("check_app.sh"), 1, "is healthy; last seen", "503")

    def test_it_must_have_every_function_and_no_other(self, world: World) -> None:
        world.write(slot=NEW, functions=[*functions()[1:], "stranger"])
        failed(world.run("check_app.sh"), 1, f"missing: {functions()[0]}", "unknown: stranger")

    def test_functions_that_cannot_be_listed_are_not_there(self, world: World) -> None:
        world.write(slot=NEW, fail=["az rest"])
        failed(world.run("check_app.sh"), 1, "az cannot list them")

    def test_without_a_key_nothing_is_asked(self, world: World) -> None:
        world.write(fail=["az functionapp keys"])
        failed(world.run("check_app.sh"), 1, "no function key of qts-app (staging)")
        assert not world.calls("curl")

    def test_the_key_is_masked_and_in_no_argument(self, world: World) -> None:
        world.write(slot=NEW)
        run = world.run("check_app.sh", GITHUB_ACTIONS="true")
        assert run.returncode == 0, run.stderr
        assert f"::add-mask::{KEY}" in run.stdout
        assert KEY not in run.stdout.replace(f"::add-mask::{KEY}", "") + run.stderr
        assert world.calls("curl")
        assert KEY not in str(world.calls())

    def test_a_key_is_not_sent_in_the_clear(self, world: World) -> None:
        failed(world.run("check_app.sh", APP_URL="http://app.example"), 1, "not within")
        assert all("=https" in call[1] for call in world.calls("curl"))

    def test_where_nobody_knows_the_release_before_it_is_not_asked(self, world: World) -> None:
        world.write(releases={})
        assert in_production(world, "check_app.sh", REVISION="").returncode == 0
        failed(in_production(world, "check_app.sh", REVISION="old"), 1, "last seen: no releaseId")


class TestASnapshotBecomesADecision:
    def test_its_own(self, world: World) -> None:
        runs = [world.run("synthetic.sh") for _ in range(2)]
        assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
        assert f"decision {DECISION} follows from snapshots.synthetic@5" in runs[0].stdout
        (first, first_key), (second, _) = world.state["pushed"]
        assert first["subject"] == first_key != second["subject"]
        assert first["subject"].startswith("synthetic-7-1-")
        assert first["bid"] > first["ask"]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"decides": False}, "no decision on synthetic-7-1-"),
            ({"lineage_of": 4}, "does not follow from snapshots.synthetic@5"),
            ({"sound": False}, "does not follow from snapshots.synthetic@5"),
            ({"closed": False}, "the gate of synthetic-7-1-"),
            ({"fail": ["az functionapp keys"]}, "no function key"),
        ],
    )
    def test_or_the_gate_stays_shut(self, world: World, change: dict[str, Any], said: str) -> None:
        world.write(**change)
        failed(world.run("synthetic.sh"), 1, said)

    def test_an_app_that_does_not_take_it(self, world: World) -> None:
        failed(world.run("synthetic.sh", APP_URL="http://127.0.0.1:9"), 1, "is taken; last seen: curl:")


class TestSwapAndBack:
    def test_what_production_runs_is_known_before(self, world: World) -> None:
        assert in_production(world, "production.sh", SLOT="staging").returncode == 0
        assert world.outputs() == {"previous_image": OLD, "previous_release": "old"}

    def test_a_production_that_says_nothing_has_an_image_all_the_same(self, world: World) -> None:
        run = world.run("production.sh", APP_URL="http://127.0.0.1:9")
        assert run.returncode == 0, run.stderr
        assert world.outputs() == {"previous_image": OLD, "previous_release": ""}
        world.write(production="")
        failed(world.run("production.sh"), 1, "is set to no image")

    def test_an_app_that_has_never_run_has_no_key_and_is_no_obstacle(self, world: World) -> None:
        """Terraform makes it with a tag that its registry gets only now."""
        made = "registry.example/qts-observer:1-functions"
        world.write(production=made, fail=["az functionapp keys"])
        assert world.run("production.sh").returncode == 0
        assert world.outputs() == {"previous_image": made, "previous_release": ""}
        world.write(production=OLD)
        failed(world.run("production.sh"), 1, "no function key of qts-app")

    def test_they_change_places(self, world: World) -> None:
        world.write(slot=NEW)
        assert world.run("swap.sh").returncode == 0
        assert (world.state["production"], world.state["slot"]) == (NEW, OLD)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"slot": OLD}, "the checked sha256:bbb"),
            ({"production": ELSEWHERE}, "somebody has deployed meanwhile"),
        ],
    )
    def test_not_if_either_is_another_by_now(self, world: World, change: dict[str, Any], said: str) -> None:
        world.write(**{"slot": NEW, **change})
        failed(world.run("swap.sh"), 1, said)
        assert not [call for call in world.calls("az") if "swap" in call[1]]

    def test_a_swap_that_fails_or_does_nothing_is_noticed(self, world: World) -> None:
        swap = "az functionapp deployment slot swap"
        world.write(slot=NEW, fail=[swap])
        assert world.run("swap.sh").returncode == 1
        world.write(fail=[], says={swap: [0, ""]})
        failed(world.run("swap.sh"), 1, "after the swap")

    def test_a_rollback_brings_the_old_image_back_and_checks_it(self, world: World) -> None:
        world.write(production=NEW, slot=OLD, sick=[NEW])
        run = in_production(world, "rollback.sh", SLOT="staging")
        assert run.returncode == 0, run.stderr
        assert (world.state["production"], world.state["slot"]) == (OLD, NEW)
        assert "qts-app runs old" in run.stdout
        assert "qts-app is healthy" in run.stdout

    def test_what_was_not_swapped_is_not_swapped_back(self, world: World) -> None:
        world.write(slot=NEW)
        run = in_production(world, "rollback.sh", SLOT="staging")
        assert run.returncode == 0, run.stderr
        assert "nothing to swap back" in run.stdout
        assert world.state["production"] == OLD

    def test_what_somebody_else_has_deployed_is_not_undone(self, world: World) -> None:
        """An old run that is run again, or a swap by hand while the gate was waiting."""
        world.write(production=ELSEWHERE.replace("b" * 64, "d" * 64), slot=OLD)
        run = in_production(world, "rollback.sh", SLOT="staging")
        failed(run, 1, "neither what this run has swapped in", "somebody has deployed meanwhile")
        assert world.state["slot"] == OLD

    def test_what_was_imported_is_known_by_its_digest(self, world: World) -> None:
        world.write(production=NEW, slot=OLD)
        assert in_production(world, "rollback.sh", SLOT="staging", IMAGE=ELSEWHERE).returncode == 0
        assert world.state["production"] == OLD

    def test_a_swap_that_is_still_under_way_ends_first(self, world: World) -> None:
        """Cancelling a job ends az, and not what Azure does."""
        world.write(slot=NEW, swapping=4)
        run = in_production(world, "rollback.sh", SLOT="staging", WAIT_S="60")
        assert run.returncode == 0, run.stderr
        assert world.state["swapping"] == 0
        assert (world.state["production"], world.state["slot"]) == (OLD, NEW)

    def test_or_nothing_is_done(self, world: World) -> None:
        world.write(production=NEW, slot=OLD, swapping=10**6)
        failed(in_production(world, "rollback.sh", SLOT="staging", WAIT_S="0"), 1, "nothing else changes")
        assert world.state["production"] == NEW

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"slot": ELSEWHERE}, "a swap would not bring it back"),
            ({"fail": ["az functionapp deployment slot swap"]}, "refused"),
            ({"says": {"az functionapp deployment slot swap": [0, ""]}}, "after swapping back"),
            ({"sick": [OLD]}, "is healthy; last seen"),
            ({"fail": ["az functionapp config show"]}, "refused"),
        ],
    )
    def test_a_rollback_that_fails_says_so(self, world: World, change: dict[str, Any], said: str) -> None:
        world.write(**{"production": NEW, "slot": OLD, **change})
        failed(in_production(world, "rollback.sh", SLOT="staging"), 1, said)


class TestTheDoor:
    SHUT: dict[str, Any] = {"public": False, "rules": []}  # noqa: RUF012

    def test_lets_this_machine_in_and_nobody_else_and_is_shut_again(self, world: World) -> None:
        world.write(doors={"slot": self.SHUT, "production": self.SHUT}, slot=NEW)
        assert world.run("check_app.sh", WAIT_S="0").returncode == 1
        run = world.run("door.sh", "open")
        assert run.returncode == 0, run.stderr
        opened = {"public": True, "rules": [["release", "127.0.0.1/32"]]}
        assert world.state["doors"] == {"slot": opened, "production": self.SHUT}
        assert world.run("check_app.sh").returncode == 0
        assert world.run("door.sh", "shut").returncode == 0
        assert world.state["doors"]["slot"] == self.SHUT

    def test_of_production_with_a_gateway_stays_open_for_it(self, world: World) -> None:
        before = {"public": True, "rules": [["front-door", "AzureFrontDoor.Backend"]]}
        world.write(doors={"production": before})
        assert in_production_door(world, "open") == 0
        assert world.state["doors"]["production"]["rules"][1:] == [["release", "127.0.0.1/32"]]
        assert in_production_door(world, "shut") == 0
        assert world.state["doors"]["production"] == before

    def test_is_left_alone_where_one_is_let_in_already(self, world: World) -> None:
        inside = {"public": True, "rules": [["allowed", "127.0.0.1/32"]]}
        for doors in ({}, {"slot": inside}):
            world.write(doors=doors)
            for what in ("open", "shut"):
                assert world.run("door.sh", what).returncode == 0
            assert world.state["doors"] == doors
        changes = [call[1] for call in world.calls("az") if {"add", "remove", "patch"} & set(call[1])]
        assert not changes

    def test_of_a_run_that_was_killed_is_shut_by_the_next(self, world: World) -> None:
        left = {"public": True, "rules": [["release", "203.0.113.7/32"], ["release", "203.0.113.8/32"]]}
        world.write(doors={"slot": left})
        assert world.run("door.sh", "open").returncode == 0
        assert world.state["doors"]["slot"]["rules"] == [["release", "127.0.0.1/32"]]

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"doors": {"slot": {"public": False, "rules": [["Allow all", "Any"]]}}}, "to everybody"),
            ({"seen": "fd00:0:1200::1"}, "an IPv4 address was expected"),
            ({"fail": ["az functionapp config access-restriction add"]}, "refused"),
            ({"fail": ["az rest --method patch"]}, "refused"),
            ({"fail": ["az rest --method get"]}, "refused"),
            ({"fail": ["az functionapp config access-restriction show"]}, "refused"),
            (
                {"says": {"az rest --method patch": [0, ""]}},
                "public access is 'Disabled'; Enabled was expected",
            ),
        ],
    )
    def test_that_does_not_open_says_so(self, world: World, change: dict[str, Any], said: str) -> None:
        world.write(**{"doors": {"slot": self.SHUT}, **change})
        failed(world.run("door.sh", "open", WAIT_S="0"), 1, said)

    def test_that_does_not_shut_says_so(self, world: World) -> None:
        world.write(doors={"slot": {"public": True, "rules": [["release", "127.0.0.1/32"]]}})
        world.write(says={"az rest --method patch": [0, ""]})
        failed(world.run("door.sh", "shut"), 1, "public access is 'Enabled'; Disabled was expected")

    def test_opens_or_shuts(self, world: World) -> None:
        failed(world.run("door.sh"), 2, "usage: door.sh open|shut")


def in_production_door(world: World, what: str) -> int:
    return world.run("door.sh", what, APP_URL=world.url("production"), SLOT="").returncode


def test_a_release_that_is_bad_only_in_production_ends_with_the_old_one(world: World) -> None:
    assert world.run("deploy_slot.sh").returncode == 0
    assert world.run("check_app.sh").returncode == 0
    assert world.run("synthetic.sh").returncode == 0
    assert in_production(world, "production.sh").returncode == 0
    assert world.run("swap.sh", **before(world)).returncode == 0
    world.write(sick=[NEW])
    assert in_production(world, "check_app.sh").returncode == 1
    assert in_production(world, "rollback.sh", SLOT="staging", **before(world)).returncode == 0
    assert (world.state["production"], world.state["slot"]) == (OLD, NEW)


def before(world: World) -> dict[str, str]:
    return {name.upper(): value for name, value in world.outputs().items()}
