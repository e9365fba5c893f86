"""How one call of `observer` goes: global options, and how each failure is told.

Exit codes: 0 done, 1 a finding (a denial, a fault, a difference), 2 wrong usage or a
failure, 130 interrupted. A reader of our output that goes away is no failure.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from observer_core.shared.errors import ObserverError

if TYPE_CHECKING:
    from observer_core.runtime.settings import Settings

FINDING, FAILURE, START_ANEW, INTERRUPTED = 1, 2, 75, 130
_GLOBAL = ("--config", "--root", "--data-dir", "--log-dir", "--storage")


@dataclass(frozen=True, slots=True)
class Invocation:
    """What was given before the command; None where nothing was."""

    config: Path | None = None
    root: Path | None = None
    data_dir: Path | None = None
    log_dir: Path | None = None
    storage: str | None = None

    @staticmethod
    def of(ctx: typer.Context) -> Invocation:
        found = ctx.find_root().obj
        assert isinstance(found, Invocation)
        return found

    def overrides(self) -> dict[str, Any]:
        return {
            "root": self.root, "data_dir": self.data_dir, "log_dir": self.log_dir,
            "storage": None if self.storage is None else {"kind": self.storage},
        }  # fmt: skip

    def settings(self, **more: Any) -> Settings:
        """The settings in force; `more` are the command's own options (None: not given)."""
        from observer_core.runtime.settings import load

        return load(self.config, **self.overrides(), **more)


class Commands(TyperGroup):
    """The root group: global options may stand anywhere, and every error leaves by one door."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _global_first(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except ObserverError as error:
            fail(str(error))
        except BrokenPipeError:
            # The interpreter flushes once more at exit: give it somewhere to flush to.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(0) from None
        except OSError as error:
            fail(f"{error.filename or 'the system'}: {error.strerror or error}")
        return result


def fail(message: str) -> None:
    """Tells what went wrong and ends the command with exit code 2."""
    typer.echo(f"observer: {message}", err=True)
    raise typer.Exit(FAILURE) from None


def _global_first(args: list[str]) -> list[str]:
    """`verify --data-dir x` as `--data-dir x verify`."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(args)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word in _GLOBAL:
            first += [word, *(value for value in [next(words, None)] if value is not None)]
        elif word.startswith(tuple(f"{name}=" for name in _GLOBAL)):
            first.append(word)
        else:
            rest.append(word)
    return first + rest
