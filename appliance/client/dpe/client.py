"""The REST API from Python: `Client(address, token).machines()`. The command line is made of this.

It does what every caller would have to do by hand: problem details become exceptions, lists are followed to their end, what creates has an
idempotency key and may so be asked again, and who is asked to wait waits.
"""

import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import requests
from requests.adapters import BaseAdapter, HTTPAdapter

from dpe import certificate
from dpe.errors import BY_STATUS, Conflict, NotFound, Refused, TimedOut, Unreachable, Untrusted

PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before what may be asked again is asked again
LONGEST = 60  # seconds that somebody waits who calls too often
POLL = 1.0  # seconds between two looks at what is waited for
BUSY = (502, 503, 504)

Object = dict[str, Any]
Headers = Mapping[str, str]
NONE: Headers = {}


class _Transport(HTTPAdapter):
    """Connections by one TLS context, which says by itself whom it trusts."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        if not self._context.check_hostname:
            named["assert_hostname"] = False  # the context lets in one certificate, whatever its name
        super().init_poolmanager(*arguments, ssl_context=self._context, **named)

    def cert_verify(self, *_: Any) -> None:
        """Nothing is added to what the context trusts."""


class Client:
    """An appliance, as somebody: `address` like https://dpe.example.org:8443, `certificate` the pinned one as PEM, or none for one that this
    computer trusts."""

    def __init__(
        self, address: str, token: str = "", *, certificate: str = "", timeout: float = 30, transport: BaseAdapter | None = None
    ) -> None:
        self.address, self.token, self.certificate, self.timeout = address.rstrip("/"), token, certificate, timeout
        self.sleep: Callable[[float], None] = time.sleep
        self._session = requests.Session()
        self._session.trust_env = False  # a proxy of the environment is not the appliance's, and ~/.netrc has no token
        self._transport = transport

    @classmethod
    def signed_in(cls, address: str = "") -> "Client":
        """As `dpe login` left it, or the environment says it: DPE_ADDRESS, DPE_TOKEN and DPE_FINGERPRINT. Raises NotAllowed."""
        from dpe import hosts

        host = hosts.current(address)
        return cls(host.address, host.token, certificate=host.certificate)

    # -- calls ---------------------------------------------------------------------------------------

    def call(self, method: str, path: str, body: object = None, *, key: str = "", stream: bool = False, headers: Headers = NONE) -> Any:
        """What /api/v1 answers, as JSON; None for nothing. Raises Refused and Unreachable."""
        answer = self.request(method, path, body, key=key, stream=stream, headers=headers)
        return answer if stream else answer.json() if answer.content else None

    def request(self, method: str, path: str, body: object = None, *, key: str = "", stream: bool = False, headers: Headers = NONE) -> Any:
        """The answer itself, with its headers; what may be asked again is, when nothing was heard or the appliance is busy."""
        again = method in ("GET", "PUT", "DELETE") or bool(key)
        pauses = iter(PAUSES if again else ())
        waited = 0  # seconds, as we were told to
        while True:
            try:
                answer = self._send(method, path, body, key, headers, stream=stream)
            except Unreachable as error:
                pause = None if isinstance(error, Untrusted) else next(pauses, None)
                if pause is None:
                    raise
            else:
                if answer.status_code < 300:
                    return answer
                refused = _refused(answer)
                pause = next(pauses, None) if answer.status_code in BUSY else None
                if answer.status_code == 429 and waited + refused.wait <= LONGEST:  # nothing was done
                    pause = refused.wait or 1
                    waited += int(pause)
                if pause is None:
                    raise refused
            self.sleep(pause)

    def _send(self, method: str, path: str, body: object, key: str, headers: Headers, *, stream: bool) -> Any:
        address = path if path.startswith(("http://", "https://")) else f"{self.address}/api/v1/{path.lstrip('/')}"
        sent = {"Accept": "application/json", **headers}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if key:
            sent["Idempotency-Key"] = key
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            self._mount()
            return self._session.request(
                method, address, data=data, headers=sent, timeout=self.timeout, stream=stream, allow_redirects=False
            )
        except (requests.exceptions.SSLError, ssl.SSLError) as error:
            raise Untrusted(
                f"{self.address} cannot be trusted: its certificate is another one than before, has expired, or is unknown here.",
                f"If the appliance has a new certificate, compare its fingerprint and sign in again: dpe login {self.address}",
            ) from error
        except requests.exceptions.RequestException as error:
            raise Unreachable(
                f"{self.address} does not answer: {_cause(error)}.", "Look whether the address is right and the appliance is on."
            ) from error

    def _mount(self) -> None:
        if not self._session.adapters.get(f"{self.address}/"):
            made = self._transport or _Transport(certificate.context(self.certificate))
            self._session.adapters.clear()  # nothing goes anywhere else
            self._session.mount(f"{self.address}/", made)

    def items(self, path: str, **query: object) -> Iterator[Object]:
        """All entries of a list, a page at a time."""
        after = None
        while True:
            page = self.call("GET", path + _query({**query, "after": after}))
            yield from page["items"]
            after = page.get("next")
            if after is None:
                return

    def create(self, path: str, body: object = None) -> Any:
        """What was created: once, however often it had to be asked."""
        import uuid

        return self.call("POST", path, body, key=str(uuid.uuid4()))

    def put(self, path: str, body: object, etag: str = "") -> bool:
        """Have something be so; returns whether that changed it. With the ETag of what was read, Conflict when it has changed since."""
        found = self.call("PUT", path, body, headers={"If-Match": etag} if etag else NONE)
        return bool(found.get("changed", True))

    def read(self, path: str) -> tuple[Any, str]:
        """What is there, and its ETag for `put`."""
        answer = self.request("GET", path)
        return answer.json(), answer.headers.get("ETag", "")

    def events(self, after: int | None = None) -> Iterator[Object]:
        """What happens from now on, or after the event of this number; it goes on when the connection does not."""
        while True:
            query = _query({"after": after})
            with self.call("GET", f"admin/events/stream{query}", stream=True, headers={"Accept": "text/event-stream"}) as answer:
                try:
                    for line in answer.iter_lines(chunk_size=1, decode_unicode=True):
                        if line.startswith("data: "):
                            event = json.loads(line[6:])
                            after = event["id"]
                            yield event
                except requests.exceptions.RequestException:
                    self.sleep(PAUSES[1])

    # -- a person's own ----------------------------------------------------------------------------------

    def me(self) -> Object:
        """Whose token this is."""
        found: Object = self.call("GET", "me")
        return found

    def classes(self) -> list[Object]:
        """What can be had."""
        found: list[Object] = self.call("GET", "classes")["classes"]
        return found

    def machines(self) -> list[Object]:
        """The account's machines."""
        found: list[Object] = self.call("GET", "machines")["machines"]
        return found

    def machine(self, name: str) -> Object:
        """The account's machine of this name or id. Raises NotFound."""
        return self.find(self.machines(), name, "machine")

    @staticmethod
    def find(things: Sequence[Object], name: str, kind: str) -> Object:
        """The one of this id or, if there is one alone, of this name. Raises NotFound and Conflict."""
        found = [one for one in things if str(one.get("id")) == name] or [one for one in things if one.get("name") == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise Conflict(
                409, f"There are {len(found)} of the name {name}.", f"Say which by its id: {', '.join(str(one['id']) for one in found)}"
            )
        names = ", ".join(str(one.get("name")) for one in things[:5])
        raise NotFound(404, f"There is no {kind} {name}.", f"There is {names}." if names else "There is none at all.")

    def claim(self, class_name: str, count: int = 1) -> list[Object]:
        """Get machines of a class; none yet when one has to wait (`wait_for_machines`)."""
        made = self.create("machines", {"class": class_name, "count": count})
        if "request" in made:
            return []
        return list(made.get("machines", [made]))

    def get(self, class_name: str, count: int = 1, *, timeout: float = 600, told: Callable[[str], None] = lambda _: None) -> list[Object]:
        """Get machines of a class, and wait until they can be used. `told` hears what is waited for. Raises TimedOut; the machines stay then."""
        before = {machine["id"] for machine in self.machines()}
        ids = {machine["id"] for machine in self.claim(class_name, count)}
        until = time.monotonic() + timeout
        while True:
            mine = [
                one for one in self.machines() if one["id"] in ids or (not ids and one["id"] not in before and one["class"] == class_name)
            ]
            if len(mine) >= count and all(one["state"] == "in_use" for one in mine):
                return mine
            if not mine:
                self._check_waiting(class_name)
            told(", ".join(f"{one['name']} is {one['state']}" for one in mine) or f"waiting for a {class_name}")
            if time.monotonic() > until:
                raise TimedOut(
                    f"There was no {class_name} after {timeout:.0f} s.", "It is asked for all the same: dpe list shows when it is there."
                )
            self.sleep(POLL)

    def _check_waiting(self, class_name: str) -> None:
        offer = next((one for one in self.classes() if one["name"] == class_name), None)
        if offer is not None and not offer["waiting"] and not offer["held"]:
            raise Refused(409, f"The request for a {class_name} was refused.", offer["refusal"] or "The web page says why.")

    def extend(self, machine: Object) -> str:
        """The lease, once more; returns its new end."""
        return str(self.call("POST", f"machines/{machine['id']}/extend")["lease_ends_at"])

    def release(self, machine: Object) -> None:
        """Give it back; it is destroyed."""
        self.call("POST", f"machines/{machine['id']}/release")

    def console(self, machine: Object, target: str, *, take_over: bool = False) -> str:
        """The address of a WebSocket to the machine's screen, serial line or port, good once, for half a minute."""
        ticket = self.call("POST", f"machines/{machine['id']}/console", {"target": target, "take_over": take_over})
        return f"{self.address.replace('https:', 'wss:', 1)}{ticket['path']}"


def _query(asked: Mapping[str, object]) -> str:
    text = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"?{text}" if text else ""


def _refused(answer: Any) -> Refused:
    """The problem that an answer tells of."""
    try:
        said = answer.json()
        assert isinstance(said, dict)
    except (ValueError, AssertionError):
        said = {}
    wait = answer.headers.get("Retry-After", "")
    kind = BY_STATUS.get(answer.status_code, Refused)
    message = str(said.get("title") or said.get("error") or f"The appliance answers {answer.status_code}.")
    return kind(answer.status_code, message, str(said.get("detail") or ""), said.get("errors", ()), int(wait) if wait.isdecimal() else 0)


def _cause(error: BaseException) -> str:
    """What is at the bottom of an error, in words."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (getattr(error, "strerror", None) or str(error) or type(error).__name__).rstrip(".")
