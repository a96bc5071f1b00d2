"""Packages: the page that finds them, one of them, a field that offers their names, and the same for programs."""

import re
from datetime import timedelta
from typing import Annotated

import pytest
from flask import Flask, render_template_string
from pydantic import Field

from appliance import catalog
from appliance.catalog import Actor, Class, Grant, now, package_index
from appliance.settings import Settings
from tests import packages as made
from tests import world
from tests.unit.webui.conftest import Browser
from tests.unit.webui.test_api_admin import Call, call, said
from webui import forms
from webui.forms import Form

__all__ = ["call"]

HERE = "/admin/packages/"
HTMX = {"HX-Request": "true", "HX-Target": "div.lookup-list"}


@pytest.fixture
def index(opened: Settings) -> None:
    made.write(opened.packages)


def found(page: str) -> list[str]:
    return re.findall(rf'href="{HERE}debian-1\d/([^"]+)"', page)


def test_packages_are_found_with_what_they_bring(grace: Browser, index: None) -> None:
    page = grace.get(f"{HERE}?q=postgresql").text
    assert found(page) == ["postgresql", "postgresql-17", "postgresql-common", "postgresql-client-17", "libpq5"]
    assert "5 packages" in page
    assert "with 6 more" in page
    assert "in every seed" in grace.get(f"{HERE}?q=systemd-sysv").text
    assert "No package of Debian 13 has these words." in grace.get(f"{HERE}?q=nothing+like+it").text
    assert 'value="postgresql"' in page


@pytest.mark.badinput
def test_without_an_index_the_page_says_so_and_what_can_be_built(grace: Browser, opened: Settings) -> None:
    with catalog.write():
        package_index.failed("debian-13", "The mirror did not answer.", "Check the network.")
    page = grace.get(f"{HERE}?q=git").text
    assert "There is no package index of Debian 13 yet." in page
    assert "The mirror did not answer." in page
    assert "Nothing: a build needs the mirror." in page
    assert grace.get(f"{HERE}debian-13/git").status_code == 503
    assert grace.get(f"{HERE}?release=debian-11&q=git").status_code == 200


def test_a_package_has_a_page(grace: Browser, index: None) -> None:
    with catalog.write():
        Class.update(spec={**Class.get_by_id("notebook").spec, "packages": ["postgresql"]}).where(Class.name == "notebook").execute()
    page = grace.get(f"{HERE}debian-13/postgresql").text
    assert "It is a fully featured object-relational system." in page, "lines of a paragraph are one"
    assert '<a href="/admin/classes/notebook">notebook</a>' in page
    assert {"libpq5", "perl", "locales"} <= set(found(page))
    answer = grace.get(f"{HERE}debian-13/postgrseql")
    assert answer.status_code == 404
    assert "Did you mean postgresql" in answer.text
    assert grace.get(f"{HERE}debian-11/git").status_code == 404
    assert grace.get(f"{HERE}debian-13/g++").status_code == 200
    assert "Nothing in this release meets: no-such-thing." in grace.get(f"{HERE}debian-13/mailutils").text


def test_somebody_has_an_index_read(grace: Browser, index: None) -> None:
    grace.get(HERE)
    assert grace.post(f"{HERE}debian-12/refresh").status_code == 303
    assert package_index.wanted() == ["debian-12"]
    assert "The package index of Debian 12 is being read for grace." in grace.get(f"{HERE}?release=debian-12").text


def test_who_may_see_seeds_looks_and_who_may_build_them_refreshes(app: Flask, people: dict[str, Actor], index: None) -> None:
    world.account("oper")
    with catalog.write():
        Grant.create(role="operator", account=catalog.Account.get(catalog.Account.name == "oper").id)
    browser = Browser(app.test_client())
    browser.sign_in("oper")
    page = browser.get(f"{HERE}?q=git").text
    assert found(page) == ["git", "git-man"]
    assert "Refresh" not in page
    assert browser.post(f"{HERE}debian-13/refresh").status_code == 403
    assert package_index.wanted() == []


