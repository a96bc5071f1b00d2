"""What a request sent becomes a model, and what does not fit is told at its field."""

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from flask import Flask
from pydantic import Field

from tests import world
from tests.unit.webui.conftest import Browser
from webui import forms
from webui.forms import DayOrNothing, Form, FormError, Whole, WholeOrNothing


class Wish(Form):
    name: Annotated[str, forms.text("Its name is missing.")] = Field("", validate_default=True, description="Write one.")
    count: Whole = Field(1, title="Count", description="Write a whole number.")
    most: WholeOrNothing = Field(None, title="At most")
    day: DayOrNothing = Field(None, title="Day")


@pytest.mark.parametrize("how", ["form", "json"])
def test_a_form_and_json_are_read_alike(app: Flask, how: str) -> None:
    sent: dict[str, Any] = {"name": "x", "count": "3", "most": "", "day": "2030-12-31", "else": "left out"}
    with app.test_request_context("/", method="POST", **({"data": sent} if how == "form" else {"json": sent})):
        wish = forms.read(Wish)
    assert (wish.name, wish.count, wish.most, str(wish.day)) == ("x", 3, None, "2030-12-31")


@pytest.mark.parametrize(
    ("sent", "fields", "message"),
    [
        ({}, {"name"}, "Its name is missing."),
        ({"name": 7}, {"name"}, "Its name is missing."),
        ({"name": "x", "count": "²"}, {"count"}, "Count: '²' is not a number."),
        ({"name": "x", "count": ""}, {"count"}, "Count: a number is missing."),
        ({"name": "x", "count": True}, {"count"}, "Count: True is not a number."),
        ({"name": "x", "count": None}, {"count"}, "Count: None is not a number."),
        ({"name": "x", "count": "9" * 40}, {"count"}, "Count: '99999999999999999999' is not a number."),
        ({"name": "x", "most": "-1", "day": "tomorrow"}, {"most", "day"}, "At most: '-1' is not a number."),
        ({"name": "x", "day": "0001-01-01"}, {"day"}, "Day: '0001-01-01' is not a day of our time."),
        ([1, 2], {"name"}, "Its name is missing."),
    ],
)
def test_what_does_not_fit_is_told_at_its_field(app: Flask, sent: Any, fields: set[str], message: str) -> None:
    with app.test_request_context("/", method="POST", json=sent), pytest.raises(FormError) as told:
        forms.read(Wish)
    assert (set(told.value.fields), told.value.message) == (fields, message)


def test_the_page_says_it_at_the_field_and_keeps_what_was_entered(signed_in: Callable[[str], Browser]) -> None:
    grace = signed_in("grace")
    grace.get("/admin/quotas/")
    answer = grace.post("/admin/quotas/", {"kind": "account", "name": "ada", "machines": "many", "memory": "4096"})
    assert answer.status_code == 400
    assert "Machines: &#39;many&#39; is not a number." in answer.text
    assert 'id="e-machines">&#39;many&#39; is not a number.' in answer.text
    assert 'value="many"' in answer.text
    assert 'value="4096"' in answer.text
    grace.get("/admin/grants/")
    entered = {"role": "user", "kind": "account", "name": "ada", "over": "garbage", "ends": "2030-13-31", "again": world.PASSWORD}
    answer = grace.post("/admin/grants/", entered)
    assert answer.status_code == 400
    assert "Scope" in answer.text
    assert "&#39;2030-13-31&#39; is not a day." in answer.text.split('id="f-ends"')[1].split("</form>")[0]
