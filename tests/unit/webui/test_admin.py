"""The admin's pages."""

import re
import time
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import (
    Account,
    Actor,
    Class,
    Engine,
    Event,
    Machine,
    MachineState,
    Request,
    RequestState,
    Run,
    RunState,
    Seed,
    SeedState,
    Step,
    StepState,
    now,
    options,
    policies,
)
from appliance.services import host_metrics
from appliance.settings import Settings, describe
from tests import world
from tests.pages import on_one_line
from tests.unit.webui.conftest import Browser


def test_overview_draws_the_pools_and_the_host(grace: Browser) -> None:
    page = grace.get("/admin/").text
    assert 'data-pool="buffer">3<small' in page
    assert "1 person waits" in page
    assert "64 GiB" in page
    assert "virtualisation works: a guest ran in it." in page
    assert "Task 12 of 31" in page


def test_overview_says_what_is_wrong(grace: Browser) -> None:
    Class.update(
        problem="The agent did not answer.", failures=3, failing_until=now() + timedelta(seconds=90), limit_reason="Memory is used up."
    ).where(Class.name == "notebook").execute()
    world.engine(problem="libvirt cannot be reached.")
    page = grace.get("/admin/").text
    for words in (
        "libvirt cannot be reached.",
        "Nothing is lost",
        "The agent did not answer.",
        "(3 in a row)",
        "Memory is used up.",
        "Try again now",
    ):
        assert words in page
    assert grace.post("/admin/classes/notebook/retry").status_code == 303
    assert Class.get_by_id("notebook").problem == ""


def test_a_failed_machine_is_not_called_reclaiming(grace: Browser) -> None:
    making = (Machine.state == MachineState.CREATING, Machine.class_name == "studio")
    Machine.update(state=MachineState.FAILED).where(*making).execute()
    page = grace.get("/admin/").text
    studio = re.sub(r"<.*?>", "", page.split('id="pools-studio"')[1].split("</section>")[0])
    assert "1 failed" in studio
    assert "reclaimed" not in studio
    assert "failed" in [share.words for one in host_metrics.by_class() for share in one.shares]


def test_overview_before_the_engine_ever_ran(grace: Browser) -> None:
    Engine.delete().execute()
    page = grace.get("/admin/").text
    assert "The engine is not running." in page
    assert "Nothing is known of the host" in page


POLICY = {
    "buffer": "4",
    "minimum": "1",
    "maximum": "12",
    "lease_minutes": "60",
    "extend_minutes": "30",
    "extensions": "1",
    "per_person": "3",
    "warn_first": "600",
    "warn_last": "30",
    "busy_grace": "45",
    "service_level": "90",
    "priority": "0",
}


def test_policy(grace: Browser) -> None:
    assert grace.post("/admin/classes/notebook", POLICY).status_code == 303
    machine_class = Class.get_by_id("notebook")
    assert {name: str(policies.value(machine_class, name)) for name in POLICY} == POLICY


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"buffer": "13"}, "above the maximum"), ({"buffer": ""}, "a number is missing"), ({"maximum": "lots"}, "is not a number"),
        ({"lease_minutes": "0"}, "between 1 and"), ({"maximum": "99999999999999999999"}, "is not a number"), ({"buffer": "²"}, "is not a number"),
    ],
)  # fmt: skip
def test_a_policy_that_cannot_be(grace: Browser, wrong: dict[str, str], words: str) -> None:
    answer = grace.post("/admin/classes/notebook", {**POLICY, **wrong})
    assert answer.status_code == 400
    assert words in answer.text
    (name, value), *_ = wrong.items()
    assert f'name="{name}" type="number" value="{value}"' in answer.text
    assert Class.get_by_id("notebook").per_person == 2


def test_closing_and_opening_a_class(grace: Browser) -> None:
    for wanted in (False, True):
        grace.post("/admin/classes/notebook/enabled", {"enabled": "yes" if wanted else "no"})
        assert Class.get_by_id("notebook").enabled is wanted


@pytest.mark.badinput
@pytest.mark.parametrize(
    "path",
    ["/admin/classes/none", "/admin/seeds/99", "/admin/seeds/99/log", "/admin/seeds/x", "/admin/machines/none", "/admin/accounts/99", "/admin/seeds/" + "9" * 30],
)  # fmt: skip
def test_what_does_not_exist(grace: Browser, path: str) -> None:
    assert grace.get(path).status_code == 404


