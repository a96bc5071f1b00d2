"""A person with a browser that runs no scripts: fills in the forms of a booted appliance's pages, as they are, and sends them."""

import http.client
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests import world
from tests.image.booted import Booted, wait_for
from tests.pages import Form, forms_of, on_one_line


@dataclass
class Page:
    """What came; `where` is the address that it came from in the end."""

    status: int
    where: str
    body: bytes

    @property
    def text(self) -> str:
        text = self.body.decode(errors="replace")
        return on_one_line(text) if text.lstrip().startswith("<") else text

    @property
    def said(self) -> str:
        """Its errors, for messages."""
        shown = re.findall(r'role="alert">(.*?)</(?:div|section)>', self.text, re.S) or [self.text[:2000]]
        return f"{self.where} ({self.status}): " + re.sub(r"<[^>]*>", " ", " ".join(shown))

    def form(self, action: str) -> Form:
        """The form whose address ends so."""
        forms = forms_of(self.text)
        found = [form for form in forms if form.action.endswith(action)]
        assert found, f"{self.where} ({self.status}) has no form {action}: {[form.action for form in forms]}; {self.said}"
        return found[0]


class Visitor:
    """Keeps cookies, and follows where an answer leads."""

    def __init__(self, server: Booted) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}

    def ask(self, path: str, sent: dict[str, str] | None = None, timeout: float = 180) -> Page:
        """Get a page, or send a form there, and go on to where the answer leads."""
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", self.server.ports[443], timeout=timeout, context=context)
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if sent is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.server.url, "Referer": self.server.url + path}
        try:
            connection.request("GET" if sent is None else "POST", path, None if sent is None else urlencode(sent), headers)
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        for kept in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = kept.partition(";")[0].partition("=")
            self.cookies[name] = value
        if answer.status in (302, 303) and (to := answer.headers.get("Location")):
            parts = urlsplit(to)
            return self.ask(parts.path + (f"?{parts.query}" if parts.query else ""), timeout=timeout)
        return Page(answer.status, path, body)

    def send(self, page: Page, action: str, **values: str) -> Page:
        """Fill in the form of the page that goes to `action`, and send it. What asks for the password once more is told it."""
        form = page.form(action)
        came = self.ask(form.action or page.where, {**form.values, **values})
        if came.status == 403 and 'name="again"' in came.text:
            came = self.send(came, action, again=world.PASSWORD)
        return came

    def sign_in(self, name: str, password: str = world.PASSWORD) -> Page:
        """Sign in; fails when that is refused."""
        came = self.send(self.ask("/sign-in"), "/sign-in", name=name, password=password)
        assert came.status == 200, came.said
        assert "/sign-out" in came.text, came.said
        return came

    def operation(self, page: Page, seconds: float = 1200) -> str:
        """Wait for the end of the operation whose page this is, and return the text of that page."""
        assert "/operations/" in page.where or "/rescue/operations/" in page.where, page.said

        def look() -> str | None:
            text = self.ask(page.where).text
            return None if "/cancel" in text or 'hx-trigger="every' in text or "http-equiv" in text else text

        return wait_for(look, seconds, f"the end of the operation {page.where}")


def invite(admin: Visitor, name: str, password: str = world.PASSWORD, full_name: str = "") -> None:
    """The admin makes an account and hands over the link, and its person sets a password by it."""
    made = admin.send(admin.ask("/admin/accounts/new"), "/accounts/new", name=name, full_name=full_name, password="")
    link = re.search(r'id="f-link" value="[^"]*#([^"]+)"', made.text)
    assert link, made.said
    visitor = Visitor(admin.server)
    came = visitor.send(visitor.ask("/set-password"), "/set-password", link=link[1], password=password)
    assert "Your password is set." in came.text, came.said


def setup_code(server: Booted) -> str:
    """The code that its screen shows; the engine makes it, which comes a little after the page."""
    return wait_for(lambda: server.shell("cat /var/lib/dpe/setup-code 2>/dev/null || true").strip() or None, 600, "the setup code")


def set_up(server: Booted, title: str = "House of Ada", pools: dict[str, tuple[int, int]] | None = None, code: str = "") -> Visitor:
    """Walk the wizard as grace; `pools` is (buffer, maximum) of classes; of the others no machine is made. Who is signed in."""
    visitor = Visitor(server)
    page = visitor.send(visitor.ask("/setup"), "/setup", code=code or setup_code(server))
    typed = {"name": "grace", "full_name": "Grace Hopper", "password": world.PASSWORD, "again": world.PASSWORD, "title": title}
    for _ in range(12):
        form = page.form("/setup")
        fields = {name: "0" for name in form.values if name.startswith(("buffer-", "maximum-"))}
        for class_name, (buffer, maximum) in (pools or {}).items():
            fields |= {f"buffer-{class_name}": str(buffer), f"maximum-{class_name}": str(maximum)}
        page = visitor.send(page, "/setup", **typed, **fields, go=dict(form.buttons)["go"] if form.values["step"] != "review" else "finish")
        if page.where == "/setup/progress":
            return visitor
    raise AssertionError(page.said)


