"""Webhooks: other products told what happens here, as the Standard Webhooks specification says (standardwebhooks.com), and their answers.

A hook that was sent again carries the same id, so that its receiver can leave it. One that answers later does so at an address that
is made for this step of this run alone.
"""

import base64
import hmac
import json
import re
import secrets as random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from appliance import connect
from appliance.catalog import now, options
from appliance.connect import AddressRefused
from appliance.errors import BadInput, NotFound, Unavailable
from appliance.identity import secrets
from appliance.outbound import address

PURPOSE, ANSWERS = "webhooks", "hooks"
PREFIX = "whsec_"
LIMIT = 30.0  # seconds for the whole of one call
LARGEST = 64 << 10  # bytes of an answer
OVERLAP = timedelta(days=1)  # for which a secret is used on after it was replaced
_TOKEN = re.compile(
    r"(?P<asking>(?P<run>[0-9]{1,18})\.(?P<number>[0-9]{1,9})\.(?P<since>[0-9]{20}))\.(?P<mark>[A-Za-z0-9_-]{43})", re.ASCII
)
PASSING = (408, 425, 429)  # what may be better later, besides 5xx


@dataclass(frozen=True)
class Answer:
    """What the receiver said: its status, its JSON object if that is what it was, and the beginning of its text."""

    status: int
    data: dict[str, Any]
    text: str


class Gone(AddressRefused):
    """The receiver wants no more calls (410)."""


def check_url(text: str) -> str:
    """An address that can be called. Raises BadInput."""
    text = text.strip()
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or not text.isascii() or not text.isprintable() or " " in text or "#" in text or len(text) > 2000:
        raise BadInput(
            f"{text[:80]!r} cannot be called.", "Write an address like https://hooks.example.org/dpe, without a name or password in it."
        )
    connect.check_host(urlsplit(text).hostname or "")
    return text


# -- secrets ---------------------------------------------------------------------------------


def new_secret() -> str:
    """A secret as receivers are given it."""
    return PREFIX + base64.b64encode(random.token_bytes(32)).decode()


def sealed(secret: str) -> str:
    """The secret as it is kept."""
    return secrets.seal(PURPOSE, secret)


def known_secrets() -> list[str]:
    """The secrets to sign with, the newest first: the one before it, too, for a day. Empty while there is none."""
    stored = options.get("webhooks")
    kept = [stored["secret"]] if stored.get("secret") else []
    if stored.get("before") and datetime.fromisoformat(stored["before_until"]) > now():
        kept.append(stored["before"])
    return [secrets.unseal(PURPOSE, one) for one in kept]


def sign(secret: str, id: str, timestamp: int, body: bytes) -> str:
    """The signature of a body, as it stands in the header."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    made = hmac.digest(key, b"%s.%d.%s" % (id.encode(), timestamp, body), "sha256")
    return "v1," + base64.b64encode(made).decode()


# -- calling ---------------------------------------------------------------------------------


def post(
    url: str,
    payload: dict[str, Any],
    *,
    id: str,
    signed_with: list[str],
    authority: str = "",
    limit: float = LIMIT,
    status_only: bool = False,
) -> Answer:
    """Call the address once; no redirect is followed. `limit` is seconds for all of it. With `status_only` nobody reads what the answer says, so that it
    may say too much.

    Raises Unavailable when trying again later may help, and Refused when it does not.
    """
    url = check_url(url)
    body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()
    timestamp = int(now().timestamp())
    headers = {
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": "DPE-Appliance",
        "Connection": "close",
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, id, timestamp, body) for secret in signed_with),
    }
    with connect.exchange("POST", url, headers, body, authority=authority, reach=limit / 2, whole=limit) as reply:
        said = reply.read(LARGEST + 1)
    answer = _judged(reply.status, said, where := f"{reply.host}:{reply.port}")
    if len(said) > LARGEST and not status_only:
        raise AddressRefused(f"{where} answers with more than {LARGEST >> 10} KiB.", "A few words are enough.")
    return answer


def _judged(status: int, said: bytes, where: str) -> Answer:
    text = said[:500].decode(errors="replace")
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]
    quoted = f" It says “{shown}”." if shown else ""
    if status >= 500 or status in PASSING:
        raise Unavailable(f"{where} answers {status}.{quoted}", "Look at the receiver's log.")
    if 300 <= status < 400:
        raise AddressRefused(
            f"{where} answers {status}, which sends us elsewhere; that is not followed.", "Enter the address that it leads to."
        )
    if not 200 <= status < 300:
        kind = Gone if status == 410 else AddressRefused
        raise kind(f"{where} answers {status}.{quoted}", "Check the address, and that the receiver knows the secret.")
    return Answer(status, _object(said), shown)


def _object(said: bytes) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def send(url: str, payload: dict[str, Any], *, id: str, limit: float = LIMIT) -> Answer:
    """Call the address, signed with the appliance's secrets. Raises what post() raises, and Refused while there is no secret."""
    signed_with = known_secrets()
    if not signed_with:
        raise AddressRefused("Webhooks have no secret yet.", "An admin makes one under Settings, E-mail and webhooks.")
    return post(url, payload, id=id, signed_with=signed_with, authority=options.get("webhooks").get("authority", ""), limit=limit)


# -- answers that come later -----------------------------------------------------------------


class Asking(NamedTuple):
    """One asking of a step: another one is made when somebody has the run done anew from there."""

    run_id: int
    number: int
    since: datetime  # when the step was begun first

    def __str__(self) -> str:
        return f"{self.run_id}.{self.number}.{self.since:%Y%m%d%H%M%S%f}"


def id_of(asking: Asking) -> str:
    """What the call is named by, at each try."""
    return f"msg_{secrets.mark('webhook id', str(asking))}"


def callback(asking: Asking) -> str:
    """The address at which it is answered; always the same. Raises Refused while our own is not known."""
    link = address.link(f"/hooks/{token(asking)}")
    if not link:
        raise AddressRefused(
            "Nobody could answer: the appliance's own address is not set.", "An admin does that under Settings, E-mail and webhooks."
        )
    return link


def token(asking: Asking) -> str:
    """What opens this asking, and no other, to an answer."""
    return f"{asking}.{secrets.mark(ANSWERS, str(asking))}"


def opened_by(token: str) -> Asking:
    """What the token opens. Raises NotFound."""
    found = _TOKEN.fullmatch(token)
    if not found or not hmac.compare_digest(secrets.mark(ANSWERS, found["asking"]), found["mark"]):
        raise NotFound("Nothing waits for an answer here.", "The address must be the one that the webhook named, letter for letter.")
    since = datetime.strptime(found["since"], "%Y%m%d%H%M%S%f").replace(tzinfo=UTC)
    return Asking(int(found["run"]), int(found["number"]), since)