def test_building_promoting_and_rolling_back(grace: Browser) -> None:
    answer = grace.post("/admin/classes/studio/build")
    built = Seed.get(Seed.machine_class == "studio", Seed.state == SeedState.QUEUED)
    assert answer.headers["Location"] == f"/admin/seeds/{built.id}"
    assert grace.post("/admin/classes/studio/build").status_code == 409
    assert grace.post(f"/admin/seeds/{built.id}/promote").status_code == 409
    assert grace.post(f"/admin/seeds/{built.id}/cancel").status_code == 303
    assert Seed.get_by_id(built.id).state is SeedState.CANCELLED
    first = Seed.get(Seed.machine_class == "notebook", Seed.version == 1)
    assert "Roll back" in grace.get("/admin/classes/notebook/seeds").text
    assert grace.post(f"/admin/seeds/{first.id}/promote").status_code == 303
    assert Seed.get(Seed.machine_class == "notebook", Seed.promoted == True).version == 1  # noqa: E712


def test_a_seed_that_came_with_an_update_is_offered_and_taken(grace: Browser) -> None:
    assert "came with this version" not in grace.get("/admin/seeds/").text + grace.get("/admin/classes/studio").text
    with catalog.write():
        offer = {"folder": "/usr/share/dpe/seeds/studio", "built": "2026-11-20T10:00:00+00:00"}
        catalog.options.put("offered_seeds", {"studio": offer})
    for page in ("/admin/seeds/", "/admin/classes/studio", "/admin/classes/studio/seeds"):
        text = grace.get(page).text
        assert "came with this version of the appliance" in text
        assert 'action="/admin/classes/studio/use-shipped"' in text
        assert "20 Nov" in text
    assert "came with this version" not in grace.get("/admin/classes/notebook").text
    assert grace.post("/admin/classes/notebook/use-shipped").status_code == 409
    answer = grace.post("/admin/classes/studio/use-shipped")
    queued = Seed.get(Seed.machine_class == "studio", Seed.state == SeedState.QUEUED)
    assert answer.headers["Location"] == f"/admin/seeds/{queued.id}"
    assert queued.manifest == {"shipped": "/usr/share/dpe/seeds/studio"}
    assert "came with this version" not in grace.get("/admin/seeds/").text


def test_a_build_shows_its_progress_and_the_end_of_its_log(grace: Browser, opened: Settings) -> None:
    seed = Seed.get(Seed.state == SeedState.BUILDING)
    Path(seed.log).write_text("".join(f"line {number}\n" for number in range(1000)) + "\x1b[0;32mok: <done>\x1b[0m\n")
    page = grace.get(f"/admin/seeds/{seed.id}").text
    assert "ok: &lt;done&gt;</pre>" in page
    assert "line 999" in page
    assert "line 700\n" not in page
    with grace.get(f"/admin/seeds/{seed.id}/log") as log:
        assert log.headers["Content-Disposition"] == "attachment; filename=seed-notebook-3.log"
        assert "line 1\n" in log.text


def test_only_logs_are_shown(grace: Browser, opened: Settings) -> None:
    seed = Seed.get(Seed.state == SeedState.BUILDING)
    for path in (str(opened.web_secret), f"{opened.logs}/../web-secret", "/etc/hostname", str(opened.logs)):
        Seed.update(log=path).where(Seed.id == seed.id).execute()
        assert grace.get(f"/admin/seeds/{seed.id}/log").status_code == 404
        assert "There is no log yet" in grace.get(f"/admin/seeds/{seed.id}").text


def test_a_seeds_packages(grace: Browser) -> None:
    page = grace.get(f"/admin/seeds/{Seed.get(Seed.promoted == True, Seed.machine_class == 'notebook').id}").text  # noqa: E712
    assert "qemu-guest-agent" in page
    assert "6.12.48+deb13-amd64" in page


def test_machines_are_found(grace: Browser) -> None:
    for query, there, missing in (
        ("state=ready", "notebook-1", "notebook-5"), ("class=studio", "studio-10", "notebook-1<"), ("text=Somerville", "notebook-7", "notebook-5"),
        ("text=notebook-5", "notebook-5", "notebook-7"), ("state=nonsense", "notebook-1", "No machine fits"),
    ):  # fmt: skip
        page = grace.get(f"/admin/machines/?{query}").text
        assert there in page, query
        assert missing not in page, query
    assert "No machine fits" in grace.get("/admin/machines/?text=%25").text


def test_ten_thousand_machines_a_page_at_a_time(grace: Browser, people: dict[str, Actor]) -> None:
    world.many_machines(Class.get_by_id("notebook"), 10_000, people["mary"])
    grace.get("/admin/machines/")
    worst = 0.0
    seen: list[str] = []
    path = "/admin/machines/"
    for _ in range(4):
        begun = time.process_time()
        page = grace.get(path).text
        worst = max(worst, time.process_time() - begun)
        names = [part.split("<")[0] for part in page.split('class="name"')[1:]]
        assert len(names) == 40
        assert not set(names) & set(seen)
        seen += names
        path = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    for query in ("text=mary", "state=in_use", "text=nobody-has-this", "class=studio", "state=quarantined", "retired=yes"):
        begun = time.process_time()
        assert grace.get(f"/admin/machines/?{query}").status_code == 200
        worst = max(worst, time.process_time() - begun)
    # Processor time, whatever else the machine does; the promise of 200 ms to the first byte is measured by the benchmark claim.
    assert worst < 0.4


