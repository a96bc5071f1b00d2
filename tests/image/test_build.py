"""What the builder makes: the same bytes twice, a manifest that is whole, and updates that only the right key signs."""

import hashlib
import json
from pathlib import Path

import pytest

from appliance.settings import REPOSITORY
from tests.image.booted import build

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
SMALL = "tests/scenarios/small"


def checksum(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def test_two_builds_are_the_same_byte_for_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    first, second = (checksum(build(SMALL, "SEEDS=no", "QUICK=yes", "VERSION=0.0.1")) for _ in range(2))
    assert first == second


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
    assert "pip" not in names
    silent = [component["name"] for component in components if component["type"] == "library" and not component["licenses"]]
    assert not silent, f"no licence known of {silent}"
