"""The scripts around a release: plans, gates, messages, registries, audits, smoke tests."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from tests.workflows.test_release_scripts import failed
from tests.workflows.world import DECISION, OLD, ROOT, World

WEBHOOK = "https://hooks.slack.example/services/T0/B0/s3cret"
FORMAT = " ".join(
    [
        "{{json .RootFS.Layers}}",
        *(f"{{{{json .Config.{part}}}}}" for part in ("Env", "Entrypoint", "Cmd", "User")),
    ]
)
OUTPUTS = {
    "resource_group_name": "qts-rg", "registry_name": "registry", "registry_login_server": "registry.example",
    "function_app_name": "qts-app", "slot_name": "staging", "production_url": "https://p.example",
    "slot_url": "https://s.example",
}  # fmt: skip


class TestSlackIsTold:
    @pytest.fixture(autouse=True)
    def _slack(self, world: World) -> None:
        """A curl that keeps what it is given, and whose exit code the test sets."""
        world.program(
            "curl",
            f"#!/usr/bin/env bash\ncd {world.folder}\n"
            'cat >config\nprintf "%s\\n" "$@" >arguments\n'
            'exit "${SLACK_SAYS:-0}"\n',
        )

    def text(self, world: World) -> str:
        arguments = (world.folder / "arguments").read_text().splitlines()
        assert WEBHOOK not in arguments
        assert f'url = "{WEBHOOK}"' in (world.folder / "config").read_text()
        payload = json.loads(arguments[arguments.index("--data") + 1])
        assert set(payload) == {"text"}
        return str(payload["text"])

    @pytest.mark.parametrize(
        ("needs", "first", "last"),
        [
            ({"build": "success", "dev": "skipped"}, ":white_check_mark: *deploy*: success", "the run>"),
            ({"build": "success", "dev": "failure"}, ":x: *deploy*: failure", "dev: failure"),
            ({"build": "cancelled", "dev": "skipped"}, ":x: *deploy*: failure", "build: cancelled"),
        ],
    )
    def test_how_the_jobs_ended(self, world: World, needs: dict[str, str], first: str, last: str) -> None:
        jobs = json.dumps({name: {"result": result, "outputs": {}} for name, result in needs.items()})
        run = world.run("notify.sh", "deploy", NEEDS=jobs, SLACK_WEBHOOK_URL=WEBHOOK)
        assert run.returncode == 0, run.stderr
        assert WEBHOOK not in run.stdout + run.stderr
        lines = self.text(world).splitlines()
        assert lines[0] == first
        assert lines[-1].endswith(last)
        assert "https://github.example/qts/observer/actions/runs/7" in lines[1]

    @pytest.mark.parametrize("result", ["rollback", "rollback_failed"])
    def test_a_rollback(self, world: World, result: str) -> None:
        run = world.run("notify.sh", "production of prod", RESULT=result, SLACK_WEBHOOK_URL=WEBHOOK)
        assert run.returncode == 0, run.stderr
        assert f"*production of prod*: {result.replace('_', ' ')}" in self.text(world)

    def test_a_name_is_only_a_name(self, world: World) -> None:
        evil = 'x", "text": "y<!channel>&'
        run = world.run("notify.sh", "deploy", GITHUB_REF_NAME=evil, SLACK_WEBHOOK_URL=WEBHOOK)
        assert run.returncode == 0, run.stderr
        assert 'x", "text": "y&lt;!channel&gt;&amp;' in self.text(world)

    def test_nobody_to_tell_is_said(self, world: World) -> None:
        run = world.run("notify.sh", "deploy")
        assert (run.returncode, run.stdout.splitlines()[0]) == (
            0, "::warning::nobody was told: there is no secret SLACK_WEBHOOK_URL",
        )  # fmt: skip
        assert not (world.folder / "arguments").exists()

    def test_what_cannot_be_said_or_is_not_taken_fails(self, world: World) -> None:
        failed(
            world.run("notify.sh", "deploy", RESULT="fine", SLACK_WEBHOOK_URL=WEBHOOK), 2, "RESULT is fine"
        )
        failed(world.run("notify.sh", "deploy", NEEDS="{", SLACK_WEBHOOK_URL=WEBHOOK), 2, "no message")
        run = world.run("notify.sh", "deploy", SLACK_SAYS="22", SLACK_WEBHOOK_URL=WEBHOOK)
        failed(run, 1, "Slack did not take the message")


class TestThePlanBecomesAComment:
    COMMENTS = "gh api --paginate repos/qts/observer/issues/3/comments"

    def comment(self, world: World, plan: str, known: list[dict[str, Any]]) -> tuple[list[str], str]:
        (world.folder / "plan.txt").write_text(plan)
        world.write(says={self.COMMENTS: [0, json.dumps(known)]})
        run = world.run("plan_comment.sh", "dev", str(world.folder / "plan.txt"), PR_NUMBER="3")
        assert run.returncode == 0, run.stderr
        _, arguments, body = world.calls("gh")[-1]
        return arguments, json.loads(body)["body"]

    def test_a_new_one(self, world: World) -> None:
        arguments, body = self.comment(world, "~ x\nPlan: 1 to add, 0 to change, 0 to destroy.\n", [])
        assert arguments[:4] == ["api", "--method", "POST", "repos/qts/observer/issues/3/comments"]
        assert body.startswith("<!-- terraform plan dev -->\n### Terraform plan: dev\n\nPlan: 1 to add")

    def test_or_the_one_before_but_nobody_elses(self, world: World) -> None:
        text = "<!-- terraform plan dev -->\nold"
        mallory, robot = ({"id": n, "body": text, "user": {"login": who}} for n, who in
                          ((1, "mallory"), (2, "github-actions[bot]")))  # fmt: skip
        arguments, _ = self.comment(world, "No changes.", [mallory, robot])
        assert arguments[:4] == ["api", "--method", "PATCH", "repos/qts/observer/issues/comments/2"]

    def test_a_plan_cannot_leave_its_fence_and_a_long_one_is_cut(self, world: World) -> None:
        _, body = self.comment(world, "~~~~~\n</details>\n" + "x" * 70_000, [])
        assert "\n~~~~~~\n~~~~~\n</details>" in body
        assert len(body) < 65_536
        assert "Cut; the artifact" in body

    def test_no_plan_no_comment(self, world: World) -> None:
        failed(
            world.run("plan_comment.sh", "dev", "nowhere.txt", PR_NUMBER="3"), 2, "'nowhere.txt' is no file"
        )
        assert not world.calls()


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ([{"type": "required_reviewers", "reviewers": [{}, {}]}], 0),
        ([{"type": "required_reviewers", "reviewers": []}], 1),
        ([{"type": "wait_timer"}], 1),
        ([], 1),
    ],
)
def test_a_gate_without_reviewers_is_none(world: World, rules: list[dict[str, Any]], code: int) -> None:
    answer = json.dumps({"protection_rules": rules})
    world.write(says={"gh api repos/qts/observer/environments/prod-gate": [0, answer]})
    run = world.run("gate.sh", "prod-gate")
    assert run.returncode == code
    assert ("has no required reviewers" in run.stderr) == bool(code)
    world.write(says={}, fail=["gh"])
    failed(world.run("gate.sh", "prod-gate"), 1, "cannot be read")


class TestTheRegistry:
    LOGIN: Final = {"ACR_LOGIN_SERVER": "registry.example"}

    def test_as_who_is_logged_in(self, world: World) -> None:
        assert world.run("acr_login.sh", **self.LOGIN).returncode == 0
        assert world.calls()[0][:2] == ["az", ["acr", "login", "--name", "registry"]]

    def test_or_by_a_password_that_no_argument_has(self, world: World) -> None:
        run = world.run("acr_login.sh", **self.LOGIN, ACR_USERNAME="ci", ACR_PASSWORD="p4ss")
        assert run.returncode == 0, run.stderr
        ((name, arguments, given),) = world.calls()
        assert (name, given) == ("docker", "p4ss\n")
        assert "p4ss" not in arguments

    def test_half_of_it_is_a_mistake(self, world: World) -> None:
        failed(world.run("acr_login.sh", **self.LOGIN, ACR_USERNAME="ci"), 2, "needs ACR_PASSWORD")

    def test_a_user_whose_name_would_hide_the_images_address_is_refused(self, world: World) -> None:
        run = world.run("acr_login.sh", **self.LOGIN, ACR_USERNAME="registry", ACR_PASSWORD="p4ss")
        failed(run, 2, "GitHub would drop every output")
        assert not world.calls()

    def test_the_image_that_production_is_set_to(self, world: World) -> None:
        assert world.run("deployed_image.sh", **self.LOGIN).returncode == 0
        assert world.outputs() == {"image": OLD}
        world.write(production="mcr.example/other:1")
        failed(world.run("deployed_image.sh", **self.LOGIN), 1, "an image of registry.example was expected")

    def test_of_a_closed_registry_is_pulled_from_where_it_came(self, world: World) -> None:
        world.write(production=OLD.replace("registry", "prod"))
        run = world.run("deployed_image.sh", **self.LOGIN, REGISTRY_LOGIN_SERVER="prod.example")
        assert run.returncode == 0, run.stderr
        assert world.outputs() == {"image": OLD}
        assert ["az", ["acr", "login", "--name", "registry"], None] in world.calls()


def test_what_terraform_knows_becomes_outputs(world: World) -> None:
    told = {name: {"value": value} for name, value in OUTPUTS.items()}
    world.write(says={"terraform -chdir=infra output": [0, json.dumps(told)]})
    assert world.run("outputs.sh").returncode == 0
    assert world.outputs() == OUTPUTS
    del told["slot_url"]
    world.write(says={"terraform -chdir=infra output": [0, json.dumps(told)]})
    failed(world.run("outputs.sh"), 1, "the state has no output slot_url")
    told["slot_url"] = {"value": "https://s.example\nevil=1"}
    world.write(says={"terraform -chdir=infra output": [0, json.dumps(told)]})
    failed(world.run("outputs.sh"), 1, "slot_url has several lines")


class TestTheAudit:
    GOOD: Final = {"dependencies": [{"name": "a", "version": "1", "vulns": []}]}
    NPM: Final = {"metadata": {"dependencies": {"total": 3}}, "vulnerabilities": {}}

    def audit(self, world: World, pip: Any, npm: Any, *, code: int = 0) -> Any:
        world.write(
            says={"pip-audit": [code, json.dumps(pip)], "npm audit": [code, json.dumps(npm)]},
        )
        return world.run("audit.sh")

    def test_of_everything_that_is_pinned(self, world: World) -> None:
        run = self.audit(world, self.GOOD, self.NPM)
        assert run.returncode == 0, run.stderr
        audited = [line.split(": ")[1] for line in run.stdout.splitlines()]
        assert set(audited) >= {
            "requirements.txt",
            "requirements-ops.txt",
            "tests/azurite",
            "scripts/core_tools",
        }
        assert all("--strict" in call[1] for call in world.calls("pip-audit"))

    def test_nothing_audited_is_no_success(self, world: World) -> None:
        failed(
            self.audit(world, {"dependencies": []}, self.NPM), 1, "requirements.txt: no package was audited"
        )
        skipped = {"dependencies": [{"name": "a", "skip_reason": "not found"}]}
        failed(self.audit(world, skipped, self.NPM), 1, "requirements.txt: no package was audited")
        failed(self.audit(world, self.GOOD, {}), 1, "tests/azurite: no package was audited")

    def test_findings_are_named(self, world: World) -> None:
        vulnerable = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
        run = self.audit(world, {"dependencies": [vulnerable]}, self.NPM, code=1)
        failed(run, 1, "a 1: CVE-1, fixed in 2", "requirements.txt: pip-audit has findings")


class TestTheImage:
    def smoke(self, world: World, status: str) -> Any:
        world.write(says={"docker run": [0, "c0ffee"], "docker inspect": [0, status]})
        return world.run("image_smoke.sh", "qts-observer:1", "standalone")

    def test_is_healthy_on_a_root_that_cannot_be_written(self, world: World) -> None:
        assert self.smoke(world, "running, healthy").returncode == 0
        calls = world.calls("docker")
        assert "--read-only" in calls[0][1]
        assert calls[-1][1] == ["rm", "--force", "--volumes", "c0ffee"]

    @pytest.mark.parametrize(
        ("status", "said"),
        [("running, unhealthy", "last seen: running, unhealthy"), ("exited, ", "has ended")],
    )
    def test_or_it_is_not_pushed(self, world: World, status: str, said: str) -> None:
        failed(self.smoke(world, status), 1, said)
        assert [call[1][0] for call in world.calls("docker")][-2:] == ["logs", "rm"]

    def test_of_the_functions_app_is_healthy_over_azurite(self, world: World) -> None:
        assert world.run("image_smoke.sh", "qts-observer:1-functions", "functions").returncode == 0
        up, down = (call[1] for call in world.calls("docker"))
        assert up[:5] == down[:5] == ["compose", "--project-name", "qts-smoke", "--profile", "functions"]
        assert {"up", "--wait", "--no-build"} <= set(up)  # with Azurite, and the image that is pushed
        assert down[5:] == ["down", "--volumes"]

    def test_of_the_functions_app_or_it_is_not_pushed(self, world: World) -> None:
        world.write(fail=["docker compose --project-name qts-smoke --profile functions up"])
        failed(world.run("image_smoke.sh", "qts-observer:1-functions", "functions"), 1, "not healthy within")
        assert [call[1][5] for call in world.calls("docker")] == ["up", "logs", "down"]

    @pytest.mark.parametrize("arguments", [(), ("qts-observer:1",), ("qts-observer:1", "azurite")])
    def test_is_called_with_what_it_is(self, world: World, arguments: tuple[str, ...]) -> None:
        failed(world.run("image_smoke.sh", *arguments), 2, "usage: image_smoke.sh IMAGE standalone|functions")


class TestWhatWasPushed:
    def same(self, world: World, pushed: str, name: str = OLD) -> Any:
        here = '["sha256:1"] "qts"'
        world.write(says={f"docker image inspect --format {FORMAT} {image}": [0, says]
                          for image, says in (("qts:1", here), (name, pushed))})  # fmt: skip
        return world.run("same_image.sh", "qts:1", name, TARGET="functions")

    def test_is_what_was_scanned(self, world: World) -> None:
        run = self.same(world, '["sha256:1"] "qts"')
        assert run.returncode == 0, run.stderr
        assert world.outputs() == {"functions": OLD}

    @pytest.mark.parametrize("pushed", ['["sha256:2"] "qts"', '["sha256:1"] "root"', ""])
    def test_or_goes_nowhere(self, world: World, pushed: str) -> None:
        failed(self.same(world, pushed), 1, "is not what was scanned")
        failed(self.same(world, '["sha256:1"] "qts"', "registry.example/qts-observer:1"), 1, "has no digest")
        assert world.outputs() == {}


HOST = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import urlsplit
names, subject = json.loads({names!r}), [""]

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        path, ref = urlsplit(self.path).path, "snapshots.synthetic@5"
        found = {{"/health": {{}}, "/admin/functions": [{{"name": name}} for name in names]}}.get(path)
        if path.endswith("/decisions"):
            found = {{"items": [{{"record": {{"id": "{decision}", "scope": "subject:" + subject[0]}}}}]}}
        elif path.endswith("/lineage"):
            snapshot = {{"ref": ref, "record": {{"subjects": subject}}, "causes": []}}
            found = {{"step": {{"ref": "d", "causes": [snapshot]}}, "verified": {{"sound": True}}}}
        elif path.startswith("/v1/gate"):
            found = {{"decision": "deny", "reasons": [{{"code": "blocked", "decision": "{decision}"}}]}}
        self.answer(found)

    def do_POST(self):
        subject[0] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["subject"]
        self.answer({{"position": 5}})

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

server = HTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler)
print("the host listens", flush=True)
server.serve_forever()
"""


