"""The page of updates, over the real dpe-host with the answers of the real RAUC."""

import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from appliance import catalog
from appliance.catalog import Event, options
from appliance.host.interface import updates as verbs
from appliance.host.interface.operations import DONE, RUNNING, Operation
from appliance.host.interface.system import Image
from appliance.host.rpc.daemon import Server
from appliance.host.updates import installation
from appliance.settings import Settings
from tests.fake_rauc import GOOD, FakeHost
from tests.hosted import serving
from tests.unit.webui.conftest import Browser
from webui import upload

PAGE = "/admin/server/updates/"


@pytest.fixture
def server(opened: Settings, fake_host: FakeHost) -> Iterator[Server]:
    with serving(opened) as made:
        yield made


@pytest.fixture
def admin(server: Server, grace: Browser) -> Browser:
    grace.get(PAGE)
    return grace


def send(browser: Browser, data: bytes = GOOD, name: str = "update.raucb") -> object:
    return browser.post(PAGE + "upload", {"file": (io.BytesIO(data), name)})


def as_script(browser: Browser, data: bytes) -> object:
    from tests.unit.webui.conftest import HOST

    headers = {"Referer": HOST + PAGE, "X-CSRFToken": browser.token, "Content-Type": "application/octet-stream"}
    return browser.client.post(PAGE + "upload", base_url=HOST, data=data, headers=headers)


def words(browser: Browser) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", browser.get(PAGE).text).split())


def test_a_new_appliance_has_its_version_and_no_history(admin: Browser) -> None:
    page = words(admin)
    assert "Version 1.2.0" in page
    assert "No update yet" in page
    assert "Roll back to" not in page


def test_on_a_debian_of_ones_own_one_sentence_says_how(admin: Browser, fake_host: FakeHost) -> None:
    (fake_host.folder / "image.json").unlink()
    page = words(admin)
    assert "git pull" in page
    assert "Upload an update" not in page


def test_while_dpe_host_is_away_the_page_says_so(grace: Browser) -> None:
    assert "does not answer" in words(grace)


@pytest.mark.parametrize("by_script", [False, True])
def test_an_update_is_sent_and_shown(admin: Browser, opened: Settings, by_script: bool) -> None:
    answer = as_script(admin, GOOD) if by_script else send(admin)
    assert answer.status_code == (200 if by_script else 303)  # type: ignore[attr-defined]
    if by_script:
        assert answer.json == {"there": PAGE}  # type: ignore[attr-defined]
    page = words(admin)
    assert "Version 1.3.0 is here" in page
    assert "Our builds" in page
    assert installation.bundle_file(opened).read_bytes() == GOOD
    assert [file.name for file in opened.uploads.iterdir()] == ["lock"]
    assert Event.select().where(Event.kind == "update.taken").count() == 1


@pytest.mark.badinput
@pytest.mark.parametrize("by_script", [False, True])
@pytest.mark.parametrize(
    ("data", "said"), [(GOOD[:9000], "only a part of one"), (b"foreign" + GOOD, "not signed by anybody"), (b"", "No file was sent")]
)
def test_a_bad_one_is_refused_in_words(admin: Browser, opened: Settings, by_script: bool, data: bytes, said: str) -> None:
    answer = as_script(admin, data) if by_script else send(admin, data, "x.raucb" if data else "")
    assert answer.status_code == 400  # type: ignore[attr-defined]
    assert said in answer.text  # type: ignore[attr-defined]
    assert (answer.json["hint"] if by_script else "Upload an update") in answer.text  # type: ignore[attr-defined]
    assert [file.name for file in opened.uploads.iterdir() if file.name != "lock"] == []
    assert not installation.bundle_file(opened).exists()


def test_left_overs_are_removed_and_only_one_is_sent_at_a_time(admin: Browser, opened: Settings) -> None:
    (opened.uploads / "old.raucb").write_bytes(b"left by a killed process")
    held = upload.layout.hold(opened.uploads / "lock", lambda _: AssertionError)  # type: ignore[arg-type, return-value]
    assert as_script(admin, GOOD).status_code == 409  # type: ignore[attr-defined]
    assert (opened.uploads / "old.raucb").exists()  # it may be the other's
    held.close()
    send(admin)
    assert not (opened.uploads / "old.raucb").exists()
    assert installation.bundle_file(opened).exists()


