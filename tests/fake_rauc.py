"""A bootable image for tests where there is none: `rauc`, `grub-editenv` and `systemctl` that say what the real ones said (RAUC 1.13), and
the files that such a host has. The bundle and the answers in `rauc/` are real. Whoever asks in this process starts none."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from appliance import run
from appliance.errors import CommandFailed
from appliance.host.system import image
from appliance.host.updates import installation
from tests.rauc_answers import REAL, answer

GOOD = (REAL / "good.raucb").read_bytes()

PROGRAM = """#!{python}
import sys
sys.path.insert(0, {here!r})
import rauc_answers
rauc_answers.main({folder!r})
"""


class FakeHost:
    """Which slot is booted, what runs there, and what was asked of the programs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        folder.mkdir()
        for name in ("rauc", "grub-editenv", "systemctl"):
            program = folder / name
            program.write_text(PROGRAM.format(python=sys.executable, here=str(Path(__file__).parent), folder=str(folder)))
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(run, "run", self._run)
        monkeypatch.setattr(run, "start", self._start)
        monkeypatch.setattr(image, "FILE", folder / "image.json")
        monkeypatch.setattr(image.boot_image, "__defaults__", (folder / "image.json",))
        monkeypatch.setattr(installation, "COMMAND_LINE", folder / "cmdline")
        self.bundle()
        self.boot("A", "1.2.0")

    def _run(self, command: Sequence[run.Argument], **_: object) -> str:
        """In place of `appliance.run.run`, for what asks these programs in the test's own process."""
        status, said, error = answer(self.folder, [os.fspath(part) for part in command])
        if status:
            raise CommandFailed(f"{command[0]} ended with status {status}: {error}", status=status, output=error.strip())
        return said

    def _start(self, command: Sequence[run.Argument], *, stdout: int, stderr: int) -> SimpleNamespace:
        """In place of `appliance.run.start`: a process that has said it all already."""
        assert stdout == stderr
        status, said, error = answer(self.folder, [os.fspath(part) for part in command])
        os.write(stdout, (said + error).encode())
        return SimpleNamespace(wait=lambda: status)

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
