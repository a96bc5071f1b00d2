"""Updates from the file that was sent to the history of them: what is kept, refused, put back and said."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from appliance import catalog
from appliance.catalog import Event, database, lineage, options
from appliance.errors import BadInput, Conflict, NotFound, Unavailable
from appliance.host.interface.updates import Switch
from appliance.host.rpc.registry import Host
from appliance.host.updates import health, installation, rauc
from appliance.settings import Settings
from tests.fake_rauc import GOOD, FakeHost
from tests.hosted import used

NEWEST = database.versions()[-1]


@pytest.fixture
def ask(fake_host: FakeHost, opened: Settings) -> Callable[..., Any]:
    """Use a verb as dpe-host does: `ask("update.status")`."""

    def use(name: str, **args: Any) -> Any:
        return used(name, Host(opened, "grace"), **args)

    return use


@pytest.fixture
def send(opened: Settings, ask: Callable[..., Any]) -> Callable[..., Any]:
    def take(data: bytes = GOOD) -> Any:
        (opened.uploads / "a1.raucb").write_bytes(data)
        return ask("update.inspect", file="a1.raucb")

    return take


def soon() -> str:
    return (datetime.now(UTC) + timedelta(minutes=5)).isoformat()


def written(ask: Callable[..., Any], send: Callable[..., Any]) -> None:
    send()
    ask("update.install", version="1.3.0")


def switched(settings: Settings, ask: Callable[..., Any], send: Callable[..., Any]) -> Switch:
    """Up to the moment of the restart."""
    written(ask, send)
    ask("update.restart", at=datetime.now(UTC).isoformat())
    installation.restart_when_due(settings)
    found = installation.pending(settings)
    assert found is not None
    return found


def kinds() -> list[str]:
    return [event.kind for event in Event.select().order_by(Event.id) if event.kind.startswith("update.")]


def make_newer(settings: Settings) -> None:
    """The catalog as a later version of the product leaves it."""
    catalog.close()
    with sqlite3.connect(settings.catalog) as connection:
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
    connection.close()


# -- taking in -------------------------------------------------------------------------------------


def test_a_good_update_is_kept_where_the_web_process_cannot_reach_it(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings
) -> None:
    said = send()
    assert (said["version"], said["signed_by"], said["size"], said["by"]) == ("1.3.0", "Our builds", len(GOOD), "grace")
    assert list(opened.uploads.iterdir()) == []
    kept = installation.bundle_file(opened)
    assert kept.read_bytes() == GOOD
    assert (kept.stat().st_mode & 0o777, opened.updates.stat().st_mode & 0o777) == (0o600, 0o700)
    assert ask("update.status")["staged"]["version"] == "1.3.0"
    ask("update.discard")
    assert not kept.exists()
    assert ask("update.status")["staged"] is None


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("data", "facts", "words"),
    [
        (GOOD[:9000], {}, "only a part of one"),
        (b"foreign" + GOOD, {}, "not signed by anybody"),
        (GOOD[:5000] + b"x" + GOOD[5001:], {}, "not all of it is what was signed"),
        (GOOD, {"compatible": "toaster"}, "of another product (toaster)"),
        (GOOD, {"version": "../../etc"}, "does not say its version"),
        (GOOD, {"version": ""}, "does not say its version"),
    ],
    ids=["cut", "other key", "tampered", "product", "version", "no version"],
)
def test_a_bad_update_is_refused_in_words_and_gone(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost, data: bytes, facts: dict[str, str], words: str,
) -> None:  # fmt: skip
    send()
    fake_host.bundle(**facts)
    with pytest.raises(BadInput) as refused:
        send(data)
    assert words in refused.value.message
    assert refused.value.hint
    assert [file.name for file in opened.updates.iterdir() if file.is_file()] == ["staged.raucb"]  # the one before stays
    assert list(opened.uploads.iterdir()) == []
    assert not any("install" in line for line in fake_host.asked)


@pytest.mark.badinput
@pytest.mark.parametrize("name", ["../x.raucb", "x", "a/b.raucb", ".raucb", "x.raucb\n"])
def test_no_other_name_is_taken(ask: Callable[..., Any], name: str) -> None:
    with pytest.raises(BadInput):
        ask("update.inspect", file=name)


def test_no_link_is_followed(ask: Callable[..., Any], opened: Settings, tmp_path: Path) -> None:
    """The web process, gone bad, may put anything there."""
    secret = tmp_path / "secret"
    secret.write_bytes(GOOD)
    (opened.uploads / "l.raucb").symlink_to(secret)
    with pytest.raises(NotFound):
        ask("update.inspect", file="l.raucb")
    os.link(secret, opened.uploads / "h.raucb")
    with pytest.raises(BadInput):
        ask("update.inspect", file="h.raucb")
    assert secret.read_bytes() == GOOD
    with pytest.raises(NotFound):
        ask("update.inspect", file="none.raucb")


@pytest.mark.badinput
def test_an_update_of_another_scenario_is_refused(send: Callable[..., Any], fake_host: FakeHost) -> None:
    fake_host.boot("A", "1.2.0", scenario="website")
    with pytest.raises(BadInput, match="for the scenario notebook; this appliance serves website"):
        send()


def test_whatever_the_web_process_made_of_that_name_is_gone_afterwards(ask: Callable[..., Any], opened: Settings) -> None:
    (opened.uploads / "d.raucb" / "x").mkdir(parents=True)
    os.mkfifo(opened.uploads / "f.raucb")
    for name in ("d", "f"):
        with pytest.raises(BadInput, match="no file that was sent"):
            ask("update.inspect", file=f"{name}.raucb")
    assert list(opened.updates.iterdir()) == []


def test_elsewhere_than_in_the_image_there_are_no_updates(ask: Callable[..., Any], fake_host: FakeHost) -> None:
    (fake_host.folder / "image.json").unlink()
    assert ask("update.status")["image"] is None
    with pytest.raises(Unavailable, match="Debian of your own"):
        ask("update.inspect", file="a.raucb")
    with pytest.raises(Unavailable):
        ask("update.install", version="1")


# -- installing ------------------------------------------------------------------------------------


def test_an_update_is_written_to_the_other_slot_and_the_catalog_kept(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost
) -> None:  # fmt: skip
    written(ask, send)
    assert f"rauc install {installation.bundle_file(opened)}" in fake_host.asked
    state = ask("update.status")
    assert (state["installed"]["version"], state["installed"]["slot"], state["slots"][1]["version"]) == ("1.3.0", "B", "1.3.0")
    [copy] = installation.copies(opened)
    assert (copy.version, copy.catalog) == ("1.2.0", NEWEST)
    assert not any("mark-active" in line for line in fake_host.asked)  # nothing changes before the restart
    assert kinds() == ["update.installed"]


@pytest.mark.parametrize(("version", "words"), [("1.2.0", "is the version that runs"), ("1.1.9", "is older than 1.2.0")])
def test_what_is_no_newer_is_installed_only_when_that_is_said(
    send: Callable[..., Any], ask: Callable[..., Any], fake_host: FakeHost, version: str, words: str
) -> None:  # fmt: skip
    fake_host.bundle(version=version)
    send()
    with pytest.raises(Conflict, match=words):
        ask("update.install", version=version)
    ask("update.install", version=version, older=True)
    assert ask("update.status")["installed"]["version"] == version


@pytest.mark.parametrize(
    ("a", "b", "is_newer"),
    [
        ("1.10.0", "1.9.9", True),
        ("1.2", "1.2.0", False),
        ("2026.11.21", "2026.11.3", True),
        ("1.2.0", "1.2.0", False),
        # A release is newer than its candidates, however those are written, and than a build that says no version.
        ("1.2.0", "1.2.0rc1", True),
        ("1.2.0~rc1", "1.2.0", False),
        ("1.2.0-rc.2", "1.2.0rc1", True),
        ("1.2.0", "nightly", True),
        ("nightly", "1.2.0", False),
        ("0.1.0.15", "0.1.0.9", True),
    ],
)
@pytest.mark.cases
def test_versions_are_compared_as_what_they_are(a: str, b: str, is_newer: bool) -> None:
    assert installation.newer(a, b) is is_newer


def test_a_failed_installation_leaves_nothing_to_switch_to(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost
) -> None:  # fmt: skip
    written(ask, send)
    (fake_host.folder / "fails").touch()
    with pytest.raises(Unavailable, match="could not be written"):
        ask("update.install", version="1.3.0")
    state = ask("update.status")
    assert (state["installed"], state["slots"][1]["version"]) == (None, "")
    with pytest.raises(Conflict, match="No update is written"):
        ask("update.restart", at=soon())
    assert installation.bundle_file(opened).exists()  # it can be tried again


def test_a_bundle_that_was_damaged_on_the_disk_meanwhile_is_not_written(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost
) -> None:  # fmt: skip
    send()
    data = bytearray(GOOD)
    data[7000] ^= 4
    installation.bundle_file(opened).write_bytes(data)
    with pytest.raises(BadInput):
        ask("update.install", version="1.3.0")
    assert not any("install" in line for line in fake_host.asked)


def test_too_little_room_is_said_before_anything_is_done(
    send: Callable[..., Any], ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, fake_host: FakeHost
) -> None:  # fmt: skip
    send()
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda _: SimpleNamespace(free=100 << 20))
    with pytest.raises(Unavailable, match="100 MiB are free"):
        ask("update.install", version="1.3.0")
    assert not any("install" in line for line in fake_host.asked)


# -- switching -------------------------------------------------------------------------------------


def test_the_restart_comes_when_its_time_has_come_and_not_before(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost
) -> None:  # fmt: skip
    written(ask, send)
    ask("update.restart", at=soon())
    installation.restart_when_due(opened)
    assert not any("systemctl" in line for line in fake_host.asked)
    ask("update.stay")
    assert ask("update.status")["plan"] is None
    ask("update.restart", at=datetime.now(UTC).isoformat())
    installation.restart_when_due(opened)
    assert [line for line in fake_host.asked if not line.startswith(("rauc info", "rauc status --"))][-3:] == [
        f"grub-editenv {installation.GRUB} set trial=B", "rauc status mark-active other", "systemctl reboot",
    ]  # fmt: skip
    trial = installation.pending(opened)
    assert trial is not None
    assert (trial.before, trial.version, trial.slot, trial.back, trial.makes) == ("1.2.0", "1.3.0", "B", False, False)
    with pytest.raises(Conflict, match="still being looked at"):
        send()


@pytest.mark.badinput
@pytest.mark.parametrize("at", ["2020-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00", "2026-11-21T10:00:00", "soon"])
def test_no_other_time_is_taken(send: Callable[..., Any], ask: Callable[..., Any], at: str) -> None:
    written(ask, send)
    with pytest.raises(BadInput):
        ask("update.restart", at=at)


def test_a_switch_that_cannot_be_made_is_called_off_and_told(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(ask, send)
    ask("update.restart", at=datetime.now(UTC).isoformat())

    def broken(*_: object) -> None:
        raise Unavailable("RAUC is away.")

    monkeypatch.setattr(rauc, "mark", broken)
    installation.restart_when_due(opened)
    assert installation.pending(opened) is None
    assert ask("update.status")["plan"] is None
    assert kinds()[-1] == "update.no_restart"


# -- the first start of what is new ------------------------------------------------------------------


def test_what_is_good_stays(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = switched(opened, ask, send)
    fake_host.boot("B", "1.3.0")
    installation.settle(opened)
    assert installation.pending(opened) == trial  # on trial until it was looked at
    monkeypatch.setattr(health.Health, "check", lambda _: None)
    assert health.judge(opened, datetime.now(UTC))
    assert installation.pending(opened) is None
    assert fake_host.asked[-2:] == ["rauc status mark-good booted", f"grub-editenv {installation.GRUB} unset trial"]
    state = ask("update.status")
    assert (state["past"][0]["outcome"], state["installed"], state["staged"]) == ("updated", None, None)
    assert kinds()[-1] == "update.updated"
    assert health.judge(opened, datetime.now(UTC))  # nothing is on trial any more


def test_what_is_not_good_is_gone_back_from_and_the_reason_is_kept(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    switched(opened, ask, send)
    fake_host.boot("B", "1.3.0")
    installation.settle(opened)

    def broken(_: object) -> None:
        raise Unavailable("The web page answers 502.")

    monkeypatch.setattr(health.Health, "check", broken)
    assert not health.judge(opened, datetime.now(UTC))
    assert fake_host.asked[-1] == "rauc status mark-bad booted"
    fake_host.boot("A", "1.2.0", other="bad")  # as the boot loader does
    installation.settle(opened)
    state = ask("update.status")
    past = state["past"][0]
    assert (past["outcome"], past["reason"], past["before"], past["version"]) == (
        "rolled back",
        "The web page answers 502.",
        "1.2.0",
        "1.3.0",
    )
    assert past["catalog_of"] is None  # it is as it was left: nothing is lost
    assert state["staged"]["version"] == "1.3.0"  # it may be wanted once more
    assert state["back"] is None  # not to what was not good
    [event] = Event.select().where(Event.kind == "update.rolled_back")
    assert "502" in event.message
    assert event.level == "error"
    installation.settle(opened)
    assert len(ask("update.status")["past"]) == 1


def test_what_did_not_even_start_is_gone_back_from(send: Callable[..., Any], ask: Callable[..., Any], opened: Settings) -> None:
    switched(opened, ask, send)
    installation.settle(opened)  # still slot A: the boot loader came back
    assert "did not start" in ask("update.status")["past"][0]["reason"]
    assert installation.pending(opened) is None


def test_going_back_by_itself_puts_the_catalog_back_that_this_version_knows(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost
) -> None:  # fmt: skip
    with catalog.write():
        options.put("title", "Before")
    switched(opened, ask, send)
    with catalog.write():
        options.put("title", "Meanwhile, and lost")
    lineage.keep_mark(opened.mark, lineage.here())
    make_newer(opened)
    with pytest.raises(Conflict, match="knows versions up to"):
        catalog.open(opened.catalog)
    installation.settle(opened)  # in slot A again
    catalog.open(opened.catalog)
    assert options.get("title") == "Before"
    noted = lineage.read_mark(opened.mark)
    assert noted is not None
    assert (noted.decision, noted.by) == ("adopt", "going back to 1.2.0")  # nobody has to be asked what becomes of younger machines
    past = ask("update.status")["past"][0]
    assert past["catalog_of"] is not None
    assert {copy.version: copy.catalog for copy in installation.copies(opened)} == {
        "1.2.0": NEWEST,
        "1.3.0": NEWEST + 1,
    }  # the newer one is kept, too
    assert opened.catalog.stat().st_mode & 0o777 == 0o660


@pytest.mark.crash
def test_a_power_cut_while_the_catalog_is_put_back_leaves_one_that_is_whole(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:  # fmt: skip
    with catalog.write():
        options.put("title", "Before")
    switched(opened, ask, send)
    catalog.close()
    beside = [opened.catalog, opened.catalog.with_name(opened.catalog.name + "-wal")]
    with sqlite3.connect(opened.catalog) as connection:  # a newer version, cut off: what it wrote is still beside the catalog
        connection.execute(f"PRAGMA user_version = {NEWEST + 1}")
        connection.commit()
        for file in beside:
            shutil.copy(file, tmp_path)
    connection.close()
    for file in beside:
        shutil.copy(tmp_path / file.name, file)
    rename = Path.rename

    def cut(self: Path, target: Path) -> Path:
        if target == opened.catalog:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        with pytest.raises(KeyboardInterrupt):
            installation.settle(opened)
    assert database.check_catalog_file(opened.catalog) == NEWEST + 1
    installation.settle(opened)
    catalog.open(opened.catalog)
    assert options.get("title") == "Before"
    assert {copy.version: copy.catalog for copy in installation.copies(opened)} == {"1.2.0": NEWEST, "1.3.0": NEWEST + 1}


def test_without_a_copy_that_fits_the_catalog_stays_and_is_refused(opened: Settings, fake_host: FakeHost) -> None:
    make_newer(opened)
    installation.settle(opened)
    with pytest.raises(Conflict, match="knows versions up to"):
        catalog.open(opened.catalog)


def test_a_start_of_the_other_slot_without_any_update_is_told(opened: Settings, ask: Callable[..., Any], fake_host: FakeHost) -> None:
    installation.settle(opened)
    fake_host.boot("B", "1.1.0")
    installation.settle(opened)
    past = ask("update.status")["past"][0]
    assert (past["outcome"], past["before"], past["version"], past["by"]) == ("rolled back", "1.1.0", "1.2.0", "the boot loader")


def test_an_ordinary_start_remembers_what_runs_and_forgets_a_planned_restart(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings
) -> None:
    written(ask, send)
    ask("update.restart", at=soon())
    installation.settle(opened)
    state = ask("update.status")
    assert (state["plan"], state["slots"][0]["version"], state["past"], state["installed"]["version"]) == (None, "1.2.0", [], "1.3.0")


# -- going back by hand ------------------------------------------------------------------------------


def test_going_back_by_hand_says_what_is_lost_and_brings_the_old_catalog(
    send: Callable[..., Any], ask: Callable[..., Any], opened: Settings, fake_host: FakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    installation.settle(opened)
    with catalog.write():
        options.put("title", "Before")
    switched(opened, ask, send)
    fake_host.boot("B", "1.3.0")
    monkeypatch.setattr(health.Health, "check", lambda _: None)
    versions = database.versions()
    make_newer(opened)
    monkeypatch.setattr(database, "versions", lambda: [*versions, NEWEST + 1])  # what 1.3.0 knows
    installation.settle(opened)
    assert health.judge(opened, datetime.now(UTC))
    back = ask("update.status")["back"]
    assert back["version"] == "1.2.0"
    assert back["catalog_of"] is not None
    ask("update.back", at=datetime.now(UTC).isoformat())
    installation.restart_when_due(opened)
    fake_host.boot("A", "1.2.0")
    monkeypatch.setattr(database, "versions", lambda: versions)
    installation.settle(opened)
    assert health.judge(opened, datetime.now(UTC))
    past = ask("update.status")["past"][0]
    assert (past["outcome"], past["before"], past["version"]) == ("went back", "1.3.0", "1.2.0")
    assert past["catalog_of"] is not None
    catalog.open(opened.catalog)
    assert options.get("title") == "Before"


def test_there_is_nothing_to_go_back_to_on_a_new_appliance(ask: Callable[..., Any], opened: Settings) -> None:
    installation.settle(opened)
    assert ask("update.status")["back"] is None
    with pytest.raises(Conflict, match="no version to go back to"):
        ask("update.back", at=soon())


def test_only_the_last_copies_are_kept(opened: Settings) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        installation.keep_catalog(opened, version)
    assert [copy.version for copy in installation.copies(opened)] == ["1.2.0", "1.1.0"]


@pytest.mark.badinput
@pytest.mark.parametrize("content", ["", "{", '{"versions": 3}', "[]"])
def test_a_damaged_memory_is_as_none(opened: Settings, ask: Callable[..., Any], content: str) -> None:
    (installation.folder(opened) / "memory.json").write_text(content)
    installation.pending_file(opened).write_text(content)
    assert ask("update.status")["past"] == []
    installation.settle(opened)


def test_while_rauc_is_away_the_page_still_has_the_rest(ask: Callable[..., Any], fake_host: FakeHost) -> None:
    (fake_host.folder / "status.json").unlink()
    state = ask("update.status")
    assert state["image"]["version"] == "1.2.0"
    assert state["problem"]
    assert state["slots"] == []