def test_too_little_room_is_said_before_anything_is_read(admin: Browser, opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "ROOM", 1 << 60)
    answer = as_script(admin, GOOD)
    assert answer.status_code == 503  # type: ignore[attr-defined]
    assert "too little room" in answer.json["message"]  # type: ignore[attr-defined]


def test_whoever_may_not_send_one_is_turned_away_before_a_byte_is_written(
    server: Server, ada: Browser, visitor: Browser, opened: Settings
) -> None:
    assert send(ada).status_code == 403  # type: ignore[attr-defined]
    assert send(visitor).status_code in (302, 303, 401)  # type: ignore[attr-defined]
    assert list(opened.uploads.iterdir()) == []


def test_nothing_is_taken_without_the_forms_token(admin: Browser, opened: Settings) -> None:
    admin.token = "wrong"
    assert as_script(admin, GOOD).status_code == 400  # type: ignore[attr-defined]
    assert send(admin).status_code == 400  # type: ignore[attr-defined]
    assert [file.name for file in opened.uploads.iterdir() if file.name != "lock"] == []


def test_large_files_are_for_this_page_alone(admin: Browser) -> None:
    assert admin.post("/admin/accounts/import/", {"file": (io.BytesIO(b"x" * 300_000), "a.csv")}).status_code == 413


def test_installed_restarted_called_off(admin: Browser, server: Server, opened: Settings) -> None:
    send(admin)
    assert admin.post(PAGE + "install", {"version": "1.3.0"}).status_code == 303
    assert server.operations.wait(20)
    assert "1.3.0 is written, and waits for a restart" in words(admin)
    assert admin.post(PAGE + "restart", {"when": "soon"}).status_code == 303
    page = words(admin)
    assert "The appliance restarts at" in page
    assert "for an update to 1.3.0" in page
    plan = installation.memory(opened).plan
    assert plan is not None
    assert timedelta(minutes=4) < plan.at - datetime.now(UTC) <= timedelta(minutes=5)
    admin.post(PAGE + "stay")
    assert installation.memory(opened).plan is None
    assert "The appliance restarts" not in words(admin)


def test_everybody_who_is_signed_in_sees_when(server: Server, ada: Browser, visitor: Browser) -> None:
    with catalog.write():
        options.put("restart", {"at": (datetime.now(UTC) + timedelta(minutes=4)).isoformat(), "why": "an update to 1.3.0"})
    assert "for an update to 1.3.0" in ada.get("/").text
    assert "1.3.0" not in visitor.get("/sign-in").text
    with catalog.write():
        options.put("restart", {"at": (datetime.now(UTC) - timedelta(minutes=4)).isoformat(), "why": "an update to 1.3.0"})
    assert "1.3.0" not in ada.get("/").text


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("when", "at", "said"),
    [
        ("at", "", "no time"),
        ("at", "2020-01-01T00:00", "has passed"),
        ("later", "", "no time"),
        ("at", "2199-01-01T00:00", "within a week"),
    ],
)
def test_a_wrong_time_loses_nothing(admin: Browser, server: Server, opened: Settings, when: str, at: str, said: str) -> None:
    send(admin)
    admin.post(PAGE + "install", {"version": "1.3.0"})
    assert server.operations.wait(20)
    answer = admin.post(PAGE + "restart", {"when": when, "at": at})
    assert answer.status_code == 400
    assert said in answer.text
    assert f'value="{at}"' in answer.text
    assert options.get("restart") == {}


