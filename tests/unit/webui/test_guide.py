"""The guide: every page has a line of help with a section, links lead somewhere, each person sees what is for them, and the reference has all there is."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance import settings
from appliance.catalog import Actor
from appliance.catalog.event_kinds import EventKind
from appliance.identity import permissions
from appliance.identity.roles import OWN, PERMISSIONS, ROLES
from appliance.services.metrics import METRICS
from appliance.services.needs import KINDS
from appliance.workflow import kinds
from tests.unit.client.test_commands import leaves
from tests.unit.webui.conftest import HOST, Browser
from webui.api import SCOPES
from webui.guard import PUBLIC, WITHOUT_PAGES
from webui.guide import reference
from webui.guide.markdown import PAGE, Document
from webui.guide.texts import FOLDER, GUIDES, help_of, sections
from webui.navigation import GROUPS

pytestmark = pytest.mark.console_ui


def written(app: Flask) -> dict[str, Document]:
    """Every text by the file that links name it by."""
    with app.test_request_context(base_url=HOST):
        made = {f"reference/{name}.md": page.document() for name, page in reference.PAGES.items()}
    return {f"{name}.md": text for name, text in GUIDES.items()} | made


def cells(text: Document) -> set[str]:
    """What stands in the first column of its tables."""
    return set(re.findall(r"^\| `(.*?)` \|", text.source, re.MULTILINE))


def test_every_page_has_a_line_of_help_and_a_section() -> None:
    about = [section.page for section in sections() if section.page]
    assert len(about) == len(set(about))
    assert {page.endpoint for group in GROUPS for page in group.pages} <= set(about)
    for section in sections():
        assert not section.page or re.fullmatch(r"[A-Z].{20,170}\.", section.line), (section.title, section.line)


def test_every_page_of_the_console_is_about_a_section(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        need = getattr(app.view_functions[rule.endpoint], "need", None)
        served = (
            need is not None
            and need.permission != PUBLIC
            and rule.endpoint.split(".")[0] not in (*WITHOUT_PAGES, "moved", "guide", "setup")
        )
        if served and "GET" in (rule.methods or ()):
            assert help_of(rule.endpoint), rule.endpoint


def test_every_link_leads_somewhere(app: Flask) -> None:
    texts = written(app)
    for file, text in texts.items():
        for target in text.links:
            address, _, anchor = target.partition("#")
            if address.startswith(PAGE):
                assert address.removeprefix(PAGE) in app.view_functions, (file, target)
            elif file == "reference/commands.md" and not target.startswith("#"):
                continue  # a README, whose files are not served
            elif address.startswith("/"):
                assert app.url_map.bind("").match(address)[0] == "static", (file, target)
                assert (FOLDER.parent / address.removeprefix("/")).is_file(), (file, target)
            elif not address.startswith("https://"):
                there = texts[address] if address else text
                assert not anchor or anchor in there.anchors, (file, target)


def test_the_foot_of_a_page_leads_to_its_section(grace: Browser) -> None:
    page = grace.get("/admin/classes/notebook/policy").text
    assert "A class is a kind of machine: operating system, applications, size and policy." in page
    [path, anchor] = re.findall(r'rel="help" href="(.*?)#(.*?)"', page)[0]
    text = grace.get(path).text
    assert f'id="{anchor}"><a href="/admin/classes/">Classes</a></h2>' in text
    assert 'rel="help"' not in text


def test_a_page_that_is_refused_has_no_help_of_what_it_would_have_been(ada: Browser) -> None:
    assert 'rel="help"' in ada.get("/").text
    for path in ("/admin/", "/no-such-page"):
        assert 'rel="help"' not in ada.get(path).text


def test_each_text_opens_whole_and_live(ada: Browser) -> None:
    for path in (*GUIDES, *(f"reference/{name}" for name in reference.PAGES)):
        whole, live = ada.get(f"/guide/{path}"), ada.live(f"/guide/{path}")
        assert whole.status_code == live.status_code == 200, path
        assert 'class="guide-text"' in live.text
        assert len(whole.get_data()) < 60_000, path


def test_everybody_is_shown_what_is_for_them(app: Flask, signed_in: Callable[[str], Browser], people: dict[str, Actor]) -> None:
    assert re.findall(r'<h2 id="g-.*?>([\w ]+)</a>', signed_in("ada").get("/guide/").text) == ["For users", "For integrators"]
    for name in ("ada", "mary", "grace"):
        browser, held, seen = signed_in(name), permissions.of(people[name]), set[str]()
        for path in ("/guide/", *(f"/guide/{guide}" for guide in GUIDES), "/guide/reference/settings"):
            text = browser.get(path).text.split("<main", 1)[1].split("</main>")[0]
            seen |= {address for address in re.findall(r'href="(/[^"#]*)', text) if not address.startswith("/static/")}
        for address in seen:
            need = app.view_functions[app.url_map.bind("").match(address)[0]].need  # type: ignore[attr-defined]
            assert need.permission == OWN or held.has(need.permission), (name, address)


def test_there_is_no_other_page(ada: Browser) -> None:
    for path in ("/guide/nothing", "/guide/reference/nothing", "/guide/README", "/guide/..%2fREADME"):
        assert ada.get(path).status_code == 404, path


def test_what_a_text_says_is_text() -> None:
    made = Document("x", "# A\n\n<script>1</script> [a](javascript:x) | b\n\n| `a` |\n| --- |\n| <b>c</b> |\n").html(lambda _: "/x")
    assert "<script" not in made
    assert "<b>" not in made
    assert "javascript:x</a>" not in made
    assert 'href="javascript' not in made


def test_the_reference_has_all_there_is(app: Flask) -> None:
    texts = {name.removeprefix("reference/").removesuffix(".md"): text for name, text in written(app).items()}
    assert cells(texts["settings"]) == {one.name for one in settings.describe()}
    assert cells(texts["permissions"]) == {*PERMISSIONS, *SCOPES}
    assert all(role.about in texts["permissions"].source for role in ROLES.values())
    assert cells(texts["events"]) == set(EventKind)
    assert cells(texts["metrics"]) == set(METRICS)
    assert cells(texts["needs"]) == {kind.name for kind in KINDS}
    assert all(kind.find.__doc__ in texts["needs"].source for kind in KINDS if kind.find.__doc__ or pytest.fail(kind.name))
    assert {title.split(":")[0] for title in (one.title for one in texts["activities"].sections)} >= {
        kind.name for kind in kinds.known().values() if not kind.core
    }
    from dpe.cli import cli

    assert all(f"`dpe {name}" in texts["commands"].source for name, _ in leaves(cli))
    shown = {
        rule.rule
        for rule in app.url_map.iter_rules()
        if hasattr(app.view_functions[rule.endpoint], "need") and rule.endpoint.split(".")[0] not in (*WITHOUT_PAGES, "moved")
    }
    assert cells(texts["addresses"]) == shown


def test_each_setting_is_set_in_a_page_or_says_why_not() -> None:
    names = {one.name for one in settings.describe()}
    assert settings.IN_CONSOLE.keys() | settings.ONLY_IN_FILE.keys() == names
    assert not settings.IN_CONSOLE.keys() & settings.ONLY_IN_FILE.keys()
