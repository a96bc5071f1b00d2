"""The rescue page: it comes when the others do not, and lets in whom it should."""

import os
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from appliance import catalog, language
from appliance.access import cookies
from appliance.catalog import Account, RecoveryCode, SecondFactor, now, options
from appliance.host.backup import catalog_copies
from appliance.host.console import rescue
from appliance.host.interface import backups, disks
from appliance.host.interface.rescue import BUNDLE
from appliance.host.rpc import operations
from appliance.host.rpc.daemon import Server
from appliance.host.rpc.registry import HANDLERS, Host
from appliance.host.rpc.verb import Nothing
from appliance.host.system import image, processes, support_bundle
from appliance.identity import totp
from appliance.services import setup
from appliance.settings import Settings
from tests import world
from tests.hosted import do_instead, serving
from tests.pages import Page as Elements
from tests.pages import is_at
from tests.unit.host.test_rescue import DAMAGE
from tests.unit.webui import marked
from tests.unit.webui.conftest import HOST
from webui.rescue import create_rescue
from webui.rescue.actions import ACTIONS

SECRET = "JBSWY3DPEHPK3PXP"


class Page:
    """A browser on the rescue page."""

    def __init__(self, settings: Settings, memory: Path | None = None, address: str = "10.0.0.7") -> None:
        self.app = create_rescue(settings, memory)
        self.client = self.app.test_client()
        self.address = address
        self.token = ""

    def get(self, path: str, **headers: str) -> TestResponse:
        answer = self.client.get(path, base_url=HOST, headers={"X-Forwarded-For": self.address, **headers})
        if "html" in answer.content_type and (found := re.search(r'name="csrf_token" value="([^"]+)"', answer.text)):
            self.token = found[1]
        return answer

    def post(self, path: str, **data: str) -> TestResponse:
        headers = {"X-Forwarded-For": self.address, "Referer": HOST + path}
        return self.client.post(path, base_url=HOST, data={"csrf_token": self.token, **data}, headers=headers)

    def sign_in(self, name: str = "grace", password: str = world.PASSWORD, code: str = "") -> TestResponse:
        self.get("/rescue/sign-in")
        answer = self.post("/rescue/sign-in", name=name, password=password, code=code)
        if answer.status_code == 303:
            self.get("/rescue/repair/bundle")  # a page with a form, for its token
        return answer

    def until(self, path: str, words: str) -> TestResponse:
        """The page, as soon as it says these words."""
        deadline = time.monotonic() + 20
        while words not in (answer := self.get(path)).text:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.02)
        return answer