def python(server: Booted, code: str) -> Any:
    """Booted.python with an open catalog."""
    return server.python("catalog.open(settings.catalog)\n" + code)


# -- somebody's things, which outlive what is done to the appliance ------------------------------------

ALICE = "the queen of hearts"
DISK = "0b1e42fa-39c4-4be5-a5f5-0f2fb4f3e0a1"
FILE = f"/var/lib/dpe/data/{DISK}.qcow2"
# The machine is one that nobody touches; what is in it is another test's.
ROWS = f"""
from datetime import timedelta
from appliance.catalog import Account, DataDisk, DiskState, Lease, Machine, MachineState, Seed, now
alice = Account.get(Account.name == "alice")
seed = Seed.get(Seed.machine_class == "small", Seed.promoted == True)
of = {{"vcpus": 1, "memory": 256, "disk": 2}}
with catalog.write():
    Machine.create(id="m1", name="small-7", machine_class="small", seed=seed, slot=3, door=3, state=MachineState.QUARANTINED, owner=alice, **of)
    Lease.create(machine="m1", account=alice, ends_at=now() + timedelta(days=5))
    DataDisk.create(id="{DISK}", account=alice, machine_class="small", name="thesis", size=1, state=DiskState.READY)
print("1")
"""
KEPT = """
from appliance.catalog import Account, DataDisk, Grant, Lease, Machine, options
print(json.dumps({
    "people": [[one.name, one.full_name, one.password] for one in Account.select().order_by(Account.name)],
    "roles": [[one.role, one.account_id] for one in Grant.select()],
    "machines": [[one.id, one.name, one.class_name, one.slot, one.owner.name] for one in Machine.select().where(Machine.retired_at.is_null())],
    "leases": [[one.machine_id, one.account.name, one.ends_at.isoformat()] for one in Lease.select().where(Lease.ended_at.is_null())],
    "disks": [[one.id, one.name, one.size, one.account.name, str(one.state)] for one in DataDisk.select()],
    "title": options.get("title"),
}))
"""


def somebody_holds_a_machine(server: Booted) -> None:
    """alice is there, a machine is hers for five days, and so is a data disk with 3 MiB of `t` in it."""
    grace = Visitor(server)
    grace.sign_in("grace")
    invite(grace, "alice", ALICE, full_name="Alice Liddell")
    promoted = (
        "from appliance.catalog import Seed\nprint(Seed.select().where(Seed.machine_class == 'small', Seed.promoted == True).count())"
    )
    wait_for(lambda: python(server, promoted) or None, 900, "the seed that came with the image")
    server.shell(f"qemu-img create -q -f qcow2 {FILE} 1G && qemu-io -f qcow2 -c 'write -P 116 512M 3M' {FILE}")
    server.shell(f"chown dpe-qemu: {FILE} && chmod 600 {FILE}")
    python(server, ROWS)


def what_is_kept(server: Booted) -> Any:
    """People, what they hold, and the data disk's content, which is what was written there."""
    said = server.shell(f"qemu-io -r -f qcow2 -c 'read -P 116 512M 3M' {FILE}")
    assert "read 3145728/3145728" in said, said
    assert "failed" not in said, said
    return python(server, KEPT)


# -- a page that does not start, and the one in its place --------------------------------------------------

DROP_IN = "/run/systemd/system/dpe-web.service.d/broken.conf"
BROKEN = """[Service]
ExecStart=
ExecStart=/bin/sh -c "echo ImportError: no module named nothing; exit 3"
"""


def break_the_page(server: Booted) -> None:
    """The web page cannot start any more, until the server does or `mend_the_page`."""
    server.shell(
        f"mkdir -p {PurePosixPath(DROP_IN).parent}\ncat >{DROP_IN} <<'END'\n{BROKEN}END\nsystemctl daemon-reload; systemctl restart dpe-web || true"
    )


def mend_the_page(server: Booted) -> None:
    server.shell(f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart dpe-web || true")


def comes(visitor: Visitor, path: str, holds: Callable[[Page], bool], seconds: float = 300) -> Page:
    """The page, when it is as it should be."""

    def look() -> Page | None:
        try:
            page = visitor.ask(path)
        except OSError:
            return None
        return page if holds(page) else None

    return wait_for(look, seconds, f"what should be at {path}")


def rescue(server: Booted, password: str = world.PASSWORD) -> Visitor:
    """Signed in to the rescue page, over the link that the page in the others' place has."""
    visitor = Visitor(server)
    down = comes(visitor, "/", lambda page: page.status == 502)
    assert "The appliance is not answering" in down.text
    link = re.search(r'<a href="(/rescue/)"', down.text)
    assert link
    page = visitor.ask(link[1])
    assert page.where == "/rescue/sign-in"
    assert "That does not fit." in visitor.send(page, "/sign-in", name="grace", password="another password").text
    page = visitor.send(page, "/sign-in", name="grace", password=password)
    assert page.where == "/rescue/", page.said
    return visitor
