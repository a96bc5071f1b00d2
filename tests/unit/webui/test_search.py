"""Search as people have it: the fragment that a page asks for, the page without a script, and the names that a field offers."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from appliance import catalog
from appliance.catalog import Account, Actor, Grant, Machine, OrgUnit
from tests import world
from tests.unit.webui.conftest import Browser
from webui import search
from webui.guide.texts import GUIDES

pytestmark = pytest.mark.console_ui

OF_USERS = {section.title for name in ("user", "integrator") for section in GUIDES[name].sections}
HTMX = {"HX-Request": "true", "HX-Target": "div#search-results"}


def options(browser: Browser, path: str) -> list[str]:
    """The options of the list that the address answers with: what each is called."""
    answer = browser.get(path, **HTMX)
    assert answer.status_code == 200
    assert "<html" not in answer.text
    return re.findall(r'role="option".*?<span>(.*?)</span>', answer.text, re.DOTALL)


def test_a_page_asks_for_the_options_alone(grace: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    answer = grace.get(f"/search?q={machine.name}", **HTMX).text
    assert f'href="/admin/machines/{machine.id}"' in answer
    assert "in use, ada" in answer
    assert options(grace, "/search?q=") == []
    assert "Nothing is called like that." in grace.get("/search?q=qqq", **HTMX).text


def test_settings_pages_and_actions_are_found(grace: Browser) -> None:
    assert options(grace, "/search?q=storage")[0] == "Storage"
    assert "Time zone" in options(grace, "/search?q=time+zone")
    assert 'href="/admin/settings/#f-time_zone"' in grace.get("/search?q=time+zone", **HTMX).text
    assert options(grace, "/search?q=new+acc") == ["New account"]
    assert 'form="sign-out"' in grace.get("/search?q=sign+out", **HTMX).text
    assert options(grace, "/search?q=smtp") == ["E-mail and webhooks", "E-mail"]


def test_sections_of_the_guide_are_found_by_name_and_where_nothing_is_called_so_by_what_they_say(grace: Browser, ada: Browser) -> None:
    assert options(grace, "/search?q=first+week") == ["The first week"]
    assert 'href="/guide/admin#the-first-week"' in grace.get("/search?q=first+week", **HTMX).text
    assert options(grace, "/search?q=quotas") == ["Quotas"]  # the page itself, which leads to its section
    assert "When something is wrong" in options(grace, "/search?q=rescue+page")
    assert options(ada, "/search?q=rescue+page") == options(ada, "/search?q=first+week") == []


def test_without_a_script_it_is_a_page(grace: Browser) -> None:
    page = grace.get("/search?q=lovelace").text
    assert page.lstrip().startswith("<!doctype html>")
    assert re.search(r'<a class="found" href="/admin/accounts/\d+">', page)
    assert 'value="lovelace"' in page
    assert 'role="option"' not in page.split("<main", 1)[1]


def test_what_is_found_is_shown_as_text(grace: Browser) -> None:
    with catalog.write():
        Account.update(full_name="<b>bold</b>").where(Account.name == "ada").execute()
    assert "<b>bold" not in grace.get("/search?q=ada", **HTMX).text
    assert "<script" not in grace.get("/search?q=<script>", **HTMX).text


def test_the_kind_that_fits_best_comes_first() -> None:
    hits = [search.Hit("verb", 1, "a", "", "", ""), search.Hit("machine", 2, "b", "", "", ""), search.Hit("machine", 0, "c", "", "", "")]
    assert [(title, [hit.title for hit in some]) for title, some in search.groups(hits)] == [("Machines", ["c", "b"]), ("Actions", ["a"])]


def test_a_person_finds_their_own_pages_and_nothing_else(ada: Browser) -> None:
    assert options(ada, "/search?q=my+m") == ["My machines"]
    for text in ("a", "notebook", "studio", "grace", "storage", "new account", "time zone", "analysts"):
        assert not set(options(ada, f"/search?q={text}")) - {
            "My machines",
            "To do",
            "Password",
            "SSH keys",
            "One-time codes",
            "Guide",
            "API",
            "API tokens",
            "Command line",
            "Sign in a device",
            "Sign out",
            *OF_USERS,
        }, text


def test_every_hit_of_every_role_opens(app: Flask, signed_in: Callable[[str], Browser], people: dict[str, Actor]) -> None:
    """Nobody is shown what is refused to them afterwards."""
    with catalog.write():
        world.account("oper")
        Grant.create(role="operator", account=Account.get(Account.name == "oper").id)
    for name in ("oper", "mary", "ada", "grace"):
        browser = signed_in(name)
        for text in ("notebook", "st"):
            found = browser.get(f"/search?q={text}", **HTMX).text
            for path in set(re.findall(r'<a class="found"[^>]* href="([^"#]+)', found)):
                assert browser.get(path).status_code in (200, 503), (name, path)  # 503: dpe-host is not here


def test_a_field_offers_what_may_be_given(app: Flask, people: dict[str, Actor]) -> None:
    with catalog.write():
        science = OrgUnit.get(OrgUnit.name == "Science")
        Account.update(org_unit=science).where(Account.name.in_(["ada", "delegate"])).execute()
        delegate = world.account("delegate")
        Account.update(org_unit=science).where(Account.name == "delegate").execute()
        Grant.create(role="delegated_admin", account=delegate.account_id, over_unit=science)
    browser = Browser(app.test_client())
    browser.sign_in("delegate")
    assert options(browser, "/search?offer=holder&field=name&name=a&kind=account") == ["ada", "delegate"]
    assert options(browser, "/search?offer=holder&field=name&name=a&kind=group") == ["analysts"]
    assert options(browser, "/search?offer=holder&field=name&name=grace") == []
    assert options(browser, "/search?offer=bound&field=name&name=a&kind=account") == ["ada"]  # their own quota binds them
    assert options(browser, "/search?offer=people&field=names&names=grace,+ad") == ["ada"]
    assert options(browser, "/search?offer=nothing&field=name&name=ada") == []


def test_names_are_asked_for_with_the_lookup(grace: Browser, people: dict[str, Actor]) -> None:
    machine = Machine.get(Machine.owner == people["ada"].account_id)
    for path, name in (
        ("/admin/grants/", "name"),
        ("/admin/quotas/", "name"),
        ("/admin/groups/1", "names"),
        (f"/machines/{machine.id}/transfer", "to"),
    ):
        field = next(one for one in re.findall(r"<input[^>]*>", grace.get(path).text) if f'name="{name}"' in one)
        assert 'role="combobox"' in field, path
        assert f"field={name}" in field


def test_a_wrong_name_is_said_at_its_field_with_what_is_like_it(grace: Browser) -> None:
    grace.get("/admin/quotas/")
    page = grace.post("/admin/quotas/", {"kind": "account", "name": "adda", "each": "yes", "machines": "3"}).text
    assert "There is no account adda. Did you mean ada?" in page
    assert 'value="adda"' in page
