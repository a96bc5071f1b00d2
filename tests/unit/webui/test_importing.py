"""Importing people on its page."""

import io
import re

import pytest

from appliance import catalog
from appliance.catalog import ROOT, Account, Actor, Grant, OrgUnit
from tests.unit.webui.conftest import Browser

ADDRESS = "/admin/accounts/import/"


def test_people_from_text_get_passwords_that_are_shown_once(grace: Browser) -> None:
    grace.get(ADDRESS)
    answer = grace.post(ADDRESS, {"table": "name,full_name\r\nemmy,Emmy Noether\r\nsonya,Sofya Kovalevskaya\r\n"})
    assert answer.status_code == 200
    assert "2 accounts are created" in answer.text
    shown = dict(re.findall(r"<td>(\w+)</td><td class=\"mono\">([a-z0-9-]{19})</td>", answer.text))
    assert set(shown) == {"emmy", "sonya"}
    assert Account.get(Account.name == "emmy").full_name == "Emmy Noether"
    assert shown["emmy"] not in grace.get(ADDRESS).text
    assert grace.sign_in("emmy", shown["emmy"]).status_code == 303


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
