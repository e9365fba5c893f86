"""The Dockerfile as data: stages and their steps.

Only what ours uses is understood. Anything else is refused, so that no test passes over a step.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_KNOWN = {
    "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK", "LABEL", "RUN", "STOPSIGNAL",
    "USER", "WORKDIR",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """`flags`: `--name=value` before the rest, in order. `text`: the rest, as one line."""

    line: int
    name: str
    flags: tuple[tuple[str, str], ...]
    text: str

    def flag(self, name: str) -> str | None:
        return dict(self.flags).get(name)

    def words(self) -> list[str]:
        return shlex.split(self.text)

    def command(self) -> list[str]:
        """Of CMD, ENTRYPOINT and HEALTHCHECK: in the form of a list, as a shell would not hear signals."""
        text = self.text.removeprefix("CMD ") if self.name == "HEALTHCHECK" else self.text
        found = json.loads(text)
        if not isinstance(found, list):
            raise ValueError(f"line {self.line}: {self.name} expects a list of words, found {self.text}")
        return [str(word) for word in found]


@dataclass(frozen=True)
class Stage:
    name: str
    base: str
    steps: tuple[Step, ...] = field(default=())

    def of(self, name: str) -> list[Step]:
        return [step for step in self.steps if step.name == name]

    def one(self, name: str) -> Step:
        (found,) = self.of(name)
        return found


@dataclass(frozen=True)
class Dockerfile:
    args: Mapping[str, str]
    """What stands before the first stage."""
    stages: Mapping[str, Stage]


def read(path: Path, **args: str) -> Dockerfile:
    """The file, built with `args`."""
    known: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    for step in _steps(path.read_text()):
        if step.name == "FROM":
            words = expand(step.text, known).split()
            if len(words) != 3 or words[1].upper() != "AS" or words[2] in stages:
                raise ValueError(f"line {step.line}: FROM IMAGE AS NAME was expected, found {step.text}")
            stages[words[2]] = Stage(words[2], words[0])
        elif not stages:
            if step.name != "ARG":
                raise ValueError(f"line {step.line}: {step.name} before any FROM")
            name, _, default = step.text.partition("=")
            known[name] = args.get(name, default)
        else:
            last = list(stages.values())[-1]
            stages[last.name] = Stage(last.name, last.base, (*last.steps, step))
    return Dockerfile(known, stages)


def expand(text: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], ""), text)


def _steps(text: str) -> list[Step]:
    steps: list[Step] = []
    part, first = "", 0
    for number, line in enumerate(text.splitlines(), start=1):
        if line.lstrip().startswith("#") or not (part or line.strip()):
            continue
        first = first if part else number
        part += line.strip() if not line.endswith("\\") else f"{line[:-1].strip()} "
        if not line.endswith("\\"):
            steps.append(_step(first, part))
            part = ""
    if part:
        raise ValueError(f"line {first}: the step goes on behind the end of the file")
    return steps


def _step(line: int, text: str) -> Step:
    name, _, rest = text.partition(" ")
    if name not in _KNOWN or "<<" in rest:
        raise ValueError(f"line {line}: {name} is not understood here, or not what stands behind it: {rest}")
    flags = []
    while found := re.match(r"--([\w-]+)=(\S+)\s+", rest):
        flags.append((found[1], found[2]))
        rest = rest[found.end() :]
    return Step(line, name, tuple(flags), rest.strip())
