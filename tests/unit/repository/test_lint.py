"""The linters, so that one command checks everything."""

import sys
from pathlib import Path

import pytest

from appliance.run import run
from appliance.settings import REPOSITORY

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [("ruff", "check", "--no-cache"), ("ruff", "format", "--check", "--no-cache"), ("mypy",), ("lint-imports",)],
    ids=["ruff-check", "ruff-format", "mypy", "import-linter"],
)
@pytest.mark.linter
def test_linters_have_nothing_to_say(command: tuple[str, ...]) -> None:
    run([BIN / command[0], *command[1:]], cwd=REPOSITORY, timeout=600, hint="`make format` mends much of it.")


@pytest.mark.linter
@pytest.mark.parametrize("script", ["image-build/setup.sh", "image-build/lock.sh", ".ci/run"])
def test_scripts_can_be_run(script: str) -> None:
    file = REPOSITORY / script
    assert file.stat().st_mode & 0o111
    run([file.read_text().splitlines()[0].removeprefix("#!"), "-n", file])