@pytest.mark.hostile
def test_what_a_mirror_says_of_a_package_is_text(grace: Browser, index: None, monkeypatch: pytest.MonkeyPatch, opened: Settings) -> None:
    bad = ("zzz", "<i>web</i>", "optional", 1, 1, {"Description": "<script>alert(1)</script> webby", "Depends": "<b>x</b>"})
    monkeypatch.setattr(made, "_ROWS", (*made._ROWS, bad))
    made.write(opened.packages)
    for path in (f"{HERE}?q=webby", f"{HERE}debian-13/zzz"):
        page = grace.get(path).text
        assert "&lt;script&gt;alert" in page
        assert "<script>alert" not in page
        assert "<i>web" not in page


def offered(browser: Browser, query: str) -> list[str]:
    return re.findall(r'data-value="([^"]+)"', browser.get(f"/search?{query}", **HTMX).text)


def test_a_field_offers_packages_of_the_release_that_its_form_has(grace: Browser, ada: Browser, index: None) -> None:
    assert offered(grace, "offer=packages&field=packages&packages=git,+post&os=debian-13")[:2] == ["postfix", "postgresql"]
    assert offered(grace, "offer=package&field=q&q=git&release=debian-13") == ["git", "git-man"]
    assert offered(grace, "offer=packages&field=packages&packages=git") == ["git", "git-man"], "the newest release, unless one is named"
    assert offered(grace, "offer=packages&field=packages&packages=git&os=debian-12") == []
    assert offered(grace, "offer=packages&field=packages&packages=git&os=nosuch") == []
    assert offered(ada, "offer=packages&field=packages&packages=git&os=debian-13") == []


class Recipe(Form):
    packages: Annotated[forms.Words, Field([], title="Packages", json_schema_extra=forms.lookup("packages"))]


def test_a_form_has_such_a_field(app: Flask) -> None:
    with app.test_request_context("/"):
        page = render_template_string(
            '{% import "_forms.html" as f with context %}{{ f.field(form, "packages", extra={"hx-include": "[name=os]"}) }}',
            form=forms.bound(Recipe, {"packages": "git less"}),
        )
    assert 'role="combobox"' in page
    assert "data-several" in page
    assert 'value="git less"' in page


# -- the API -----------------------------------------------------------------------------------------------


@pytest.mark.api
def test_programs_look_packages_up(call: Call, index: None) -> None:
    answer = said(call("GET", "/admin/packages?release=debian-13&q=postgresql"))
    assert (answer["release"], answer["total"]) == ("debian-13", 5)
    items = answer["items"]
    assert isinstance(items, list)
    assert (items[0]["name"], items[0]["size"], items[0]["base"]) == ("postgresql", 14 << 10, False)
    assert items[0]["brings"]["packages"][0] == "libpq5"
    detail = said(call("GET", "/admin/packages/debian-13/postgresql"))
    assert str(detail["description"]).startswith("This metapackage")
    nothing = said(call("GET", "/admin/packages?release=debian-12&q=git"))
    assert (nothing["read_at"], nothing["items"]) == (None, [])
    assert call("GET", "/admin/packages?release=debian-11&q=git").status_code == 404
    assert call("GET", "/admin/packages?q=git", name="ada").status_code == 403


@pytest.mark.api
def test_programs_have_an_index_read_and_are_told_of_a_package_that_there_is_not(call: Call, opened: Settings) -> None:
    made.write(opened.packages, at=now() - timedelta(minutes=1))
    assert call("POST", "/admin/packages/debian-13/refresh", scope=("admin:read",)).status_code == 403
    assert said(call("POST", "/admin/packages/debian-13/refresh")) == {"state": "asked"}
    assert package_index.wanted() == ["debian-13"]
    with catalog.write():
        Class.update(spec={**Class.get_by_id("studio").spec, "os": "debian-13", "packages": ["postgrseql"]}).where(
            Class.name == "studio"
        ).execute()
        catalog.Seed.update(state=catalog.SeedState.READY).where(catalog.Seed.class_name == "studio").execute()
    refused = call("POST", "/admin/classes/studio/build")
    assert refused.status_code == 400
    assert "Debian 13 has no package postgrseql" in refused.text
