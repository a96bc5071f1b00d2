"""The admin's page of logs, and the support bundle from there."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.catalog import Event
from appliance.host.system import support_bundle
from appliance.settings import Settings
from tests.hosted import Hosted, hosted
from tests.unit.webui.conftest import HOST, Browser


@pytest.fixture
def host(opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosted]:
    monkeypatch.setattr(support_bundle, "COMMANDS", {})
    (opened.logs / "web.log").write_text("INFO web: it starts\nERROR web: <b>no template</b>\n")
    (opened.logs / "engine.log").write_text("INFO engine: ticks\n")
    with hosted(opened, tmp_path, in_image=False) as made:
        yield made


@pytest.fixture
def grace(signed_in: Callable[[str], Browser]) -> Browser:
    return signed_in("grace")


def test_logs_are_shown_filtered_and_followed(grace: Browser, host: Hosted) -> None:
    text = grace.get("/admin/server/logs").text
    assert "ticks" in text
    assert "hx-trigger" not in text.split('id="log"')[1].split(">")[0]
    text = grace.get("/admin/server/logs?source=web&follow=on").text
    assert "&lt;b&gt;no template" in text
    assert 'hx-trigger="every 2s"' in text.split('id="log"')[1].split(">")[0]
    assert "it starts" not in grace.get("/admin/server/logs?source=web&level=error").text
    assert "No line of this log is like that." in grace.get("/admin/server/logs?source=web&text=xyz").text


@pytest.mark.parametrize(
    "query", ["source=../web", "source=sshd", "level=loud", "most=-1", "most=99999999999999999999", "text=" + "x" * 4000, "text=%00"]
)
def test_a_question_that_makes_no_sense_shows_what_there_is(grace: Browser, host: Hosted, query: str) -> None:
    assert grace.get(f"/admin/server/logs?{query}").status_code == 200


def test_without_dpe_host_it_says_so(grace: Browser) -> None:
    answer = grace.get("/admin/server/logs")
    assert answer.status_code == 200
    assert "(dpe-host) does not answer" in answer.text


def test_others_see_no_logs(signed_in: Callable[[str], Browser], host: Hosted) -> None:
    ada = signed_in("ada")
    assert ada.get("/admin/server/logs").status_code == 403
    assert ada.post("/admin/server/support").status_code == 403


def test_a_support_bundle_is_made_recorded_and_fetched(grace: Browser, host: Hosted, opened: Settings) -> None:
    grace.get("/admin/server/logs")
    operation = grace.post("/admin/server/support").location
    host.server.operations.wait(20)
    path = re.search(r'href="(/admin/server/support/[^"]+)"', grace.get(operation).text)
    assert path
    got = grace.client.get(path[1], base_url=HOST)
    assert got.headers["Content-Disposition"].startswith("attachment")
    got.close()
    assert Event.select().where(Event.kind == "support.bundle", Event.actor == "grace").count() == 1
    assert grace.get("/admin/server/support/dpe-support-20200101-000000.tar.gz").status_code == 404
