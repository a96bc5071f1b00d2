"""A bootable image for tests where there is none: `rauc`, `grub-editenv` and `systemctl` that say what the real ones said (RAUC 1.13), and
the files that such a host has. The bundle and the answers in `rauc/` are real."""

import json
import os
import sys
from pathlib import Path

import pytest

from appliance.host import image, updates

REAL = Path(__file__).parent / "rauc"
GOOD = (REAL / "good.raucb").read_bytes()

PROGRAM = """#!{python}
import json, pathlib, sys
here = pathlib.Path({folder!r})
with (here / "asked").open("a") as log:
    log.write(" ".join([pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]) + "\\n")
if sys.argv[1:2] == ["info"]:
    data = pathlib.Path(sys.argv[-1]).read_bytes()
    good = pathlib.Path({real!r}, "good.raucb").read_bytes()
    told = "empty" if not data else "foreign" if data.startswith(b"foreign") else "" if data[-2000:] == good[-2000:] else "cut"
    if told:
        sys.stderr.write(pathlib.Path({real!r}, told + ".err").read_text())
        sys.exit(1)
    if "--output-format=json" in sys.argv:
        said = json.loads(pathlib.Path({real!r}, "info.json").read_text())
        said.update(json.loads((here / "bundle.json").read_text()))
        print(json.dumps(said))
    else:
        print(pathlib.Path({real!r}, "info.txt").read_text())
elif sys.argv[1:3] == ["status", "--output-format=json"]:
    print((here / "status.json").read_text())
elif sys.argv[1] == "install":
    failed = (here / "fails").exists()
    print(pathlib.Path({real!r}, "install-failed.txt" if failed else "install.txt").read_text())
    sys.exit(failed)
"""


class FakeHost:
    """Which slot is booted, what runs there, and what was asked of the programs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("rauc", "grub-editenv", "systemctl"):
            program = folder / name
            program.write_text(PROGRAM.format(python=sys.executable, folder=str(folder), real=str(REAL)))
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(image, "FILE", folder / "image.json")
        monkeypatch.setattr(image.found, "__defaults__", (folder / "image.json",))
        monkeypatch.setattr(updates, "COMMAND_LINE", folder / "cmdline")
        self.bundle()
        self.boot("A", "1.2.0")

    def bundle(self, **facts: str) -> None:
        """What bundles say of themselves, besides what the real one said."""
        (self.folder / "bundle.json").write_text(json.dumps(facts))

    def boot(self, slot: str, version: str, other: str = "good", scenario: str = "notebook") -> None:
        """This slot is booted, with this version in it."""
        (self.folder / "cmdline").write_text(f"BOOT_IMAGE=/boot/vmlinuz root=PARTLABEL=dpe-{slot.lower()} rauc.slot={slot} ro\n")
        (self.folder / "image.json").write_text(
            json.dumps({"version": version, "built_at": "2026-11-01T10:00:00Z", "scenario": scenario, "commit": "abc"})
        )
        status = json.loads((REAL / "status.json").read_text())
        for one in status["slots"]:
            for facts in one.values():
                booted = facts["bootname"] == slot
                facts["state"], facts["boot_status"] = ("booted", "good") if booted else ("inactive", other)
        (self.folder / "status.json").write_text(json.dumps(status))

    @property
    def asked(self) -> list[str]:
        """The commands so far, each as one line."""
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []


@pytest.fixture
def fake_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    return FakeHost(tmp_path / "programs", monkeypatch)
