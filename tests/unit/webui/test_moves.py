"""Stopping, starting and the others as buttons, in the portal, on the machine's page and over the API."""

import pytest

from appliance.catalog import Account, Actor, Machine, MachineState, Run, RunState, Session, Token
from appliance.services import tokens
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.workflow
S = MachineState


@pytest.fixture
def mine(people: dict[str, Actor]) -> Machine:
    """Ada's notebook, in use."""
    found: Machine = Machine.get(Machine.owner == people["ada"].account_id)
    assert found.state is S.IN_USE
    return found


def put(machine: Machine, state: MachineState) -> None:
    Machine.update(state=state).where(Machine.id == machine.id).execute()


def offered(page: str, machine: Machine) -> set[str]:
    verbs = ("stop", "start", "suspend", "resume", "reprovision", "transfer")
    return {verb for verb in verbs if f'/machines/{machine.id}/{verb}"' in page}


def test_only_what_the_state_allows_is_offered(ada: Browser, grace: Browser, mine: Machine) -> None:
    theirs = {
        S.IN_USE: {"stop", "suspend", "reprovision"},
        S.STOPPED: {"start", "reprovision"},
        S.SUSPENDED: {"resume", "stop"},
        S.REPROVISIONING: set(),
        S.ASSIGNED: set(),
        S.QUARANTINED: set(),
    }
    for state, verbs in theirs.items():
        put(mine, state)
        assert offered(ada.get("/").text, mine) == verbs, state
        more = {"transfer"} if state is S.IN_USE else set()
        assert offered(grace.get(f"/admin/machines/{mine.id}").text, mine) == verbs | more, state


def test_a_button_begins_a_run_and_the_card_says_what_is_done(ada: Browser, mine: Machine) -> None:
    assert ada.post(f"/machines/{mine.id}/stop").status_code == 303
    run = Run.get(Run.kind == "stop")
    assert (run.machine_id, run.asked_by) == (mine.id, "ada")
    page = ada.get("/").text
    assert "being stopped" in page
    assert offered(page, mine) == set()
    assert 'disabled title="It is being stopped"' in page
    answer = ada.post(f"/machines/{mine.id}/suspend")
    assert answer.status_code == 409
    assert "being stopped" in answer.text


def test_a_stopped_machine_says_how_to_go_on(ada: Browser, mine: Machine) -> None:
    put(mine, S.STOPPED)
    page = ada.get("/").text
    assert "Start it to go on" in page
    assert f'/machines/{mine.id}/start"' in page
    assert ">Open<" not in page


@pytest.mark.badinput
@pytest.mark.parametrize("verb", ["explode", "transfer_to", "STOP", "%00"])
def test_a_verb_that_there_is_not(ada: Browser, mine: Machine, verb: str) -> None:
    assert ada.post(f"/machines/{mine.id}/{verb}").status_code == 404
    assert Run.select().where(Run.kind != "assign").count() == 0


@pytest.mark.authz
def test_nobody_elses(signed_in: object, people: dict[str, Actor], mine: Machine) -> None:
    bob = signed_in("bob" if "bob" in people else next(name for name in people if name not in ("ada", "grace")))  # type: ignore[operator]
    for verb in ("stop", "start", "suspend", "resume", "reprovision", "transfer"):
        assert bob.post(f"/machines/{mine.id}/{verb}").status_code in (403, 404), verb
    assert Run.select().where(Run.kind == "stop").count() == 0


def test_whoever_holds_it_is_not_asked_again_before_a_reprovision_and_others_are(ada: Browser, grace: Browser, mine: Machine) -> None:
    page = ada.get("/").text
    assert "LOST: everything on its system disk" in page
    Session.update(confirmed_at=None).execute()
    assert grace.post(f"/machines/{mine.id}/reprovision").status_code == 403
    assert grace.post(f"/machines/{mine.id}/transfer", {"to": "ada"}).status_code == 403
    assert Run.select().where(Run.kind == "reprovision").count() == 0
    assert ada.post(f"/machines/{mine.id}/reprovision").status_code == 303
    assert Run.select().where(Run.kind == "reprovision", Run.state == RunState.QUEUED).count() == 1


def test_transfer_asks_for_a_name_and_keeps_what_was_typed(grace: Browser, mine: Machine) -> None:
    where = f"/machines/{mine.id}/transfer"
    assert "Account of the person who gets it" in grace.get(where).text
    for name, status, words in (
        ("", 400, "Nobody is named."),
        ("nosuch", 400, "There is no account nosuch."),
        ("ada", 409, "ada&#39;s already"),
        ("<script>", 400, "There is no account &lt;script&gt;."),
    ):
        answer = grace.post(where, {"to": name})
        assert answer.status_code == status, name
        assert words in answer.text, name
    assert 'value="nosuch"' in grace.post(where, {"to": "nosuch"}).text
    answer = grace.post(where, {"to": "grace"})
    assert (answer.status_code, answer.headers["Location"]) == (303, f"/admin/machines/{mine.id}")
    assert Run.get(Run.kind == "transfer").facts["to"] == Account.get(Account.name == "grace").id


def test_the_door_says_that_it_is_switched_off(ada: Browser, mine: Machine) -> None:
    def page() -> str:
        answer = ada.get("/door/check", **{"X-DPE-Port": str(9000 + mine.slot)})
        return answer.headers.get("X-DPE-Page", str(answer.status_code))

    assert page() == "200"
    for state in (S.STOPPED, S.SUSPENDED):
        put(mine, state)
        assert page() == "rests"
    ada.post(f"/machines/{mine.id}/resume")
    assert page() == "starting"
    put(mine, S.REPROVISIONING)
    assert page() == "starting"


def test_over_the_api(app: object, people: dict[str, Actor], mine: Machine) -> None:
    token = tokens.create(people["ada"], "script", ["read", "machines"], 7)
    client = app.test_client()  # type: ignore[attr-defined]

    def post(path: str, **body: str) -> tuple[int, dict[str, object]]:
        answer = client.post(
            f"/api/v1/machines/{mine.id}/{path}",
            json=body,
            base_url="https://appliance.test:8443",
            headers={"Authorization": f"Bearer {token}"},
        )
        return answer.status_code, answer.get_json()

    assert post("explode")[0] == 404
    assert post("start")[0] == 409
    status, answer = post("stop")
    assert (status, answer["state"], answer["run"]) == (202, "in_use", Run.get(Run.kind == "stop").id)
    status, answer = post("suspend")
    assert (status, answer["title"]) == (409, f"The machine {mine.name} is being stopped.")
    assert post("transfer", to="grace")[0] in (403, 404), "for those who look after machines"
    assert Token.select().count() == 1
