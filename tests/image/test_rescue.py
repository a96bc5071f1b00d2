"""The rescue page of a booted appliance whose own page does not start, and whose catalog is broken."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from tests import world
from tests.image.booted import Booted, wait_for
from tests.image.forms import Visitor, break_the_page, comes, mend_the_page, rescue, set_up

pytestmark = [pytest.mark.image, pytest.mark.timeout(3600)]
Boot = Callable[..., Booted]
CATALOG = "/var/lib/dpe/catalog/catalog.db"


def test_from_a_page_that_does_not_start_and_a_broken_catalog_to_one_that_is_back(boot: Boot, came_up: Path) -> None:
    server = boot(like=came_up)
    server.wait_page()
    server.wait_shell()
    grace = set_up(server)
    # A recovery key is one more secret that must stay inside.
    server.shell("mkdir /run/elsewhere")
    page = grace.send(grace.ask("/admin/server/backups/"), "/configure", kind="folder", folder_path="/run/elsewhere")
    assert "Backups go there from now on" in page.text
    server.shell("systemctl restart dpe-host")  # makes the day's copy of the catalog at its start, not within ten minutes
    wait_for(
        lambda: server.shell("ls /var/lib/dpe/copies 2>/dev/null | grep -v new || true").strip() or None, 120, "the copy of the catalog"
    )

    break_the_page(server)
    visitor = rescue(server)
    page = comes(visitor, "/rescue/", lambda page: "web does not run" in page.text)
    assert "ImportError: no module named nothing" in visitor.ask("/rescue/logs?source=web&level=debug").text
    offered = visitor.ask("/rescue/repair").text
    for words in ("Restart a process", "Restore a copy of the catalog", "Restore a backup", "Create a support bundle", "Factory reset"):
        assert words in offered
    assert "Go back to the version before" not in offered  # there is none; test_update.py has one
    assert "There is no backup there." in visitor.ask("/rescue/repair/restore").text
    the_support_bundle_has_no_secret(server, visitor, grace)

    a_broken_catalog_is_put_back(server)


def a_broken_catalog_is_put_back(server: Booted) -> None:
    server.shell(f"systemctl stop dpe-engine; printf 'no database%.0s' $(seq 5000) >{CATALOG}; rm -f {CATALOG}-wal {CATALOG}-shm")
    mend_the_page(server)
    visitor = rescue(server)  # whose password is known although nobody can read the catalog
    page = comes(visitor, "/rescue/", lambda page: "Restore a copy" in page.text)
    page = visitor.ask("/rescue/repair/catalog")
    assert "Done." in visitor.operation(visitor.send(page, "/repair/catalog"))
    comes(Visitor(server), "/sign-in", lambda page: page.status == 200)
    Visitor(server).sign_in("grace")
    comes(visitor, "/rescue/", lambda page: "Everything that can be seen from here works." in page.text)


def the_support_bundle_has_no_secret(server: Booted, visitor: Visitor, grace: Visitor) -> None:
    text = visitor.operation(visitor.send(visitor.ask("/rescue/repair/bundle"), "/repair/bundle"))
    link = re.search(r'href="(/rescue/support/[^"]+)"', text)
    assert link, text
    page = visitor.ask(link[1])
    assert Visitor(server).ask(link[1]).where == "/rescue/sign-in"
    with tarfile.open(fileobj=io.BytesIO(page.body)) as bundle:
        files = {PurePosixPath(one.name).name: bundle.extractfile(one).read().decode() for one in bundle if one.isfile()}  # type: ignore[union-attr]
    assert {"about.json", "catalog.json", "parts.json", "disks.txt", "web.txt", "engine.txt", "host.txt"} <= set(files)
    assert '"scenario": "small"' in files["about.json"]
    assert "ImportError: no module named nothing" in files["web.txt"]
    everything = "\n".join(files.values())
    key = server.shell("cat /var/lib/dpe/host/backup/key").strip()
    secrets = [world.PASSWORD, "$argon2", "Grace Hopper", key, *grace.cookies.values(), *visitor.cookies.values()]
    secrets += [line for line in server.shell("cat /var/lib/dpe/tls/*.key").splitlines() if not line.startswith("-----")]
    secrets.append(server.shell("od -An -tx1 /var/lib/dpe/web-secret | tr -d ' \\n'"))
    secrets.append(server.shell("cat /var/lib/dpe/rescue/owners.json | tr '\"' '\\n' | grep argon2").strip())
    assert [secret for secret in secrets if len(secret) < 4] == []
    assert [secret for secret in secrets if secret.lower() in everything.lower()] == []
    assert not re.search(r"(?<![\w-])grace(?![\w-])", everything)
