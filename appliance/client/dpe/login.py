"""Signing in as a device does (RFC 8628): the appliance gives a code, a person approves it in the browser, and the program that asked gets a token."""

import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from dpe.client import Client
from dpe.errors import NotAllowed, Refused, TimedOut, Unreachable, Untrusted

SCOPES = ("read", "machines", "consoles", "todos")
ADMIN_SCOPES = (
    "sequences",
    "admin:read",
    "admin:machines",
    "admin:people",
    "admin:classes",
    "admin:seeds",
    "admin:server",
    "admin:settings",
    "admin:configuration",
    "admin:scenario",
    "admin:disks",
    "admin:host",
)
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SLOWER = 5  # seconds that are added when the appliance says slow_down (RFC 8628, 3.5)


def sign_in(client: Client, show: Callable[[dict[str, Any]], None], scope: Sequence[str] = SCOPES, name: str = "") -> str:
    """A token for whoever approves; `show` is told `user_code`, `verification_uri` and `verification_uri_complete`. Raises NotAllowed and TimedOut."""
    asked = client.call("POST", "device", {"client_name": name or f"dpe on {platform.node()}"[:60], "scope": " ".join(scope)})
    show(asked)
    pause, until = asked["interval"], time.monotonic() + asked["expires_in"]
    while time.monotonic() < until:
        client.sleep(pause)
        try:
            answer = client.call("POST", "device/token", {"device_code": asked["device_code"], "grant_type": GRANT})
            return str(answer["access_token"])
        except Untrusted:
            raise
        except Unreachable:
            pause += SLOWER
        except Refused as refused:
            if refused.message == "slow_down":
                pause += SLOWER
            elif refused.message == "access_denied":
                raise NotAllowed(403, "It was denied.", "Whoever looked at the page chose so.") from None
            elif refused.message != "authorization_pending":
                raise
    raise TimedOut("Nobody approved it in time.", "Sign in again; the code is good for ten minutes.")
