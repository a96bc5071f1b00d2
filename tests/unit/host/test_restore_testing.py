"""Whether a backup can be restored, with a folder in restic's place."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from appliance import catalog
from appliance.catalog import Account, Event, options
from appliance.errors import Conflict, DpeError
from appliance.host.backup import appliance_backup, restore_testing
from appliance.host.backup.appliance_backup import MANIFEST, WORK, Copy
from appliance.host.rpc.registry import Host, load
from appliance.host.system import conditions
from appliance.settings import Settings
from tests.hosted import used
from tests.unit.host.backed_up import small_appliance
from tests.unit.host.test_backup_target import configured
from webui.admin.backups import Schedule

pytestmark = pytest.mark.backup
load()  # all that dpe-host tells of


class Backed(NamedTuple):
    """An appliance that was backed up, and what is at the target."""

    settings: Settings
    there: Path
    fetched: list[tuple[Any, ...]]  # what restic was asked for

    def manifest(self, **values: Any) -> None:
        file = self.there / WORK / MANIFEST
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    def test(self) -> Any:
        return used("restore.test", Host(self.settings, "grace"))

    def last(self) -> dict[str, Any]:
        return appliance_backup.last(self.settings)

    def events(self) -> list[str]:
        catalog.attach(self.settings.catalog)
        try:
            return [str(one.kind) for one in Event.select().where(Event.kind.startswith("backup."))]
        finally:
            catalog.close()


@pytest.fixture
def backed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Backed:
    settings = small_appliance(tmp_path / "s")
    (settings.state / "web-secret").write_text("secret")
    settings.tls.mkdir(exist_ok=True)
    (settings.tls / "certificate.pem").write_text("certificate")
    configured(settings)
    there, fetched, slow = tmp_path / "there", [], tmp_path / "slow"
    (work := there / WORK).mkdir(parents=True)
    (disk := tmp_path / "thesis.qcow2").write_bytes(b"x" * 10)
    catalog.open(settings.catalog)
    of = catalog.DataDisk(id="d1", name="thesis", machine_class="small", account=Account.get())
    known = appliance_backup.configured(settings)
    manifest = appliance_backup._gather(work, [Copy(of, disk)], known, Host(settings))
    catalog.close()
    for name in manifest.files:
        if not name.startswith(WORK):
            (to := there / name.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (settings.state / name).is_dir() else shutil.copyfile)(settings.state / name, to)

    class There:
        def snapshots(self) -> list[dict[str, Any]]:
            return [{"id": "ab" * 8, "time": "2026-11-30T02:30:00Z"}]

        def ask(self, *arguments: Any) -> str:
            return (there / arguments[-1].lstrip("/")).read_text()

        def follow(self, host: Host, *arguments: Any, cwd: Path, heard: Callable[[str], None]) -> int:
            fetched.append(arguments)
            if slow.exists():  # as restic is ended
                assert host.cancelled.wait(20)
                raise Conflict("It was cancelled.", "What was there before is untouched.")
            shutil.copytree(there, arguments[arguments.index("--target") + 1], dirs_exist_ok=True)
            return 0

    @contextmanager
    def repository(settings: Settings, patience: float = 0) -> Iterator[There]:
        yield There()

    monkeypatch.setattr(appliance_backup, "repository", repository)
    return Backed(settings, there, fetched)


def test_what_could_be_restored_is_told_and_nothing_is_left(backed: Backed) -> None:
    (restore_testing.place(backed.settings) / "of one that was killed").mkdir(parents=True)
    found = backed.test()
    assert found["whole"]
    assert "The newest backup could be restored: 1 people, 0 machines" in found["words"]
    assert "--include" not in backed.fetched[0]
    assert (backed.last()["test_ok"], backed.last()["test_words"]) == (True, found["words"])
    assert backed.last()["tested_at"] == backed.last()["test_ok_at"]
    assert backed.events() == ["backup.restore_tested"]
    assert not restore_testing.place(backed.settings).exists()
    # Data disks and seeds are left out where they do not fit.
    backed.manifest(bytes=1 << 60)
    found = backed.test()
    assert not found["whole"]
    assert "left out" in found["words"]
    included = [str(one) for one in backed.fetched[1]]
    assert f"/{WORK}/catalog.db" in included
    assert "/web-secret" in included
    assert not any("thesis" in one for one in included)


def _no_room(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 10, 0))  # type: ignore[attr-defined]


def _no_disk(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    next(backed.there.rglob("thesis.qcow2")).unlink()


def _damaged(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    with (backed.there / WORK / "catalog.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"x" * 8192)


def _no_secret(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    backed.manifest(files=[f"{WORK}/catalog.db"])


def _other(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    catalog.open(backed.settings.catalog)
    with catalog.write():
        options.put("lineage", {"id": "another", "generation": 9})
    catalog.close()


def _older(backed: Backed, patch: pytest.MonkeyPatch) -> None:
    catalog.open(backed.settings.catalog)
    with catalog.write():
        options.put("lineage", {**options.get("lineage"), "generation": -1})
    catalog.close()


WRONG = {
    _no_room: "no room to try",
    _no_disk: "lacks 1 of its files, among them",
    _no_secret: "among them web-secret",
    _damaged: "is damaged",
    _other: "another appliance's catalog",
    _older: "does not",
}


def test_what_could_not_be_restored_is_told(backed: Backed, tmp_path: Path) -> None:
    whole = shutil.copytree(backed.there, tmp_path / "whole")
    for wrong, said in WRONG.items():
        shutil.rmtree(backed.there)
        shutil.copytree(whole, backed.there)
        with pytest.MonkeyPatch.context() as patch:
            wrong(backed, patch)
            with pytest.raises(DpeError, match=said):
                backed.test()
        assert said in backed.last()["test_error"]
        assert not backed.last()["test_ok"]
        assert not restore_testing.place(backed.settings).exists()
        found = conditions.known(backed.settings).backups
        assert found is not None
        assert said in found.restore_problem
    assert set(backed.events()) == {"backup.not_restorable"}
    host = Host(backed.settings)
    host.cancelled.set()
    before = backed.last()["tested_at"], len(backed.events())
    with pytest.raises(DpeError):
        used("restore.test", host)
    assert (backed.last()["tested_at"], len(backed.events())) == before, "whoever cancels one says nothing of the backups"


def test_one_that_takes_too_long_is_ended_and_told(backed: Backed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow").touch()
    monkeypatch.setattr(restore_testing, "longest", lambda size: 0.01)
    host = Host(backed.settings, "grace")
    with pytest.raises(DpeError, match="it took too long"):
        used("restore.test", host)
    assert not host.cancelled.is_set(), "nobody cancelled it"
    assert not restore_testing.place(backed.settings).exists()
    assert (backed.last()["test_ok"], "took too long" in backed.last()["test_error"]) == (False, True)
    assert backed.events() == ["backup.not_restorable"]
    found = conditions.known(backed.settings).backups
    assert found is not None
    assert "took too long" in found.restore_problem


def test_who_cancels_one_in_time_is_not_told_that_it_took_long(backed: Backed, tmp_path: Path) -> None:
    (tmp_path / "slow").touch()
    host = Host(backed.settings, "grace")
    host.cancelled.set()
    with pytest.raises(DpeError, match="It was cancelled"):
        used("restore.test", host)
    assert backed.events() == []
    assert not restore_testing.place(backed.settings).exists()


@pytest.mark.parametrize(("size", "hours"), [(0, 1), (15 << 30, 2), (1 << 50, 24)])
def test_a_larger_backup_has_more_time(size: int, hours: int) -> None:
    assert restore_testing.longest(size) == hours * 3600
    assert "an hour and a minute more for each 256 MiB, a day at most" in str(Schedule.model_fields["restore_test"].description)