@pytest.fixture
def grace(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> Account:
    """An owner, of an appliance that is set up; `ada` is none."""
    monkeypatch.setattr(image, "boot_image", lambda: None)
    world.set_up("Hillside School")
    world.account("ada")
    found: Account = Account.get_by_id(world.account("grace", is_admin=True).account_id)
    rescue.write_rescue(opened)
    return found


@pytest.fixture
def host(opened: Settings) -> Iterator[Server]:
    """dpe-host, on its socket."""
    with serving(opened) as server:
        yield server


@pytest.fixture
def page(opened: Settings, grace: Account, host: Server) -> Page:
    """Where grace is signed in, and dpe-host answers."""
    found = Page(opened)
    assert found.sign_in().status_code == 303
    return found


# -- on its own feet ----


def test_it_starts_and_answers_without_catalog_host_or_state(settings: Settings) -> None:
    settings.catalog.unlink()
    found = Page(settings)
    assert found.get("/rescue/healthz").status_code == 200
    assert "Nobody can sign in here" in found.get("/rescue/sign-in").text


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_owner_signs_in_whatever_happened_to_the_catalog(
    opened: Settings, grace: Account, host: Server, damage: Callable[[Path], None]
) -> None:
    copy = catalog_copies.make(opened)
    catalog.close()
    damage(opened.catalog)
    found = Page(opened)
    assert found.sign_in().status_code == 303
    status = found.get("/rescue/")
    assert status.status_code == 200
    assert "The catalog " in status.text
    assert "Restore a copy" in status.text
    if damage.__name__ == "folder":
        opened.catalog.rmdir()
    assert found.post("/rescue/repair/catalog", choice=copy.name).status_code == 303
    assert host.operations.wait(10)
    assert operations.everything(opened)[0].state == operations.DONE
    assert "Everything that can be seen from here works." in found.get("/rescue/").text


def test_it_says_so_when_dpe_host_is_down(opened: Settings, grace: Account) -> None:
    found = Page(opened)
    assert found.sign_in().status_code == 303
    for path in ("/rescue/", "/rescue/logs", "/rescue/repair", "/rescue/repair/part"):
        assert "(dpe-host) does not answer" in found.get(path).text
    answer = found.post("/rescue/repair/part", choice="web")
    assert answer.status_code == 503
    assert "does not answer" in answer.text


def test_a_full_disk_is_the_first_thing_to_see_to_and_keeps_nobody_out(page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("webui.rescue.status.LITTLE", 1 << 60)
    text = page.get("/rescue/").text
    assert "The disk is nearly full." in text
    page.app.config["DOOR"].memory = tmp_path / "missing" / "failures.json"  # nothing can be written there
    assert page.post("/rescue/sign-out").status_code == 303
    assert page.sign_in(password="wrong").status_code == 403
    assert page.sign_in().status_code == 303


# -- languages ----

GERMAN = {"Accept-Language": "de-AT,de;q=0.9,en;q=0.5"}
# What is called the same in every language: processes and their logs, what is asked for, sizes and times.
DATA = re.compile(
    r"Hillside School|Notebooks?|grace|\b(web|relay|console|engine|libvirtd|haproxy|nginx|host|rescue|ssh)\b|\b(KiB|MiB|GiB|TiB|UTC)\b"
    r"|restore|erase|UUID|bytes|\w{8}-\w{4}-\S+|\w+\.log|\S*/\S*"
)


@pytest.mark.i18n
def test_it_speaks_german_without_catalog_host_or_state(settings: Settings) -> None:
    settings.catalog.unlink()
    text = Page(settings).get("/rescue/sign-in", **GERMAN).text
    assert '<html lang="de"' in text
    assert "Hier kann sich niemand anmelden" in text


@pytest.mark.i18n
def test_a_browser_that_asks_for_nothing_gets_the_appliances_language_though_the_catalog_is_gone(opened: Settings, grace: Account) -> None:
    with catalog.write():
        options.put("language", "de")
    rescue.write_rescue(opened)
    catalog.close()
    opened.catalog.unlink()
    found = Page(opened)
    assert "Einmalcode" not in found.get("/rescue/sign-in").text, "she has none"
    assert "Anmelden" in found.get("/rescue/sign-in").text
    assert "Sign in" in found.get("/rescue/sign-in", **{"Accept-Language": "en"}).text


@pytest.mark.i18n
def test_who_its_owners_are_is_known_from_before_there_were_languages(opened: Settings, grace: Account) -> None:
    file = rescue.file(opened)
    file.write_text(re.sub(r', "language": "\w+"', "", file.read_text()))
    assert "language" not in file.read_text()
    assert [owner.name for owner in rescue.kept(opened).owners] == ["grace"]


@pytest.mark.i18n
def test_nothing_on_its_pages_is_in_english_alone(page: Page, monkeypatch: pytest.MonkeyPatch, host: Server) -> None:
    """In a language whose texts are marked what is in no language shows."""
    monkeypatch.setattr("webui.rescue.status.LITTLE", 1 << 60)
    monkeypatch.setattr("webui.rescue.actions.offered", lambda host: ACTIONS.values())
    do_instead(monkeypatch, BUNDLE, lambda args, host: host.tell("Half way", 50) or "")
    operation = page.post("/rescue/repair/bundle").location
    assert host.operations.wait(10)
    supervised(page.app.config["SETTINGS"], web=True)
    monkeypatch.setattr(language, "LANGUAGES", dict(language.LANGUAGES))
    marked.speak(monkeypatch)
    paths = ["", "logs", "repair", *(f"repair/{name}" for name in ACTIONS), *(f"done/{name}" for name in ACTIONS), "nothing"]
    said = {path: page.get(f"/rescue/{path}", **{"Accept-Language": marked.NAME}).text for path in paths}
    said["operation"] = page.get(operation, **{"Accept-Language": marked.NAME}).text
    page.post("/rescue/sign-out")
    page.get("/rescue/sign-in")
    said["sign-in"] = page.get("/rescue/sign-in", **{"Accept-Language": marked.NAME}).text
    assert all(marked.BEGIN in text for text in said.values())
    assert {path: found for path, text in said.items() if (found := marked.unsaid(text, DATA))} == {}


# -- who gets in ----


def test_nobody_sees_anything_before_they_have_signed_in(opened: Settings, grace: Account, host: Server) -> None:
    found = Page(opened)
    paths = [
        rule.rule.replace("<name>", "part").replace("<id>", "1") for rule in found.app.url_map.iter_rules() if "<path" not in rule.rule
    ]
    assert len(paths) > 8
    for path in paths:
        if path in ("/rescue/sign-in", "/rescue/healthz"):
            continue
        for answer in (
            found.get(path),
            found.client.post(path, base_url=HOST, data={"csrf_token": found.token}, headers={"Referer": HOST}),
        ):
            assert answer.status_code in (303, 400, 405), (path, answer.status_code)
            assert "Source" not in answer.text
    found.get("/rescue/sign-in")
    for path in ("/rescue/repair/part", "/rescue/operations/1/cancel"):
        assert found.post(path, choice="web").location == "/rescue/sign-in"


@pytest.mark.parametrize(
    ("name", "password"), [("grace", "wrong"), ("ada", world.PASSWORD), ("nobody", world.PASSWORD), ("", ""), ("GRACE", world.PASSWORD), ("x" * 9999, "y" * 9999), ("\x00", "\ud800")]
)  # fmt: skip
def test_others_and_wrong_passwords_get_one_answer(opened: Settings, grace: Account, name: str, password: str) -> None:
    found = Page(opened)
    try:
        answer = found.sign_in(name, password)
    except UnicodeEncodeError:  # what no browser sends
        answer = found.sign_in(name, "y")
    assert answer.status_code == 403
    assert "That does not fit." in answer.text
    assert found.get("/rescue/").status_code == 303


def test_after_a_few_failures_one_has_to_wait_even_when_it_is_started_again(opened: Settings, grace: Account, tmp_path: Path) -> None:
    found = Page(opened, tmp_path / "failures.json")
    for _ in range(5):
        assert "That does not fit." in found.sign_in(password="wrong").text
    for again in (found, Page(opened, tmp_path / "failures.json")):
        assert "Too many failed attempts." in again.sign_in().text
    elsewhere = Page(opened, tmp_path / "failures.json", address="10.0.0.8")  # where nobody guessed, nobody waits
    assert elsewhere.sign_in().status_code == 303


@pytest.mark.parametrize("content", ["", "{", "[]", '{"tried": 7}', '{"tried": {"a": {"b": 1}}, "used": {}, "spent": []}', "\x00" * 99])
def test_a_broken_memory_of_failures_is_an_empty_one(opened: Settings, grace: Account, tmp_path: Path, content: str) -> None:
    (file := tmp_path / "failures.json").write_text(content)
    assert Page(opened, file).sign_in().status_code == 303


def test_one_time_codes_are_asked_for_and_are_good_once(opened: Settings, grace: Account) -> None:
    with catalog.write():
        SecondFactor.create(account=grace.id, secret=SECRET, step=0, confirmed_at=now())
        RecoveryCode.create(account=grace.id, digest=totp.digest("abcde-fghij"))
    rescue.write_rescue(opened)
    found = Page(opened)
    assert "One-time code" in found.get("/rescue/sign-in").text
    assert found.sign_in().status_code == 403
    assert found.sign_in(code="000000").status_code == 403
    code = totp.code(SECRET, totp.step_at(datetime.now(UTC)))
    assert found.sign_in(code=code).status_code == 303
    found.post("/rescue/sign-out")
    assert found.sign_in(code=code).status_code == 403
    assert found.sign_in(code="abcde-fghij").status_code == 303
    found.post("/rescue/sign-out")
    assert found.sign_in(code="abcde-fghij").status_code == 403


def test_a_password_that_was_just_changed_counts_at_once(opened: Settings, grace: Account, host: Server) -> None:
    with catalog.write():
        Account.update(disabled=True).where(Account.id == grace.id).execute()
        world.account("heidi", is_admin=True)
    assert Page(opened).sign_in("grace").status_code == 403
    assert Page(opened).sign_in("heidi").status_code == 303


def test_before_set_up_the_setup_code_lets_in(opened: Settings, host: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "boot_image", lambda: None)
    setup.ensure_code(opened)
    found = Page(opened)
    text = found.get("/rescue/sign-in").text
    assert "not been set up yet" in text
    assert "Password" not in text
    refused = found.post("/rescue/sign-in", setup_code="AAAA-BBBB-CCCC")
    assert refused.status_code == 403
    field = Elements(refused.text).by(id="f-setup_code")
    assert "autofocus" in field
    assert field["value"] == "AAAA-BBBB-CCCC"
    assert Elements(refused.text).text[field["aria-describedby"]].startswith("That is not the setup code.")
    code = (opened.state / "setup-code").read_text().strip()
    assert found.post("/rescue/sign-in", setup_code=code.lower()).status_code == 303
    assert "Sign out" in found.get("/rescue/").text
    with catalog.write():
        options.put("setup_done", True)
        world.account("grace", is_admin=True)
    late = Page(opened)
    late.get("/rescue/sign-in")
    assert late.post("/rescue/sign-in", setup_code=code).status_code == 403  # it is no way around the owners


def test_a_form_of_another_page_does_nothing(page: Page, opened: Settings) -> None:
    kept = page.token
    for token in ("", "forged"):
        page.token = token
        answer = page.post("/rescue/repair/bundle")
        assert answer.status_code == 400
        assert "nothing was done" in answer.text
    page.token = kept
    assert list(opened.support.iterdir()) == []


def test_cookie_and_headers_are_as_strict_as_those_of_the_other_page(page: Page) -> None:
    page.post("/rescue/sign-out")
    page.get("/rescue/sign-in")
    answer = page.post("/rescue/sign-in", name="grace", password=world.PASSWORD)
    cookie = next(value for value in answer.headers.getlist("Set-Cookie") if value.startswith(f"{cookies.RESCUE}="))
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(cookie.split("; "))
    headers = page.get("/rescue/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


# -- what it can do ----


def supervised(settings: Settings, **held: bool) -> None:
    processes.write_processes(settings, {name: {"pid": os.getpid() if not down else 0, "since": "2026-11-21T10:00:00+00:00", "restarts": 2, "status": "ended with status 3" if down else "", "held": False} for name, down in held.items()})  # fmt: skip


def test_a_part_that_is_down_is_named_with_what_to_do(page: Page, opened: Settings) -> None:
    supervised(opened, web=True, engine=False)
    text = page.get("/rescue/").text
    assert "web does not run (ended with status 3)." in text
    assert "Read the last lines of its log, then restart it." in text
    assert "engine does not run" not in text
    assert "ended" not in page.get("/rescue/repair/part?choice=web").text
    answer = page.post("/rescue/repair/part", choice="web")
    assert answer.location == "/rescue/done/part"
    assert processes.wished(opened, "web") == "restart"
    assert "It is being restarted." in page.get(answer.location).text


@pytest.mark.parametrize("choice", ["", "sshd", "../../etc", "web; reboot"])
def test_no_other_part_can_be_restarted(page: Page, opened: Settings, choice: str) -> None:
    supervised(opened, web=False)
    answer = page.post("/rescue/repair/part", choice=choice)
    assert answer.status_code == 400
    assert list((opened.run / "wanted").glob("*") if (opened.run / "wanted").exists() else []) == []


def test_logs_are_shown_and_searched(page: Page, opened: Settings) -> None:
    (opened.logs / "web.log").write_text("INFO web: it starts\nERROR web: <b>no template</b>\n")
    text = page.get("/rescue/logs?source=web").text
    assert "it starts" in text
    assert "&lt;b&gt;no template" in text
    assert "it starts" not in page.get("/rescue/logs?source=web&level=error").text
    assert "No line of this log is like that." in page.get("/rescue/logs?source=web&text=xyz").text
    for bad in ("source=../x", "level=loud", "most=-3", "most=abc", "most=99999999999999999999", "text=" + "x" * 3000):
        assert page.get(f"/rescue/logs?{bad}").status_code == 200


def test_what_the_host_cannot_do_is_not_offered(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def offered() -> set[str]:
        return set(re.findall(r'href="/rescue/repair/(\w+)"', page.get("/rescue/repair").text))

    here = {"part", "catalog", "restore", "bundle"}
    assert offered() == here  # on a Debian of somebody's own
    monkeypatch.setattr(image, "boot_image", lambda: image.Image(version="1.2", built_at=datetime.now(UTC), scenario="notebook"))
    assert offered() >= here | {"restart", "off", "reset"}
    assert "back" not in offered()  # nothing to go back to
    monkeypatch.delitem(HANDLERS, "restore.begin")
    assert "restore" not in offered()


def test_what_erases_asks_for_a_word(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    do_instead(monkeypatch, disks.RESET, lambda args, host: asked.append(args.thorough))
    answer = page.post("/rescue/repair/reset", word="yes", thorough="on")
    assert answer.status_code == 400
    assert "Type the word erase" in answer.text
    assert is_at("word", answer.text)
    assert 'value="yes"' in answer.text.split('id="f-word"')[1].split(">")[0]
    assert "checked" in answer.text
    assert asked == []
    assert page.post("/rescue/repair/reset", word=" Erase ", thorough="on").status_code == 303
    assert asked == [True]


def test_a_backup_is_chosen_and_restored(page: Page, monkeypatch: pytest.MonkeyPatch, host: Server) -> None:
    asked: list[dict[str, object]] = []
    at = datetime(2026, 11, 21, 10, tzinfo=UTC)
    found = backups.Backup("0123456789abcdef", at, 1, people=7, machines=3, disks=2, missing=0, seeds=0, schema=1, scenario="", version="")
    restored = backups.Restored(people=7, machines=3, disks=2)
    do_instead(monkeypatch, backups.LIST_FROM, lambda args, host: [found])
    do_instead(monkeypatch, backups.RESTORE, lambda args, host: (asked.append(args.model_dump()), restored)[1])
    do_instead(monkeypatch, backups.DISKS, lambda args, host: [])
    assert "2026-11-21 10:00 UTC: 7 people, 2 data disks" in page.get("/rescue/repair/restore").text
    looked = page.post("/rescue/repair/restore", look="1", disk="abcd-1234", key="secret-recovery-key")
    assert looked.status_code == 200
    assert "not there any more" not in page.post("/rescue/repair/restore", look="1", choice="of elsewhere").text
    assert 'value="secret-recovery-key"' in looked.text
    assert asked == []
    refused = page.post("/rescue/repair/restore", choice="0123456789abcdef", disk="bad uuid", key="k", word="restore")
    assert refused.status_code == 400
    assert is_at("disk", refused.text)
    assert 'value="bad uuid"' in refused.text
    refused = page.post("/rescue/repair/restore", choice="", word="restore")
    assert refused.status_code == 400
    assert is_at("choice", refused.text)
    assert page.post("/rescue/repair/restore", choice="0123456789abcdef", disk="abcd-1234", key="k", word="restore").status_code == 303
    assert host.operations.wait(10)
    assert asked[0]["snapshot"] == "0123456789abcdef"
    assert asked[0]["target"] == {"kind": "disk", "uuid": "abcd-1234"}


def test_a_support_bundle_is_made_and_fetched(page: Page, opened: Settings, host: Server) -> None:
    answer = page.post("/rescue/repair/bundle")
    text = page.until(answer.location, "Download it").text
    path = re.search(r'href="(/rescue/support/[^"]+)"', text)
    assert path
    got = page.get(path[1])
    assert got.data[:2] == b"\x1f\x8b"
    assert got.headers["Content-Disposition"].startswith("attachment")
    got.close()
    for bad in ("/rescue/support/..%2Frescue%2Fowners.json", "/rescue/support/dpe-support-1.tar.gz", "/rescue/support/x"):
        assert page.get(bad).status_code == 404
    assert support_bundle.find(opened, path[1].split("/")[-1]).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "path", ["/rescue/nothing", "/rescue/repair/nothing", "/rescue/done/nothing", "/rescue/operations/nothing", "/", "/admin"]
)
def test_what_is_not_there_is_a_page_that_says_so(page: Page, path: str) -> None:
    answer = page.get(path)
    assert answer.status_code == 404
    assert "To the rescue page" in answer.text


def test_an_error_of_its_own_is_a_page_with_a_number(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webui.rescue.status.look", lambda *_: 1 // 0)
    answer = page.get("/rescue/")
    assert answer.status_code == 500
    assert re.search(r"under the number [0-9a-f]{8}", answer.text)
    assert "ZeroDivision" not in answer.text


def test_a_task_that_goes_on_is_watched_and_cancelled(page: Page, monkeypatch: pytest.MonkeyPatch, host: Server) -> None:
    def wait(args: Nothing, host: Host) -> str:
        host.tell("Half way", 50)
        assert host.cancelled.wait(10)
        return ""

    do_instead(monkeypatch, BUNDLE, wait)
    answer = page.post("/rescue/repair/bundle")
    text = page.until(answer.location, "Half way").text
    assert '<meta http-equiv="refresh"' in text
    assert "Watch it" in page.get("/rescue/").text
    assert page.post(answer.location + "/cancel").status_code == 303
    assert host.operations.wait(10)
    assert '<meta http-equiv="refresh"' not in page.get(answer.location).text
