"""The sections of a class, each with an address of its own, and the addresses and anchors that were before them."""

import re
from html import unescape

import pytest

from appliance.catalog import Class
from tests.unit.webui.conftest import Browser
from tests.unit.webui.test_admin import POLICY

pytestmark = pytest.mark.console_ui

CLASS = "/admin/classes/notebook"
SECTIONS = {
    "Overview": CLASS, "Machine": f"{CLASS}/machine", "Policy": f"{CLASS}/policy", "Calendar": f"{CLASS}/calendar/",
    "Rules": f"{CLASS}/rules/", "Forecast": f"{CLASS}/forecast/", "Lifecycle": f"{CLASS}/life", "Provisioning": f"{CLASS}/making", "Seeds": f"{CLASS}/seeds", "Jobs": f"{CLASS}/jobs/",
}  # fmt: skip


def nav(page: str) -> str:
    return page.split('aria-label="Sections of the class">', 1)[1].split("</nav>", 1)[0]


@pytest.mark.console_ui
def test_each_section_leads_to_all_others_and_is_marked(grace: Browser) -> None:
    for title, address in SECTIONS.items():
        shown = nav(grace.get(address).text)
        found = re.findall(r'<a href="([^"]+)"[^>]*?( aria-current="page")?>([^<]+)</a>', shown)
        assert [(label, href) for href, _, label in found] == list(SECTIONS.items())
        assert [label for _, current, label in found if current] == [title]
        assert grace.live(address).status_code == 200


def test_a_section_has_one_form_and_the_overview_none(grace: Browser) -> None:
    for title, address in SECTIONS.items():
        forms = re.findall('<button class="btn(?: btn-primary)?">.*?</svg>(Save[^<]*)</button>', grace.get(address).text)
        assert len(forms) == {"Policy": 1, "Lifecycle": 1, "Provisioning": 1, "Calendar": 2, "Rules": 1}.get(title, 0), title


@pytest.mark.badinput
def test_an_error_lands_in_its_section(grace: Browser) -> None:
    grace.get(f"{CLASS}/policy")
    for address in (CLASS, f"{CLASS}/policy"):  # the first is where the form was sent before there were sections
        answer = grace.post(address, {**POLICY, "buffer": "13"})
        assert answer.status_code == 400
        assert 'aria-current="page">Policy</a>' in nav(answer.text)
        assert "is above the maximum" in unescape(answer.text)
        assert 'id="life"' not in answer.text
    assert grace.post(f"{CLASS}/policy", POLICY).headers["Location"] == f"{CLASS}/policy"
    assert Class.get_by_id("notebook").buffer == 4


def test_anchors_of_before_stand_at_the_sections_that_have_it_now(grace: Browser) -> None:
    page = nav(grace.get(CLASS).text)
    for anchor, address in (("policy", "policy"), ("life", "life"), ("change-making", "making")):
        assert f'<a href="{CLASS}/{address}" id="{anchor}">' in page
    assert "id=" not in nav(grace.get(f"{CLASS}/policy").text), "there the form itself has it"


def test_the_machine_section_says_what_it_is_and_what_it_takes_here(grace: Browser) -> None:
    page = unescape(grace.get(f"{CLASS}/machine").text)
    for words in ("Debian 13", "git, less", "jupyterlab", "Fit on this server", "1.1 GiB"):
        assert words in page
