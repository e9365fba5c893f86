"""What modules say twice, here and in the Observer, and what `terraform validate` does not ask for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from observer_core.backup.objects import FOLDER
from tests.infra.programs import INFRA, ROOT

MODULES = sorted(path.parent for path in (INFRA / "modules").glob("*/variables.tf"))
NAMES = [module.name for module in MODULES]


def blocks(path: Path, kind: str) -> dict[str, str]:
    """`kind "name" { … }` by name, of a file as `terraform fmt` leaves it."""
    return dict(re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', path.read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_variable_says_what_it_is_and_whether_it_may_be_null(module: Path) -> None:
    found = blocks(module / "variables.tf", "variable")
    assert found
    for name, text in found.items():
        for argument in ("description", "type", "nullable"):
            assert re.search(rf"^  {argument} += ", text, re.MULTILINE), f"{name} lacks {argument}"


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_output_says_what_it_is(module: Path) -> None:
    found = blocks(module / "outputs.tf", "output")
    assert found
    for name, text in found.items():
        assert re.search(r"^  description = ", text, re.MULTILINE), f"{name} lacks a description"


@pytest.mark.parametrize("module", MODULES, ids=NAMES)
def test_every_validated_variable_is_refused_by_a_test(module: Path) -> None:
    validated = {
        name for name, text in blocks(module / "variables.tf", "variable").items() if "validation {" in text
    }
    tests = "".join(path.read_text() for path in (module / "tests").glob("*.tftest.hcl"))
    expected = " ".join(re.findall(r"expect_failures\s*=\s*\[(.*?)\]", tests, re.DOTALL))
    refused = set(re.findall(r"var\.(\w+)", expected))
    assert validated <= refused


def test_an_identity_of_the_app_has_the_roles_that_it_needs() -> None:
    page = (ROOT / "docs" / "functions.md").read_text()
    table = page.partition("## Identity and roles")[2].partition("\n## ")[0]
    needed = re.findall(r"^\| (Storage [\w ]+?) \|", table, re.MULTILINE)
    given = re.search(r"of_account = \[(.*)\]", (INFRA / "modules/identity/roles.tf").read_text())
    assert given
    assert re.findall(r'"([^"]+)"', given[1]) == needed


def test_what_becomes_cool_is_where_backups_keep_their_contents() -> None:
    aging = (INFRA / "modules/storage/aging.tf").read_text()
    assert re.findall(r"prefix_match = (.*)", aging) == [f'["backups/{FOLDER}"]']