def test_an_older_one_is_said_plainly_and_not_installed_by_mistake(
    admin: Browser, server: Server, opened: Settings, fake_host: FakeHost
) -> None:
    fake_host.bundle(version="1.1.0")
    send(admin)
    assert "This is older than 1.2.0" in words(admin)
    admin.post(PAGE + "install", {"version": "1.1.0"})
    assert server.operations.wait(20)
    assert "1.1.0 is older than 1.2.0, which runs." in words(admin)
    assert installation.memory(opened).installed is None
    admin.post(PAGE + "install", {"version": "1.1.0", "older": "on"})
    assert server.operations.wait(20)
    assert installation.memory(opened).installed is not None


def test_what_was_rolled_back_is_said_with_its_reason(admin: Browser, opened: Settings) -> None:
    trial = installation.Switch(before="1.2.0", version="1.3.0", slot="B", by="grace", at=datetime.now(UTC), back=False, catalog=1)
    installation.end_update(opened, trial, installation.ROLLED_BACK, reason="The web page answers 502.")
    page = words(admin)
    assert "The update to 1.3.0 was not good, and the appliance went back to 1.2.0 by itself" in page
    assert "The web page answers 502." in page
    assert "rolled back" in page


@pytest.mark.badinput
@pytest.mark.parametrize(
    "address", ["http://updates.example.org/x", "https://", "https://a:b@c/x", "ftp://x", "https://x y/", "file:///etc/passwd"]
)
def test_a_wrong_address_is_refused_and_kept_in_the_form(admin: Browser, address: str) -> None:
    answer = admin.post(PAGE + "source", {"address": address, "daily": "on"})
    assert answer.status_code == 400
    assert "is not an address of updates" in answer.text
    assert f'value="{address}"' in answer.text


def test_an_address_is_kept(admin: Browser, opened: Settings) -> None:
    assert "asks nobody for updates" in words(admin)
    assert admin.post(PAGE + "source", {"address": "https://updates.example.org/dpe.raucb", "daily": "on"}).status_code == 303
    page = words(admin)
    assert "https://updates.example.org/dpe.raucb : not asked yet." in page
    admin.post(PAGE + "source", {"address": ""})
    assert "asks nobody for updates" in words(admin)


class Ending:
    """dpe-host, where an update is written until it has given so many answers."""

    def __init__(self, answers: int) -> None:
        self.left = answers

    def operations(self) -> list[Operation]:
        return [Operation(**self._answer(OPERATION | {"state": RUNNING}, OPERATION | {"state": DONE}))]

    def call(self, verb: Any) -> Any:
        if verb is verbs.SOURCE:
            return self._answer(verbs.Source(), verbs.Source())
        moment = datetime.now(UTC)
        written = verbs.Installed(version="1.3.0", slot="B", by="grace", at=moment)
        here = Image(version="1.2.0", built_at=moment, scenario="research")
        return self._answer(verbs.Status(image=here), verbs.Status(image=here, installed=written))

    def _answer(self, before: Any, after: Any) -> Any:
        self.left -= 1
        return before if self.left >= 0 else after


OPERATION = {"id": "1", "verb": "update.install", "title": "Install", "by": "grace", "begun_at": "2026-11-30T20:00:00+00:00"}


@pytest.mark.parametrize("answers", range(4))
def test_what_ends_between_the_questions_is_looked_at_again(opened: Settings, monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    """Else the page would say for good that nothing runs and nothing is written."""
    from appliance.services import updates as service

    monkeypatch.setattr(service, "Client", lambda settings: Ending(answers))
    found = service.state(opened)
    assert found is not None
    assert service.is_running(found) or found.memory.installed is not None


def test_the_night_is_the_next_three_o_clock_here(opened: Settings) -> None:
    from appliance.services import updates as service

    with catalog.write():
        options.put("time_zone", "Europe/Berlin")
    at = service.time_of("night", "")
    assert timedelta(0) < at - datetime.now(UTC) <= timedelta(days=1, hours=1)
    assert at.astimezone(ZoneInfo("Europe/Berlin")).hour == 3


def test_the_uploads_folder_is_all_that_is_written(opened: Settings) -> None:
    assert oct(opened.uploads.stat().st_mode & 0o7777) == "0o2770"
    assert isinstance(opened.uploads, Path)