class TestTheFunctionsHost:
    """`func_smoke.sh` over a stand-in of scripts/func.sh, which tests/functions/test_func.py tests."""

    def smoke(self, world: World, names: list[str] | None, port: int) -> Any:
        root = world.folder / "checkout"
        shutil.copytree(ROOT / "scripts" / "ci", root / "scripts" / "ci")
        shutil.copy(ROOT / "function_app.py", root)
        for name in ("func", "node"):
            world.program(name, "#!/bin/sh\n")
        program = root / "host.py"
        program.write_text(HOST.format(python=sys.executable, names=json.dumps(names), decision=DECISION))
        (root / "scripts" / "func.sh").write_text(
            "echo the port is taken\nexit 3\n" if names is None else f'{sys.executable} {program} "$@"\n'
        )
        return world.run("func_smoke.sh", root=root, PORT=str(port), WAIT_S="20", FUNCTION_APP=None)

    def test_has_every_function_and_takes_one_message_through(self, world: World, free_port: int) -> None:
        run = self.smoke(world, world.state["functions"], free_port)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "all 24 functions are there" in run.stdout
        assert "follows from snapshots.synthetic@5" in run.stdout
        end = time.monotonic() + 20
        while listens(free_port):
            assert time.monotonic() < end, "it ends with the script"
            time.sleep(0.02)

    def test_that_does_not_start_says_why(self, world: World, free_port: int) -> None:
        failed(
            self.smoke(world, None, free_port),
            1,
            "the host has ended before it answered",
            "the port is taken",
        )

    def test_is_needed(self, world: World) -> None:
        path = ":".join(
            str(Path(found).parent) for name in ("bash", "dirname") if (found := shutil.which(name))
        )
        world_only = {"PATH": f"{world.bin}:{path}"}
        if shutil.which("func", path=world_only["PATH"]):
            pytest.skip("a func is installed beside bash")
        failed(world.run("func_smoke.sh", **world_only), 2, "needs func on PATH")


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
