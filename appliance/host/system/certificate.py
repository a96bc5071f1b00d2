"""The front door's certificate, from the page Server: what is served, another one in its place, and the appliance's own again.

A key comes over the socket alone, is written for root, and said nowhere.
"""

import base64
from datetime import UTC, datetime

from cryptography import x509

from appliance.access import own_certificate, tls
from appliance.catalog import Actor, EventKind
from appliance.host.interface import access, conditions
from appliance.host.interface.access import Certificate
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events
from appliance.host.system.conditions import condition
from appliance.settings import Settings


@implements(access.CERTIFICATE)
def get(args: Nothing, host: Host) -> Certificate:
    """What is served."""
    return read_served(host.settings)


def read_served(settings: Settings) -> Certificate:
    """What is served, from the disk."""
    certificate, _ = tls.ensure(settings)
    chain = x509.load_pem_x509_certificates(certificate.read_bytes())
    facts = {"own": certificate.name != "appliance.crt", "problem": tls.complaint(settings), "fingerprint": tls.fingerprint(certificate)}
    return Certificate.model_validate(facts | own_certificate.about(chain))


@condition("certificate")
def _condition(settings: Settings) -> conditions.Certificate:
    served = tls.served(settings)
    leaf = x509.load_pem_x509_certificates(served.read_bytes())[0]
    ends = leaf.not_valid_after_utc if served.name != "appliance.crt" else None
    return conditions.Certificate(ends=ends, problem=tls.complaint(settings), names=own_certificate.names(leaf))


@implements(access.SET_CERTIFICATE)
def set_own(args: access.Files, host: Host) -> Certificate:
    """Serve another certificate. Raises BadInput with what is wrong with it; nothing is changed then. Connections go on."""
    found = own_certificate.check_own(
        [base64.b64decode(one) for one in args.files],
        args.passphrase,
        host=args.host,
        other_name=args.other_name,
        private_authority=args.private_authority,
        trusted=own_certificate.authorities(),
        now=datetime.now(UTC),
    )
    tls.use_own(host.settings, found.pem())
    served = read_served(host.settings)
    _tell(host, EventKind.CERTIFICATE_CHANGED, f"had the page served with a certificate for {', '.join(served.names)}")
    return served


@implements(access.REMOVE_CERTIFICATE)
def remove_own(args: Nothing, host: Host) -> Certificate:
    """Serve the one that the appliance signs itself again."""
    tls.forget_own(host.settings)
    _tell(host, EventKind.CERTIFICATE_REMOVED, "removed the page's own certificate: it is served with the appliance's again")
    return read_served(host.settings)


def _tell(host: Host, kind: EventKind, said: str) -> None:
    events.record_event(host.settings, kind, f"{host.by or 'Somebody'} {said}.", actor=Actor(host.by or "dpe-host"))
