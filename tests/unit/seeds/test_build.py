"""What a build derives from its job."""

import ipaddress
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import Conflict, DpeError, Unavailable
from appliance.hypervisor.libvirt.network import Network
from appliance.hypervisor.provider import MachineSpec
from appliance.laps import Lap
from appliance.scenario.schema import Application, ClassSpec
from appliance.seeds import build, seen
from appliance.seeds.sandbox import Sandbox
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider

SPEC = ClassSpec(title="One", os="debian-13", application=Application(port=80))


def job(id: int) -> build.SeedJob:
    return build.SeedJob(id, "one", 1, SPEC, Path("/scenario"))


def test_the_test_boot_takes_no_address_of_a_machine(settings: Settings) -> None:
    machines = {settings.address(slot) for slot in range(settings.slots)} | {settings.gateway}
    cards = [build.boot_spec(job(id), settings).card for id in range(1, 30)]
    assert not {card.address for card in cards} & machines
    assert len({card.address for card in cards}) == 14
    assert all(ipaddress.ip_address(card.address) in ipaddress.ip_network(settings.subnet) for card in cards)
    assert max(len(Network(settings).tap(card)) for card in cards) <= 15
    assert len({card.mac for card in cards}) == len(cards)


def test_a_repeated_build_finds_the_machine_of_the_earlier_try(settings: Settings) -> None:
    assert build.boot_spec(job(7), settings) == build.boot_spec(job(7), settings)
    assert build.boot_spec(job(7), settings).id == build.test_machine_id(7) != build.test_machine_id(8)


@pytest.mark.badinput
def test_files_that_are_gone_are_said_to_be(settings: Settings) -> None:
    with pytest.raises(Unavailable, match="seed 3 of one are missing or damaged"):
        build.load_files("one", 3, settings)


# -- the test boot --------------------------------------------------------------------------------


class Play:
    """Takes the place of Ansible and of the programs in the sandbox: lays down what they make."""

    def follow(self, file: Path, _sandbox: object, take: Callable[[dict[str, Any]], None], cancelled: Callable[[], bool]) -> bool:
        job = json.loads(file.read_text())
        if job.get("list"):
            take({"kind": "total", "tasks": 1})
            return True
        take({"kind": "task", "number": 77, "name": "A task of a role"})
        for name, text in (("packages.txt", "bash 5\n<script> 1 2\n"), ("kernel.txt", "6.12\n")):
            (Path(job["variables"]["out"]) / name).write_text(text)
        return True

    def execute(self, command: Sequence[Any], sandbox: Sandbox, _take: object, _cancelled: object) -> bool:
        match command[0]:
            case "mmdebstrap":
                (sandbox.writes[0] / "packages.tar").write_text("packages")
            case "tar" if "--create" in command:
                (sandbox.writes[0] / "base.tar").write_text("operating system")
            case "mv":
                for file in command[1:-1]:
                    (command[-1] / file.name).write_text(file.name)
            case "mke2fs":
                with (sandbox.writes[1] / "disk.raw").open("wb") as disk:
                    disk.truncate(SPEC.size.disk << 30)
        return True

    def convert(self, command: Sequence[str], **_: object) -> str:
        if "convert" in command:
            Path(command[command.index("--bind") + 1]).write_text("disk")
        return ""


@pytest.fixture
def built(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., build.SeedFiles]:
    play = Play()
    monkeypatch.setattr(build, "follow", play.follow)
    monkeypatch.setattr(build, "execute", play.execute)
    monkeypatch.setattr(build, "run", play.convert)
    monkeypatch.setattr(seen, "look", lambda address, pages, screen, folder: {"pages": [(address, page.port) for page in pages]})
    (tmp_path / "scenario/roles").mkdir(parents=True)
    wanted = replace(job(7), scenario=tmp_path / "scenario")

    def make(provider: FakeProvider | None, cancelled: Callable[[], bool] = lambda: False) -> build.SeedFiles:
        steps: list[build.SeedProgress] = []
        try:
            return build.build(wanted, settings, steps.append, cancelled, provider)
        finally:
            assert [step.task_number for step in steps] == list(range(1, len(steps) + 1))
            assert {step.task_total for step in steps} == {10 if provider else 5}
            assert not build.work_folder(7, settings).exists()

    return make


def test_a_seed_is_booted_once_under_a_name_that_is_no_seed_s(settings: Settings, built: Callable[..., build.SeedFiles]) -> None:
    names: list[str] = []

    class Looking(FakeProvider):
        def clone(self, spec: MachineSpec) -> None:
            names.append(spec.seed)
            assert sorted(file.name for file in (settings.seeds / spec.seed).iterdir()) == ["disk.qcow2", "initrd", "vmlinuz"]
            assert not (settings.seeds / "one/1").exists()
            super().clone(spec)

    provider = Looking()
    files = built(provider)
    assert names == ["one/1.new"]
    assert [verb for verb, _ in provider.calls] == ["destroy", "clone", "start", "wait", "destroy"]
    assert files.disk == settings.seeds / "one/1/disk.qcow2"
    assert files.manifest["seen"] == {"pages": [[build.boot_spec(job(7), settings).card.address, 80]]}
    assert files.manifest["boot_seconds"] is None or files.manifest["boot_seconds"] >= 0
    assert [folder.name for folder in (settings.seeds / "one").iterdir()] == ["1"]