def test_a_machines_page(grace: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    page = grace.get(f"/admin/machines/{machine.id}").text
    for words in (machine.id, "10.213.0.", "that is recorded as an event", "412 MiB of 1 GiB", "ada got", "It is taken from ada."):
        assert words in page
    assert "Memory by need" not in page
    Machine.update(memory=1280, memory_more=256, memory_room=3072).where(Machine.id == machine.id).execute()
    page = on_one_line(grace.get(f"/admin/machines/{machine.id}").text)
    assert "1.2 GiB now, 1 GiB at its start, 4 GiB at most" in page
    assert grace.post(f"/machines/{machine.id}/extend").status_code == 303
    answer = grace.post(f"/machines/{machine.id}/release")
    assert answer.status_code == 303
    page = grace.get(f"/admin/machines/{machine.id}").text
    assert f"{machine.name} is taken back and will be destroyed." in page
    assert "Destroy it" not in page.split("<dialog")[0]


def handed_over(machine: Machine) -> None:
    """The machine was asked for, and handed over in 0.8 s."""
    asked_at = machine.created_at
    asked = Request.create(
        account=machine.owner,
        machine_class=machine.class_name,
        machine=machine.id,
        state=RequestState.GRANTED,
        created_at=asked_at,
        granted_at=asked_at,
    )
    run = Run.create(
        kind="assign", state=RunState.DONE, request=asked, machine=machine.id, machine_class=machine.class_name, ended_at=asked_at
    )
    laps = [("waking it", 0.1, False), ("giving it its name and address", 0.5, False), ("input", 0.1, True), ("network", 0.3, True)]
    begun, ended = asked_at + timedelta(seconds=0.1), asked_at + timedelta(seconds=0.8)
    Step.create(
        run=run,
        number=1,
        name="hand_over",
        kind="hand_over",
        title="Hand it over",
        state=StepState.DONE,
        output={"laps": laps},
        started_at=begun,
        ended_at=ended,
    )


def test_a_machines_page_says_where_the_time_of_its_hand_over_went(grace: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert "Hand-over" not in grace.get(f"/admin/machines/{machine.id}").text
    handed_over(machine)
    card = grace.get(f"/admin/machines/{machine.id}").text.split('id="waterfall"')[1].split("</section>")[0]
    assert "0.80 s from the request" in card
    rows = re.findall(r'<th scope="row">(.*?)</th><td class="num end">(\d+) ms</td>.*? x="(.*?)" width="(.*?)"', card, re.DOTALL)
    assert rows == [
        ("Waiting for one that is ready", "0", "0.0", "0.5"), ("Until the engine is at it", "100", "0.0", "12.5"), ("Waking it", "100", "12.5", "12.5"),
        ("Giving it its name and address", "500", "25.0", "62.5"), ("Writing it down", "100", "87.5", "12.5"),
        ("Input", "100", "25.0", "12.5"), ("Network", "300", "37.5", "37.5"),
    ]  # fmt: skip


def test_making_an_account(grace: Browser) -> None:
    values = {
        "name": "emmy",
        "password": "a-good-long-one",
        "full_name": "Emmy Noether",
        "email": "emmy@example.org",
        "ssh_keys": "",
    }
    assert grace.post("/admin/accounts/new", values).status_code == 303
    account = Account.get(Account.name == "emmy")
    assert account.full_name == "Emmy Noether"
    assert "a-good-long-one" not in str(list(Event.select(Event.message, Event.data).tuples()))


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("wrong", "status", "words"),
    [({"name": "ada"}, 409, "already an account"), ({"name": "a b"}, 400, "cannot be an account"), ({"password": "short"}, 400, "too short"), ({"ssh_keys": "x"}, 400, "SSH")],
)  # fmt: skip
def test_an_account_that_cannot_be(grace: Browser, wrong: dict[str, str], status: int, words: str) -> None:
    values = {"name": "emmy", "password": "a-good-long-one", "full_name": "Emmy <Noether>", "email": "", "ssh_keys": "", **wrong}
    answer = grace.post("/admin/accounts/new", values)
    assert answer.status_code == status
    assert words in answer.text
    assert 'value="Emmy &lt;Noether&gt;"' in answer.text
    assert Account.get_or_none(Account.name == "emmy") is None


def test_changing_an_account(grace: Browser, ada: Browser, people: dict[str, Actor]) -> None:
    id = people["ada"].account_id
    values = {"full_name": "Ada King", "email": "ada@example.org", "ssh_keys": ""}
    assert grace.post(f"/admin/accounts/{id}", values).status_code == 303
    assert Account.get_by_id(id).full_name == "Ada King"
    assert grace.post(f"/admin/accounts/{id}/enabled", {"enabled": "no"}).status_code == 303
    assert ada.get("/").status_code == 303
    assert ada.sign_in("ada").status_code == 403
    assert grace.post(f"/admin/accounts/{id}/enabled", {"enabled": "yes"}).status_code == 303
    assert grace.post(f"/admin/accounts/{id}/password", {"password": "a brand new one"}).status_code == 303
    assert ada.sign_in("ada", "a brand new one").status_code == 303
    assert grace.post(f"/admin/accounts/{id}/password", {"password": "short"}).status_code == 400


@pytest.mark.badinput
def test_the_only_admin_stays(grace: Browser, people: dict[str, Actor]) -> None:
    id = people["grace"].account_id
    assert grace.post(f"/admin/accounts/{id}/enabled", {"enabled": "no"}).status_code == 409


def test_events_are_found(grace: Browser) -> None:
    assert "Failed sign-in" in grace.get("/admin/events/?level=warning").text
    assert "Failed sign-in" not in grace.get("/admin/events/?level=error").text
    assert "r-base-studio" in grace.get("/admin/events/?kind=seed&text=r-base").text
    machine = Machine.get(Machine.state == MachineState.READY)
    page = grace.get(f"/admin/events/?machine={machine.id}").text
    assert page.count('class="event event-') == 1
    assert "No event fits" in grace.get("/admin/events/?text=nothing-like-it").text


def test_events_come_in_pages(grace: Browser) -> None:
    with catalog.write():
        for number in range(120):
            catalog.record("support.bundle", f"number-{number} happened.")
    page = grace.get("/admin/events/?kind=support").text
    assert "number-119 " in page
    older = page.split('rel="next" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "kind=support" in older
    assert "number-69 " in grace.get(older).text


@pytest.mark.badinput
@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "before=-5",
        "before=99999999999",
        "before=" + "9" * 40,
        "kind=nonsense",
        "level=nonsense",
        "text=%27%22%3B--",
        "text=" + "x" * 5000,
    ],
)
def test_strange_questions_about_events(grace: Browser, query: str) -> None:
    assert grace.get(f"/admin/events/?{query}").status_code == 200


