"""Whoever has the catalog or the socket can put any text into a name; what root does by it stays where it belongs."""

import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance import catalog, paths
from appliance.catalog import Class, DataDisk, Machine, Seed, SeedState, Snapshot, SnapshotState, now
from appliance.errors import BadInput
from appliance.host.interface import AnyVerb, declared
from appliance.host.updates import installation
from appliance.hypervisor.libvirt.provider import LibvirtProvider
from appliance.lifecycle import disk_copies, forks, retention, seed_builds
from appliance.lifecycle.specs import spec
from appliance.seeds import build, shipped, snapshot
from appliance.settings import Settings
from tests.unit.engine.fake import FakeProvider

pytestmark = pytest.mark.hostile

NAMES = ("..", ".", "", "../victim", "/etc", "a/../../victim", "a/b", "x\0y", "x\ny", "n" * 300, "../../../../victim\r\n", "a/")


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_is_none_makes_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="cannot be the name"):
        paths.below(tmp_path, name)
    with pytest.raises(BadInput):
        paths.below(tmp_path, "fine", name, "fine")
    if name.strip("./") or name == "..":
        with pytest.raises(BadInput):
            paths.inside(tmp_path / "seeds", f"{tmp_path}/seeds/x/../../{name}")


@pytest.mark.parametrize("name", ["desktop-1", "0b1c-22", "Büro 1", "7", ".hidden", "a..b"])
def test_a_plain_name_makes_one(tmp_path: Path, name: str) -> None:
    assert paths.below(tmp_path, name) == tmp_path / name == paths.inside(tmp_path, str(tmp_path / name))


PATHS: dict[str, Callable[[Settings, str], Any]] = {
    "data disk": lambda settings, name: settings.data_disk(name),
    "kept disk": lambda settings, name: settings.kept_disk(name),
    "machine": lambda settings, name: settings.machine_folder(name),
    "seed": lambda settings, name: build.seed_folder(name, 1, settings),
    "version of a seed": lambda settings, name: build.seed_folder("small", name, settings),  # type: ignore[arg-type]
    "log of a seed": lambda settings, name: build.seed_log(name, 1, settings),
    "work": lambda settings, name: build.work_folder(name, settings),  # type: ignore[arg-type]
    "seed of the image": lambda settings, name: shipped.shipped_seed(name, settings),
    "snapshot": lambda settings, name: snapshot.folder_of(snapshot.SnapshotJob(1, name, 1, {}, {}), settings),
    "machine of the provider": lambda settings, name: LibvirtProvider(settings).destroy(name),
    "catalog for going back": lambda settings, name: installation.copy_folder(settings, name),
    "copies of a data disk": lambda settings, name: disk_copies.write_manifest(
        DataDisk(id=name, name="x", machine_class="small", size=1), None, now(), 1, settings, FakeProvider()
    ),
}


@pytest.mark.parametrize("what", PATHS)
def test_nothing_of_the_catalog_leads_elsewhere(what: str, settings: Settings) -> None:
    for name in ("../../victim", "/etc/passwd", "a/b", "x\n"):
        with pytest.raises(BadInput):
            PATHS[what](settings, name)


def test_a_class_in_the_catalog_named_like_a_way_out_removes_nothing(opened: Settings, small: Class) -> None:
    """What a web process that was taken over did: a class and a removed seed of it, for root to remove its folder."""
    victim = opened.state / "victim" / "1"
    victim.mkdir(parents=True)
    (victim / "kept").write_text("somebody's")
    with catalog.write():
        Class.insert({**small.__data__, "name": "../victim"}).execute()
        seed = Seed.create(machine_class="../victim", version=1, state=SeedState.REMOVED, files={"disk": "x"})
        made = Snapshot.create(seed=seed.id, state=SnapshotState.STALE, folder=str(victim))
    with pytest.raises(BadInput):
        forks.folder(made, opened)  # nor does a folder that a snapshot's row names count
    seed_builds.remove(seed, opened)
    assert (victim / "kept").read_text() == "somebody's"
    assert Seed.get_by_id(seed.id).files == {}  # it is not tried again for ever


