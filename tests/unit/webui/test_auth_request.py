"""What nginx is answered when a question is odd; the rest is tested through the web page and through nginx."""

import pytest

from appliance.catalog import Actor
from appliance.settings import Settings
from webui import auth_request


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("lab.example.org:9003", "https://lab.example.org:8443/sign-in?next=https%3A%2F%2Flab.example.org%3A9003%2Fx%3Fy%3D1%26z"),
        ("[2001:db8::1]:9003", "https://[2001:db8::1]:8443/sign-in?next=https%3A%2F%2F%5B2001%3Adb8%3A%3A1%5D%3A9003%2Fx%3Fy%3D1%26z"),
    ],
)
def test_the_way_to_sign_in_leads_back(settings: Settings, host: str, address: str) -> None:
    assert auth_request.answer(None, "", {"Host": host, "X-DPE-Port": "9003", "X-DPE-Uri": "/x?y=1&z"}, settings) == (
        401,
        {"X-DPE-Location": address},
    )


@pytest.mark.badinput
@pytest.mark.parametrize(
    "headers", [{}, {"X-DPE-Port": "x"}, {"X-DPE-Port": "9003", "Host": "[::1"}, {"X-DPE-Port": "8999"}, {"X-DPE-Port": "99999"}]
)
def test_an_odd_question_opens_nothing(alice: Actor, settings: Settings, headers: dict[str, str]) -> None:
    assert auth_request.answer(alice, "s", headers, settings) == (403, {"X-DPE-Page": "nobody"})