@pytest.mark.badinput
@pytest.mark.parametrize("query", ["after=x", "after=-1", "after=" + "9" * 40, "text=%27%22%3B--", "class=none", "state=%00"])
def test_strange_questions_about_machines(grace: Browser, query: str) -> None:
    assert grace.get(f"/admin/machines/?{query}").status_code == 200


def test_settings(grace: Browser) -> None:
    page = unescape(grace.get("/admin/settings/").text)
    for name, _, help, *_ in describe():
        assert f">{name}</td>" in page
        assert help.split(";")[0][:40] in page
    values = {"title": "The  Lab", "time_zone": "America/New_York", "overcommit": " 150 "}
    assert grace.post("/admin/settings/", values).status_code == 303
    assert (options.get("title"), options.get("time_zone"), options.get("overcommit")) == ("The Lab", "America/New_York", 150)
    assert "The Lab" in grace.get("/").text


@pytest.mark.badinput
@pytest.mark.parametrize(
    "wrong",
    [
        {"title": ""}, {"title": "x" * 100}, {"time_zone": "../../etc/passwd"}, {"time_zone": ""},
        {"overcommit": "99"}, {"overcommit": "1001"}, {"overcommit": ""}, {"overcommit": "²00"}, {"overcommit": "1e2"}, {"overcommit": "9" * 40},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(grace: Browser, wrong: dict[str, str]) -> None:
    answer = grace.post("/admin/settings/", {"title": "The Lab", "time_zone": "UTC", "overcommit": "200", **wrong})
    assert answer.status_code == 400
    assert (options.get("title"), options.get("overcommit")) == ("Hillside School", 100)
    [(name, value)] = wrong.items()
    assert f'value="{value}"' in answer.text or name == "time_zone"


def test_times_are_in_the_appliances_zone_with_utc_beside(grace: Browser) -> None:
    with catalog.write():
        options.put("time_zone", "Asia/Kolkata")
        Account.update(created_at=datetime(2024, 1, 15, 20, tzinfo=UTC)).execute()
    page = grace.get("/admin/accounts/2").text
    assert 'title="2024-01-15 20:00:00 UTC">16 Jan 2024 01:30</time>' in page