@pytest.mark.parametrize("which", ["disk", "kernel", "initrd"])
def test_no_file_of_the_host_becomes_a_machines_disk_or_kernel(opened: Settings, ready: Callable[..., list[Machine]], which: str) -> None:
    machine = ready(1)[0]
    assert spec(machine, opened).seed_disk == opened.seeds / "small/1/disk.qcow2"
    for file in ("/etc/shadow", str(opened.web_secret), f"{opened.seeds}/../tls/key.pem", str(opened.seeds)):
        Seed.update(files={**machine.seed.files, which: file}).execute()
        with pytest.raises(BadInput):
            spec(Machine.get(Machine.id == machine.id), opened)


def test_no_folder_of_the_host_becomes_a_snapshot(opened: Settings, ready: Callable[..., list[Machine]]) -> None:
    machine = ready(1)[0]
    Machine.update(snapshot=Snapshot.create(seed=machine.seed_id, state=SnapshotState.READY, folder="/etc").id).execute()
    with pytest.raises(BadInput):
        spec(Machine.get(Machine.id == machine.id), opened)


def test_no_folder_of_the_host_becomes_a_seed_of_the_image(opened: Settings, small: Class, tmp_path: Path) -> None:
    seed = Seed.create(machine_class="small", version=2, manifest={"shipped": str(tmp_path)})
    loaded = type("Loaded", (), {"scenario": type("Scenario", (), {"classes": {"small": object()}}), "folder": tmp_path})
    seed_builds.run(seed, loaded, opened)  # type: ignore[arg-type]
    found = Seed.get_by_id(seed.id)
    assert (found.state, "does not lie in" in found.problem) == (SeedState.FAILED, True)


def test_no_file_of_the_host_is_restored_as_a_copy(opened: Settings, small: Class, alice: Any) -> None:
    facts = {"disk": "0" * 36, "size": 1, "backup": "/etc/shadow"}
    step = type("Step", (), {"report": lambda _: None})
    with pytest.raises(BadInput, match="does not lie in"):
        retention.Retention(opened, FakeProvider())._restore(facts, small, catalog.Account.get_by_id(alice.account_id), step)  # type: ignore[arg-type]


# -- what is asked over dpe-host's socket ----------------------------------------------------------------


@pytest.fixture(scope="module")
def all_verbs() -> dict[str, AnyVerb]:
    return declared()


def wrong(kind: Any) -> list[Any]:
    """Values that are not of this type, though much of it would pass for one where types are taken lightly."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated:
        return wrong(inner[0])
    if kind is str:
        return [1, None, ["x"], {"x": 1}, "x" * (1 << 17)]
    if kind is bool:
        return ["yes", "true", 1, 0, None, []]
    if kind is int:
        return ["1", 1.5, True, None, []]
    if origin in (list, tuple):
        return ["x", {"0": "x"}, 1, None]
    if origin is typing.Literal:
        return ["no such", 1, None]
    return [object]


def test_every_argument_of_every_verb_is_checked_against_its_type(all_verbs: dict[str, AnyVerb]) -> None:
    """New verbs are among them by themselves: what is not of the type, or not asked for at all, never reaches a verb."""
    tried = 0
    for name, verb in all_verbs.items():
        with pytest.raises(BadInput):
            verb.read({"no_such_argument": 1})
        for field, about in verb.arguments.model_fields.items():
            assert about.annotation is not Any, (name, field)
            for value in wrong(about.annotation):
                if value is object:
                    continue
                tried += 1
                with pytest.raises(BadInput) as refused:
                    all_verbs[name].read({field: value})
                assert field in refused.value.message or "required" in refused.value.message, (name, field, value)
    assert tried > 50


@pytest.mark.parametrize("name", ["update.inspect", "catalog.put_back", "restore.begin", "restore.copies"])
def test_names_that_become_files_are_names(all_verbs: dict[str, AnyVerb], name: str) -> None:
    field = next(field for field in ("file", "name", "snapshot") if field in all_verbs[name].arguments.model_fields)
    for value in ("../x.raucb", "/etc/passwd", "..", "", "20260101T000000Z\n", "abcdef12\n", "a.raucb\n", "--help"):
        with pytest.raises(BadInput):
            all_verbs[name].read({field: value})
