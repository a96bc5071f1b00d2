"""Jobs of a class on their page and in the API: submitted, with their results, cancelled and tried again."""

import pytest

from appliance import catalog
from appliance.catalog import Actor, Class, Job, JobState, job_queue
from appliance.scenario.policy import Form
from appliance.services import classes
from tests.pages import is_at
from tests.unit.webui.conftest import Browser

pytestmark = pytest.mark.policy
PAGE = "/admin/classes/notebook/jobs/"
API = "/api/v1/admin/classes/notebook/jobs"
SUBMIT = {
    "run": "sh -c 'echo \"$0\"; sleep 1' 'a b'",
    "title": "",
    "file": "script",
    "text": "one\r\ntwo",
    "times": "2",
    "tries": "3",
    "seconds": "60",
}


@pytest.fixture
def farm(grace: Browser) -> Class:
    classes.change_policy(Actor("grace"), "notebook", Form.MAKING, {"jobs": True})
    return classes.get_class("notebook")


def test_a_command_is_submitted_and_its_result_is_shown(grace: Browser, farm: Class) -> None:
    assert "No job yet: submit one with the form." in grace.get(PAGE).text
    assert grace.post(PAGE, SUBMIT).status_code == 303
    first, second = Job.select().order_by(Job.id)
    assert (first.run, first.files, first.number, second.number) == (
        ["sh", "-c", 'echo "$0"; sleep 1', "a b"],
        {"script": "one\ntwo"},
        1,
        2,
    )
    with catalog.write():
        Job.update(state=JobState.RUNNING, attempt=1).where(Job.id == first.id).execute()
        assert job_queue.ended(first.id, 1, 0, "-" * 70_000 + "<b>done</b>", "") is not None
    grace.post(f"{PAGE}{second.id}/cancel", {})
    page = " ".join(grace.get(PAGE).text.split())
    assert f'<pre class="mb-0 output">{"-" * (job_queue.GLIMPSE - 11)}&lt;b&gt;done&lt;/b&gt;</pre>' in page
    assert f'title="Retry job {second.id}"' in page
    grace.post(f"{PAGE}{second.id}/retry", {})
    assert [job.state for job in Job.select().order_by(Job.id)] == [JobState.DONE, JobState.QUEUED]
    [told, _] = grace.get(API).json["items"][::-1]
    assert (told["id"], told["state"], told["status"], told["output"][-12:]) == (first.id, "done", 0, "-<b>done</b>")
    assert len(grace.get(f"{API}/{first.id}").json["output"]) == job_queue.KEPT


@pytest.mark.badinput
@pytest.mark.parametrize(
    ("values", "field"), [({"run": "sh 'open"}, "run"), ({"run": " "}, "run"), ({"file": "../x"}, "file"), ({"times": "1001"}, "times")]
)
def test_what_cannot_be_run_is_told_at_its_field(grace: Browser, farm: Class, values: dict[str, str], field: str) -> None:
    grace.get(PAGE)
    answer = grace.post(PAGE, {**SUBMIT, **values})
    assert (answer.status_code, is_at(field, answer.text), Job.select().count()) == (400, True, 0)


def test_a_class_that_works_on_none_says_where_to_let_it(grace: Browser) -> None:
    assert "No job yet." in grace.get(PAGE).text, "and not of a form that is not there"
    page = grace.get(PAGE).text
    assert "work on no jobs" in page
    assert "Submit a job" not in page
