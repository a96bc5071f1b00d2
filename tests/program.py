"""A program of an owner's that asks the REST API of an application in this process, with real parts behind it or their fakes."""

from typing import Any

from flask import Flask

from appliance import catalog
from appliance.catalog import Actor, options
from appliance.services import tokens
from appliance.settings import Settings
from tests import world
from webui.app import create_app

HOST = "https://appliance.test"


class Program:
    """Asks with a token of one scope; every answer is of the status that is expected."""

    def __init__(self, app: Flask, owner: Actor) -> None:
        self.app, self.owner = app, owner
        self.tokens: dict[str, str] = {}

    def ask(self, status: int, method: str, path: str, json: object = None, *, scope: str = "admin:host") -> Any:
        token = self.tokens.get(scope) or self.tokens.setdefault(scope, tokens.create(self.owner, "script", [scope], 7))
        answer = self.app.test_client().open(
            f"/api/v1/{path}", method=method, base_url=HOST, json=json, headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == status, answer.text
        assert status < 400 or answer.mimetype == "application/problem+json"
        return answer.json if answer.data else None

    def refused(self, method: str, path: str, json: object) -> list[str]:
        """Where what was sent is wrong."""
        return [one["pointer"] for one in self.ask(400, method, path, json)["errors"]]


def of_owner(settings: Settings) -> Program:
    """One of grace's, for whom an account is made: the appliance is set up."""
    app = create_app(settings)
    catalog.open(settings.catalog)
    grace = world.account("grace", "Grace Hopper", is_admin=True)
    with catalog.write():
        options.put("setup_done", True)
    return Program(app, grace)
