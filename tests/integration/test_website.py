"""The scenario `website` as it is shipped, through the front door: replicas follow the load up and down, are replaced and killed, and nobody notices.

It takes some minutes: `make soak ONLY=website` (DPE_TEST_WEBSITE=1). What the engine does with replicas is shown by test_services.py in short.
"""

import contextlib
import http.client
import os
import re
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from appliance.settings import REPOSITORY
from tests.balanced import Clients
from tests.browser import steps
from tests.integration.newcomer import MakeRun, made, visit
from tests.waiting import until

__all__ = ["visit"]  # a fixture

PASSWORD = "correct horse battery"
HOST = "www.website.localhost"
RULE = "minutes: 1, each: 40, most: 6"
QUICK = "minutes: 1, each: 15, most: 4, cooldown_up: 20, cooldown_down: 30"  # what an emulated machine is able to, and sooner
CLIENTS, RATE = 6, 10.0  # requests a second of each
LONG = 600_000  # milliseconds

pytestmark = [
    pytest.mark.elastic,
    pytest.mark.alone,
    pytest.mark.timeout(5400),
    pytest.mark.skipif("DPE_TEST_WEBSITE" not in os.environ, reason="takes minutes: make soak ONLY=website"),
]


class Visitors(Clients):
    """People who open the site again and again, at a rate that does not depend on how fast it is."""

    def __init__(self, port: int) -> None:
        super().__init__(CLIENTS)
        self.port, self.machines = port, set[str]()
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=30)

    def ask(self, client: http.client.HTTPSConnection) -> str:
        """Who served the page."""
        client.request("GET", "/", headers={"Host": f"{HOST}:{self.port}"})
        answer = client.getresponse()
        said = answer.read().decode()
        if answer.status != 200:
            raise OSError(f"{answer.status}: {said[:200]}")
        return re.findall(r"<strong>(.*)</strong>", said)[0]

    def come(self) -> None:
        following = time.monotonic()
        with contextlib.closing(self.connect()) as client:
            while not self.stopping.wait(max(0.0, following - time.monotonic())):
                following += 1 / RATE
                try:
                    self.machines.add(self.ask(client))
                    self.done += 1
                except (OSError, http.client.HTTPException) as error:
                    self.lost.append(error)
                    client.close()


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    folder = tmp_path / "website"
    shutil.copytree(REPOSITORY / "playbooks/scenarios/website", folder)
    text = (folder / "scenario.yml").read_text()
    assert RULE in text
    (folder / "scenario.yml").write_text(text.replace(RULE, QUICK))
    with made(folder) as running:
        yield running


def serving(page: Page, count: int) -> None:
    """The page of the class, until so many serve, and no other is wanted."""
    expect(page.locator("[data-pool=buffer]")).to_have_text(re.compile(rf"^\s*{count}\s*/\s*{count}\s*$"), timeout=LONG)


def kill(state: Path, id: str) -> None:
    """The QEMU of a machine."""
    [found] = [
        one for one in psutil.process_iter(["cmdline"])
        if (line := " ".join(one.info["cmdline"] or [])) and "qemu-system" in line and str(state) in line and id in line
    ]  # fmt: skip
    found.kill()


def test_a_site_is_as_large_as_its_load(make_run: MakeRun, visit: Callable[[MakeRun], BrowserContext]) -> None:
    make_run.start(300)
    ada = visit(make_run).new_page()
    steps.set_up(ada, make_run.setup_code, "ada", PASSWORD, "The site")
    expect(ada.get_by_role("heading", name="The appliance is ready")).to_be_visible(timeout=LONG)
    ada.goto("/admin/classes/website")
    serving(ada, 2)
    visitors = Visitors(int(make_run.env["DPE_HTTPS_PORT"]))
    with contextlib.closing(visitors.connect()) as client:
        assert visitors.ask(client).startswith("website-")
    with visitors:
        serving(ada, 4)  # it follows the load
        assert visitors.lost == []
        # Another seed: each is replaced while it is asked.
        before = set(visitors.machines)
        ada.get_by_role("button", name="Build a new seed").click()
        expect(ada.get_by_role("heading", name="website v2")).to_be_visible()
        ada.goto("/admin/classes/website")
        expect(ada.locator(".pools-foot").get_by_role("link", name="seed v2")).to_be_visible(timeout=LONG)
        expect(ada.locator(".pools-foot")).not_to_contain_text("still on an older one", timeout=LONG)
        serving(ada, 4)
        assert visitors.lost == []
        visitors.machines.clear()
        until(lambda: len(visitors.machines) == 4)
        assert not visitors.machines & before, "all are of the other seed"
        # One is killed, and comes back.
        name = sorted(visitors.machines)[0]
        link = ada.get_by_role("link", name=name, exact=True).first.get_attribute("href")
        assert link
        kill(make_run.state, link.rpartition("/")[2])
        done = visitors.done
        until(lambda: visitors.done >= done + 300)
        visitors.machines.clear()
        until(lambda: len(visitors.machines) == 4, lambda: visitors.machines, seconds=600)
        serving(ada, 4)
        assert len(visitors.lost) <= 5, visitors.lost
        lost = len(visitors.lost)
    serving(ada, 2)  # nobody comes any more
    assert len(visitors.lost) == lost
    # Each step is told, with its numbers.
    for told in ("Requests", "serves website from now on", "serves no longer"):
        ada.goto(f"/admin/events?text={quote(told)}")
        expect(ada.get_by_role("listitem").filter(has_text=told).first).to_be_visible()
