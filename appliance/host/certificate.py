"""The front door's certificate, from the page Server: what is served, another one in its place, and the appliance's own again.

A key comes over the socket alone, is written for root, and said nowhere.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, Any

from cryptography import x509
from pydantic import AfterValidator, Field

from appliance.access import own, tls
from appliance.catalog import Actor, EventKind
from appliance.errors import BadInput
from appliance.host import events
from appliance.host.verbs import Arguments, Host, verb
from appliance.settings import Settings

LARGEST = 128 << 10  # bytes of a file


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise BadInput("A file did not arrive whole.", "Send it again.") from error
    return text


class Files(Arguments):
    """What the admin sent: files in base64, and what they said about them."""

    files: list[Annotated[str, Field(max_length=LARGEST * 4 // 3 + 4), AfterValidator(_base64)]] = Field(max_length=3)
    passphrase: str = Field(default="", max_length=1000)
    host: str = Field(max_length=300)
    other_name: bool = False
    private_authority: bool = False


@verb("certificate.get")
def get(args: Arguments, host: Host) -> dict[str, Any]:
    """What is served: whether it is the admin's `own`, its fingerprint, and what `own.about` says of it."""
    return _served(host.settings)


def _served(settings: Settings) -> dict[str, Any]:
    certificate, _ = tls.ensure(settings)
    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    return {
        "own": certificate.name != "appliance.crt",
        "problem": tls.complaint(settings),
        "fingerprint": tls.fingerprint(certificate),
        **own.about(chain),
    }


@verb("certificate.set")
def set_own(args: Files, host: Host) -> dict[str, Any]:
    """Serve another certificate. Raises BadInput with what is wrong with it; nothing is changed then. Connections go on."""
    found = own.check(
        [base64.b64decode(one) for one in args.files],
        args.passphrase,
        host=args.host,
        other_name=args.other_name,
        private_authority=args.private_authority,
        trusted=own.authorities(),
        now=datetime.now(UTC),
    )
    tls.use_own(host.settings, found.pem())
    served = _served(host.settings)
    _tell(host, "certificate.changed", f"had the page served with a certificate for {', '.join(served['names'])}")
    return served


@verb("certificate.remove")
def remove_own(args: Arguments, host: Host) -> dict[str, Any]:
    """Serve the one that the appliance signs itself again."""
    tls.forget_own(host.settings)
    _tell(host, "certificate.removed", "removed the page's own certificate: it is served with the appliance's again")
    return _served(host.settings)


def _tell(host: Host, kind: EventKind | str, said: str) -> None:
    events.tell(host.settings, kind, f"{host.by or 'Somebody'} {said}.", actor=Actor(host.by or "dpe-host"))
