"""How browsers reach the page: its certificate, and the reverse proxies in front of it."""

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field

from appliance.errors import BadInput
from appliance.host.rpc.verb import Arguments, Nothing, Result, Verb

LARGEST = 128 << 10  # bytes of a file
SOON = timedelta(days=30)


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadInput("A file did not arrive whole.", "Send it again.") from error
    return text


class Files(Arguments):
    """What the admin sent: files in base64, and what they said about them."""

    files: list[Annotated[str, Field(max_length=LARGEST * 4 // 3 + 4), AfterValidator(_base64)]] = Field(max_length=3)
    passphrase: str = Field(default="", max_length=1000, repr=False)
    host: str = Field(max_length=300)
    other_name: bool = False
    private_authority: bool = False


class Certificate(Result):
    """What the front door is served with: whether it is the admin's `own`, for which names, until when, and what leads to its authority.
    `problem` says why one that came over the page cannot be served."""

    own: bool
    problem: str
    fingerprint: str
    names: list[str]
    begins: AwareDatetime
    ends: AwareDatetime
    issuer: str
    key: str
    chain: list[str]

    @property
    def ends_soon(self) -> bool:
        """Whether somebody has to replace it: the appliance renews its own by itself."""
        return self.own and self.ends - datetime.now(UTC) < SOON


class Proxies(Arguments):
    """Addresses and networks, as somebody wrote them."""

    proxies: list[Annotated[str, Field(max_length=200)]] = Field(max_length=500)


CERTIFICATE = Verb("certificate.get", Nothing, Certificate)
SET_CERTIFICATE = Verb("certificate.set", Files, Certificate)
REMOVE_CERTIFICATE = Verb("certificate.remove", Nothing, Certificate)
PROXIES = Verb("proxies.get", Nothing, list[str])
SET_PROXIES = Verb("proxies.set", Proxies, list[str])
