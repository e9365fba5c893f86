"""Programs on PATH that stand in for terraform and az: each call is kept, and answered as a test says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
INFRA: Final = ROOT / "infra"

_FAKE: Final = """#!{python}
import json, os, pathlib, sys
folder = pathlib.Path({folder!r})
line = " ".join(sys.argv[1:])
kept = {{n: v for n, v in os.environ.items() if n.startswith(("TF_", "ARM_"))}}
with (folder / "calls").open("a") as calls:
    calls.write(json.dumps([{name!r}, sys.argv[1:], kept]) + "\\n")
for part, code, text in json.loads((folder / "answers.json").read_text()):
    if part in line:
        (print(text), sys.exit(code))
"""


class Programs:
    """`answers`: of the first whose part stands in a call's arguments, its exit code and what it prints."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.answer()
        for name in names:
            program = self.bin / name
            program.write_text(_FAKE.format(python=sys.executable, folder=str(folder), name=name))
            program.chmod(0o755)

    def answer(self, *answers: tuple[str, int, str]) -> None:
        (self.folder / "answers.json").write_text(json.dumps(answers))

    def run(self, script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """With nothing in the environment but PATH and what is given."""
        given = {"PATH": f"{self.bin}:/usr/bin:/bin", "TMPDIR": str(self.folder), **environment}
        return subprocess.run(
            ["bash", str(script), *arguments], capture_output=True, text=True, env=given, check=False
        )

    def calls(self, name: str) -> list[list[str]]:
        return [arguments for program, arguments, _ in self.kept() if program == name]

    def environment(self) -> dict[str, str]:
        """TF_ and ARM_ of the last call."""
        found: dict[str, str] = self.kept()[-1][2]
        return found

    def kept(self) -> list[Any]:
        """Program, arguments and environment of each call."""
        path = self.folder / "calls"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def left(self) -> list[str]:
        """What is left in the folder of temporary files, other than these programs' own."""
        return sorted({item.name for item in self.folder.iterdir()} - {"bin", "calls", "answers.json"})


def in_ci() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"
