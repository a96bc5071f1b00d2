"""What the builder makes: the same bytes twice, a manifest that is whole, and updates that only the right key signs."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY
from tests.image.booted import build

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
SMALL = "tests/scenarios/small"


def checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def test_two_builds_are_the_same_byte_for_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = tmp_path / "twice"  # a name of its own, so that the image of the other tests stays what it is
    shutil.copytree(REPOSITORY / SMALL, scenario)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    sums = []
    for _ in range(2):
        made = build(str(scenario), "SEEDS=no", "QUICK=yes", "VERSION=0.0.1")
        sums.append(checksum(made))
        made.unlink()
    assert sums[0] == sums[1]


def test_the_manifest_names_every_package_with_its_licence() -> None:
    if not (file := REPOSITORY / "build/dpe-small.cdx.json").exists():
        build(SMALL)
    components = json.loads(file.read_text())["components"]
    names = {component["name"]: component for component in components}
    listed = (REPOSITORY / "image-build/packages-image").read_text().splitlines()
    assert {line for line in listed if line and not line.startswith("#")} <= set(names)
    locked = (REPOSITORY / "requirements.lock").read_text()
    assert {line.split("==")[0] for line in locked.splitlines() if "==" in line and not line.startswith((" ", "#"))} <= {
        name.lower().replace("_", "-") for name in names
    }
    assert "gcc" not in names
    assert "pip" in names  # with which builds of seeds fetch wheels
    silent = [component["name"] for component in components if component["type"] == "library" and not component["licenses"]]
    assert not silent, f"no licence known of {silent}"
