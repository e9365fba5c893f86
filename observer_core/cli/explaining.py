"""`explain`: a decision, or an answer of the gate, back to the bytes it was seen in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from observer_core.cli.opened import reading
from observer_core.cli.output import hint, json_line, tree

if TYPE_CHECKING:
    from rich.tree import Tree

    from observer_core.runtime.audit.explain import Step

_SHOWN = 1_000


def explain(
    ctx: typer.Context,
    decision: Annotated[
        str,
        typer.Argument(
            metavar="DECISION", help="An id or its beginning, decisions.DOMAIN@N, or gate.DOMAIN@N."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="The chain as one line of JSON.")] = False,
    svg: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where a picture of the chain goes, too.")
    ] = None,
) -> None:
    """Show what a decision, or an answer of the gate, follows from.

    Events, patterns, snapshots and their stored lines, each with the hash of its journal's chain and
    where its bytes lie, and the policy as it was when the decision was made.
    """
    from observer_core.runtime.audit.explain import Explainer, curve_of, find

    with reading(ctx) as reader:
        step = Explainer(reader.journals).explain(find(reader.journals, decision))
        curve = curve_of(reader.journals, step) if svg is not None else None
    if svg is not None:
        from observer_core.runtime.audit.picture import picture

        svg.write_text(picture(step, curve), "utf-8")
        hint(f"wrote {svg}")
    json_line(step.to_json()) if as_json else tree(_tree(step))


def _tree(step: Step) -> Tree:
    from rich.text import Text
    from rich.tree import Tree

    from observer_core.runtime.audit.explain import settings_lines

    node = Tree(Text(step.title, "bold"))
    stored = step.stored
    length = len(stored.raw)
    node.add(Text(f"{stored.ref}  {stored.segment}:{stored.offset} ({length} bytes)", "dim"))
    node.add(Text(f"chain {step.hash}", "dim"))
    for fact in step.facts:
        node.add(Text(fact))
    if stored.journal.startswith("snapshots."):
        node.add(Text(f"stored line: {_shortened(stored.raw)}", "dim"))
    if step.policy:
        name = step.policy.get(
            "name", "of judgment" if stored.journal.startswith("decisions.") else "of the gate"
        )
        policy = node.add(Text(f"policy {name} as it was then", "italic"))
        for line in settings_lines(step.policy):
            policy.add(Text(line))
    node.children.extend(_tree(cause) for cause in step.causes)
    return node


def _shortened(raw: bytes) -> str:
    text = raw.decode(errors="backslashreplace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} … ({len(raw)} bytes; all of it with --json)"
