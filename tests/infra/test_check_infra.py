"""scripts/check_infra.sh with the real registry's ways, and a terraform that only says what it is told."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.infra.programs import ROOT, Programs


@pytest.fixture
def world(tmp_path: Path) -> Programs:
    for name in ("infra/modules/one", "infra/modules/two", "scripts"):
        (tmp_path / name).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "check_infra.sh", tmp_path / "scripts")
    return Programs(tmp_path, "terraform")


def checked(world: Programs, **environment: str) -> tuple[int, str]:
    given = {"TERRAFORM_OFFLINE": "", "INFRA_NETWORK": "1", "HOME": str(world.folder), **environment}
    done = world.run(world.folder / "scripts" / "check_infra.sh", **given)
    return done.returncode, done.stdout + done.stderr


def test_the_cache_of_plugins_is_written_by_one_init_alone(world: Programs) -> None:
    code, said = checked(world)
    assert code == 0, said
    plugins = world.folder / ".cache" / "qts-terraform-plugins"
    inits = [(call, kept.get("TF_PLUGIN_CACHE_DIR")) for _, call, kept in world.kept() if "init" in call]
    [(root, cache), *modules] = inits
    assert (cache, [word for word in root if "plugin-dir" in word]) == (str(plugins), [])
    assert len(modules) == 2
    for call, cache in modules:
        assert (cache, call[-1]) == (None, f"-plugin-dir={plugins}")


@pytest.mark.parametrize("failing", ["fmt", "init", "validate"])
def test_what_fails_is_told_and_fails_it(world: Programs, failing: str) -> None:
    world.answer((failing, 1, "as you said"))
    code, said = checked(world)
    assert code == 1
    assert said.count("is not as it must be (above)") == 3


def test_without_leave_nobody_is_asked(world: Programs) -> None:
    code, said = checked(world, INFRA_NETWORK="")
    assert (code, world.calls("terraform")) == (0, [])
    assert "SKIPPED Terraform" in said
