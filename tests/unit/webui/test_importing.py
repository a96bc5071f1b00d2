"""Importing people on its page."""

import io
import re

import pytest

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, Grant, OrgUnit
from tests.unit.webui.conftest import Browser

ADDRESS = "/admin/accounts/import/"


def test_people_from_text_get_links_that_are_shown_once(grace: Browser) -> None:
    grace.get(ADDRESS)
    answer = grace.post(ADDRESS, {"table": "name,full_name\r\nemmy,Emmy Noether\r\nsonya,Sofya Kovalevskaya\r\n"})
    assert answer.status_code == 200
    assert "2 accounts are created" in answer.text
    shown = dict(re.findall(r"<td>(\w+)</td><td class=\"mono text-break\">https://[^<]*/set-password#([^<]+)</td>", answer.text))
    assert set(shown) == {"emmy", "sonya"}
    assert f"emmy,Emmy Noether,https://appliance.test:8443/set-password#{shown['emmy']}" in answer.text  # as CSV
    assert Account.get(Account.name == "emmy").full_name == "Emmy Noether"
    assert shown["emmy"] not in grace.get(ADDRESS).text
    grace.get("/set-password")
    assert grace.post("/set-password", {"link": shown["emmy"], "password": "a good one of hers"}).status_code == 303
    assert grace.sign_in("emmy", "a good one of hers").status_code == 303


def test_a_password_of_the_table_is_changed_first_of_all(grace: Browser) -> None:
    grace.get(ADDRESS)
    answer = grace.post(ADDRESS, {"table": "name,password\nemmy,correct horse battery\n"})
    assert "1 person has the password of the table. It is changed at the first sign-in." in answer.text
    assert "correct horse battery" not in answer.text
    grace.sign_in("emmy", "correct horse battery")
    assert grace.get("/").headers["Location"] == "/account/new-password"


def test_people_from_a_file(grace: Browser) -> None:
    grace.get(ADDRESS)
    answer = grace.post(ADDRESS, {"table": "", "file": (io.BytesIO("name;full_name\nemmy;Emmy Nöther\n".encode()), "people.csv")})
    assert answer.status_code == 200
    assert Account.get(Account.name == "emmy").full_name == "Emmy Nöther"


@pytest.mark.badinput
def test_a_broken_line_is_named_nobody_is_made_and_the_table_is_not_lost(grace: Browser) -> None:
    before = Account.select().count()
    grace.get(ADDRESS)
    table = "name,email\nemmy,emmy@example.org\n<b>,x\nada,ada@example.org\n"
    for form in ({"table": table}, {"table": "", "file": (io.BytesIO(table.encode()), "people.csv")}):
        answer = grace.post(ADDRESS, form)
        assert answer.status_code == 400
        assert "Nothing was imported." in answer.text
        assert "Line 3: &#39;&lt;b&gt;&#39; cannot be" in answer.text
        assert "Line 4: there is already an account ada" in answer.text
        assert "emmy,emmy@example.org\n&lt;b&gt;,x" in answer.text.replace("\r", "")
    assert Account.select().count() == before


@pytest.mark.badinput
@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe", b"PK\x03\x04" + bytes(range(256)) * 20])
def test_what_is_no_table_is_refused(grace: Browser, data: bytes) -> None:
    grace.get(ADDRESS)
    answer = grace.post(ADDRESS, {"table": "", "file": (io.BytesIO(data), "people.xlsx")})
    assert answer.status_code == 400
    assert "Nothing was imported." in answer.text


def test_a_delegate_imports_into_what_they_look_after_and_nowhere_else(ada: Browser, people: dict[str, Actor]) -> None:
    with catalog.write():
        school = OrgUnit.create(parent=ROOT, name="School")
        lab = OrgUnit.create(parent=school.id, name="Lab")
        office = OrgUnit.create(parent=ROOT, name="Office")
        Grant.create(role="delegated_admin", account=people["ada"].account_id, over_unit=school.id)
    page = ada.get(ADDRESS).text
    assert "School / Lab" in page
    assert "Office" not in page
    assert ada.post(ADDRESS, {"table": "name\nemmy\n", "unit": str(lab.id)}).status_code == 200
    assert Account.get(Account.name == "emmy").org_unit_id == lab.id
    for unit in (office.id, ROOT, 999):
        assert ada.post(ADDRESS, {"table": "name\nsonya\n", "unit": str(unit)}).status_code == 404
    assert Account.get_or_none(Account.name == "sonya") is None