def test_where_no_hypervisor_runs_a_seed_is_kept_as_it_is_made(built: Callable[..., build.SeedFiles]) -> None:
    files = built(None)
    assert files.manifest["boot_seconds"] is None
    assert files.manifest["packages"] == {"bash": "5"}, "what a build says of itself is looked at"


def test_a_seed_that_does_not_answer_is_none_and_its_console_is_in_the_log(
    settings: Settings, built: Callable[..., build.SeedFiles]
) -> None:
    provider = FakeProvider()
    provider.fails["wait"] = Unavailable("Its agent does not answer.", "Does it boot?")
    (settings.seeds / "one/1.new").mkdir(parents=True)  # of a try that was killed
    with pytest.raises(DpeError, match=r"in the task “Wait until its agent and its application answer”: Its agent does not answer"):
        built(provider)
    assert provider.domains == {}
    assert list((settings.seeds / "one").iterdir()) == []
    log = build.seed_log("one", 1, settings).read_text()
    assert "The machine's console:\nseed-one-1 login:" in log
    assert "Its agent does not answer." in log


def test_a_build_cancelled_while_it_boots_is_cancelled(settings: Settings, built: Callable[..., build.SeedFiles]) -> None:
    class Waiting(FakeProvider):
        asked = False

        def wait(self, spec: MachineSpec, *_: object, given_up: Callable[[], bool] | None = None, **__: object) -> Sequence[Lap]:
            self.asked = True
            assert given_up is not None
            assert given_up()
            raise Conflict("It is not wanted any more.")

    provider = Waiting()
    with pytest.raises(build.Cancelled):
        built(provider, lambda: provider.asked)
    assert provider.domains == {}
    assert list((settings.seeds / "one").iterdir()) == []


def test_what_a_build_left_that_is_not_tried_again_goes(settings: Settings) -> None:
    for folder in (build.work_folder(7, settings) / "tree", settings.seeds / "one/1.new", settings.seeds / "one/1"):
        folder.mkdir(parents=True)
    build.clear(7, "one", 1, settings)
    assert not build.work_folder(7, settings).exists()
    assert [folder.name for folder in (settings.seeds / "one").iterdir()] == ["1"]


# -- layers ---------------------------------------------------------------------------------------


@pytest.mark.choice
def test_a_layer_goes_on_from_its_operating_system_and_needs_neither_it_nor_a_twin_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    play, programs, roles = Play(), list[str](), list[str]()
    monkeypatch.setattr(build, "run", play.convert)

    def follow(file: Path, *others: Any) -> bool:
        said = Path(json.loads(file.read_text())["variables"]["roles_play"]).read_text()
        roles.append("guest" if "guest" in said else "own")
        return play.follow(file, *others)

    def execute(command: Sequence[Any], *others: Any) -> bool:
        programs.append(" ".join(map(str, command)))
        return play.execute(command, *others)

    monkeypatch.setattr(build, "follow", follow)
    monkeypatch.setattr(build, "execute", execute)
    (tmp_path / "scenario/roles").mkdir(parents=True)
    settings = replace(settings, debian_mirror="http://mirror.invalid/debian")

    def made(version: int, *packages: str) -> list[str]:
        steps: list[build.SeedProgress] = []
        spec = SPEC.model_copy(update={"packages": list(packages)})
        wanted = replace(job(version), version=version, spec=spec, scenario=tmp_path / "scenario", layered=True)
        build.build(wanted, settings, steps.append, lambda: False)
        assert {step.task_total for step in steps} == {len(steps)}
        return [step.task_name for step in steps]

    first = made(1)
    assert first[2:4] == ["A task of a role", "Keep the operating system for other builds"]
    assert roles == ["own", "guest", "guest", "own"], "looked at, then applied"
    [kept] = settings.cache.glob("bootstrap/*-base-*.tar")
    assert (kept.read_text(), list(settings.cache.glob("bootstrap/*.new"))) == ("operating system", [])
    programs.clear()
    roles.clear()
    second = made(2, "less", "systemd")
    assert second[:2] == ["Unpack the operating system", "Install 1 more packages and what they need"]
    assert roles == ["own", "own"]
    assert not any("mmdebstrap" in program for program in programs)
    assert [program.split()[-1] for program in programs if program.startswith("chroot")] == ["update", "less"]
    kept.unlink()
    twin = replace(job(3), class_name="other", scenario=tmp_path / "scenario")
    files = build.link(twin, settings.seeds / "one/2", settings)
    assert files == build.link(twin, settings.seeds / "one/2", settings), "as after a kill"
    for file in (settings.seeds / "one/2").iterdir():
        file.unlink()
    assert build.load_files("other", 1, settings).disk.read_text() == "disk"
