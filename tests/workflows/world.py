"""A function app with a slot, as far as the scripts see it: az on PATH, and two addresses that answer.

`az` and the addresses share what is true (`state`), so a swap changes who answers what. curl and jq are the
real ones; every call of a program is kept with its arguments and its standard input.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

ROOT: Final = Path(__file__).resolve().parents[2]
SCRIPTS: Final = ROOT / "scripts" / "ci"
KEY: Final = "k3y-of-the-app"
OLD, NEW = ("registry.example/qts-observer@sha256:" + digit * 64 for digit in "ab")
DECISION: Final = "0123456789abcdef" * 2

_FAKE: Final = """#!{python}
import json, pathlib, sys
from tests.workflows.world import called
sys.exit(called(pathlib.Path({folder!r}), {name!r}, sys.argv[1:]))
"""
_SEEN: Final = """#!/usr/bin/env bash
jq --null-input --compact-output --args '["curl", $ARGS.positional]' -- "$@" >>{folder}/calls
exec {real} "$@"
"""


def functions() -> list[str]:
    import ast

    tree = ast.parse((ROOT / "function_app.py").read_text())
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return [item.name for item in tree.body if isinstance(item, kinds) and item.decorator_list]


class World:
    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        self.write(
            production=OLD, slot=OLD, releases={OLD: "old", NEW: "new"}, sick=[], late=0, fail=[], says={},
            functions=functions(), decides=True, lineage_of=None, swapping=0, doors={},
        )  # fmt: skip
        for name in ("az", "gh", "docker", "terraform", "pip-audit", "npm"):
            self.program(name, _FAKE.format(python=sys.executable, folder=str(folder), name=name))
        self.program("curl", _SEEN.format(folder=folder, real=shutil.which("curl")))
        self.servers = {role: _serving(self, role) for role in ("slot", "production")}

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    @property
    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "state.json").read_text())
        return found

    def write(self, **changed: Any) -> None:
        path = self.folder / "state.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        new = path.with_suffix(".new")
        new.write_text(json.dumps({**known, **changed}))
        new.replace(path)

    def url(self, role: str) -> str:
        return f"http://127.0.0.1:{self.servers[role].server_address[1]}"

    def calls(self, name: str = "") -> list[list[Any]]:
        """[program, arguments, standard input where it was read], in order."""
        path = self.folder / "calls"
        found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [call for call in found if name in ("", call[0])]

    def outputs(self) -> dict[str, str]:
        path = self.folder / "outputs"
        lines = path.read_text().splitlines() if path.exists() else []
        return dict(line.split("=", 1) for line in lines)

    def run(
        self, script: str, *arguments: str, root: Path = ROOT, **environment: str | None
    ) -> subprocess.CompletedProcess[str]:
        given = {
            "PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(self.folder), "PYTHONPATH": str(ROOT),
            "POLL_S": "0.02", "WAIT_S": "1", "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "RESOURCE_GROUP": "qts-rg", "FUNCTION_APP": "qts-app", "SLOT": "staging",
            "APP_URL": self.url("slot"),
            "REGISTRY_NAME": "registry", "REGISTRY_LOGIN_SERVER": "registry.example", "IMAGE": NEW,
            "REVISION": "new", "PREVIOUS_IMAGE": OLD, "PREVIOUS_RELEASE": "old",
            "GITHUB_SERVER_URL": "https://github.example", "GITHUB_REPOSITORY": "qts/observer",
            "GITHUB_RUN_ID": "7",
            "GITHUB_RUN_ATTEMPT": "1", "GITHUB_REF_NAME": "main", "GITHUB_SHA": "c" * 40, "GH_TOKEN": "t0ken",
            **environment,
        }  # fmt: skip
        return subprocess.run(
            [str(root / "scripts" / "ci" / script), *arguments], cwd=root, capture_output=True,
            text=True, timeout=60, check=False,
            env={name: value for name, value in given.items() if value is not None},
        )  # fmt: skip


def called(folder: Path, name: str, arguments: list[str]) -> int:
    """A program other than curl: keeps the call, and does what the world says."""
    reads = "--input" in arguments or "--password-stdin" in arguments
    given = sys.stdin.read() if reads else None
    with (folder / "calls").open("a") as file:
        file.write(json.dumps([name, arguments, given]) + "\n")
    world = World.__new__(World)
    world.folder = folder
    state, text = world.state, " ".join([name, *arguments])
    if any(text.startswith(what) for what in state["fail"]):
        print(f"{name}: refused", file=sys.stderr)
        return 1
    for start, (code, answer) in state["says"].items():
        if text.startswith(start):
            print(answer)
            return int(code)
    return _az(world, state, arguments) if name == "az" else 0


def _az(world: World, state: dict[str, Any], arguments: list[str]) -> int:
    options = dict(itertools.pairwise(arguments))
    role = "slot" if options.get("--slot") else "production"
    match arguments[:4]:
        case ["functionapp", "config", "show", *_]:
            print(f"DOCKER|{state[role]}" if state[role] else "")
        case ["functionapp", "config", "container", "set"]:
            world.write(**{role: options["--image"]})
        case ["functionapp", "show", *_]:
            if left := state["swapping"]:  # somebody's swap is under way, and ends
                done = {"slot": state["production"], "production": state["slot"]} if left == 1 else {}
                world.write(swapping=left - 1, **done)
            print("operation" if left else "None")
        case ["functionapp", "update", *_]:
            raise AssertionError("az functionapp update reads the slot and writes to production")
        case ["functionapp", "config", "access-restriction", what]:
            door = state["doors"].get(role, {"public": True, "rules": [["Allow all", "Any"]]})
            rules = door["rules"]
            if what == "show":
                shown = [{"name": name, "action": "Allow"} for name, _ in rules]
                print(
                    json.dumps({"ipSecurityRestrictions": [*shown, {"name": "Deny all", "action": "Deny"}]})
                )
                return 0
            if what == "add":
                rules = [*rules, [options["--rule-name"], options["--ip-address"]]]
            else:
                names = [name for name, _ in rules]
                rules.pop(names.index(options["--rule-name"]))
            world.write(doors={**state["doors"], role: {**door, "rules": rules}})
        case ["functionapp", "keys", "list", *_]:
            print(KEY)
        case ["functionapp", "deployment", "slot", "swap"]:
            world.write(slot=state["production"], production=state["slot"])
        case ["rest", *_] if "/functions?" not in options["--url"]:
            role = "slot" if "/slots/staging?" in options["--url"] else "production"
            door = state["doors"][role]
            if options["--method"] == "patch":
                wanted = json.loads(options["--body"])["properties"]["publicNetworkAccess"] == "Enabled"
                world.write(doors={**state["doors"], role: {**door, "public": wanted}})
            else:
                print("Enabled" if door["public"] else "Disabled")
        case ["rest", *_]:
            print("\n".join(f"qts-app/staging/{name}" for name in state["functions"]))
    return 0


def _serving(world: World, role: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            door = world.state["doors"].get(role)
            if door and not (door["public"] and any(who == "127.0.0.1/32" for _, who in door["rules"])):
                self.answer(403, {}, {"x-ms-forbidden-ip": world.state.get("seen", "127.0.0.1")})
                return
            where = urlsplit(self.path)
            self.answer(*_answer(world, role, where.path, parse_qs(where.query), dict(self.headers)))

        def do_POST(self) -> None:
            row = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with_key = self.headers["x-functions-key"] == KEY
            world.write(pushed=[*world.state.get("pushed", []), [row, self.headers["Idempotency-Key"]]])
            known = "synthetic" in self.path
            self.answer(401 if not with_key else 202 if known else 404, {"position": 5})

        def answer(self, code: int, body: Any, headers: dict[str, str] | None = None) -> None:
            data = json.dumps(body).encode()
            self.send_response(code)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


def _answer(
    world: World, role: str, path: str, query: dict[str, list[str]], headers: dict[str, str]
) -> tuple[int, Any]:
    state = world.state
    image = state[role]
    if path == "/health":
        sick = image in state["sick"]
        return (503, {"status": "fail"}) if sick else (200, {"status": "pass"})
    if headers.get("x-functions-key") != KEY:
        return 401, {"title": "Unauthorized"}
    ref = f"snapshots.synthetic@{state['lineage_of'] or 5}"
    subject = state.get("pushed", [[{"subject": None}]])[-1][0]["subject"]
    match path:
        case "/v1/health":
            if state["late"] > 0:  # the image before still answers
                world.write(late=state["late"] - 1)
                return 200, {"status": "pass", "releaseId": "before"}
            return 200, {"status": "pass", "releaseId": state["releases"].get(image)}
        case "/v1/decisions":
            assert query["subject"] == [subject]
            items = [{"record": {"id": DECISION, "scope": f"subject:{subject}"}}]
            return 200, {"items": items if state["decides"] else [], "next": None}
        case _ if path.endswith("/lineage"):
            snapshot = {"ref": ref, "record": {"subjects": [subject]}, "causes": []}
            chain = {"ref": "decisions.live@2", "causes": [{"ref": "events.live@2", "causes": [snapshot]}]}
            return 200, {"step": chain, "verified": {"sound": state.get("sound", True)}}
        case _ if path.startswith("/v1/gate/"):
            by = DECISION if state.get("closed", True) else None
            return 200, {"decision": "deny", "reasons": [{"code": "blocked", "decision": by}]}
    return 404, {}
