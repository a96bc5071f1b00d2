"""Services under names of their own: which can be, and what nginx makes of them."""

import json
import re
import socket
from dataclasses import asdict
from pathlib import Path

import pytest

from appliance.access import nginx, published
from appliance.access.published import Published
from appliance.settings import Settings

pytestmark = pytest.mark.elastic


def test_what_is_published_is_read_again_and_nothing_else_is(settings: Settings) -> None:
    shop, wiki = Published("www.example.org", "/", "shop"), Published("www.example.org", "/wiki/", "wiki")
    assert published.publish(settings, [wiki, shop]) == {}
    assert published.published(settings) == [shop, wiki]
    file = settings.tls / "services.json"
    for nonsense in (
        "",
        "{}",
        '["x"]',
        '[{"host": "a b.org", "path": "/", "service": "x"}]',
        '[{"host": "a.org", "path": "/$x;", "service": "x"}]',
    ):
        file.write_text(nonsense)
        assert published.published(settings) == []


@pytest.mark.hostile
def test_a_name_of_the_appliance_itself_or_one_that_is_taken_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getfqdn", lambda: "dpe.example.org")
    wanted = [Published("dpe.example.org", "/", "shop"), Published("a.example.org", "/", "one"), Published("a.example.org", "/", "two")]
    refused = published.publish(settings, wanted)
    assert refused == {"shop": "dpe.example.org is a name of the appliance itself", "two": "a.example.org/ is one's already"}
    assert [one.service for one in published.published(settings)] == ["one"]


@pytest.mark.hostile
@pytest.mark.parametrize("path", ["/_dpe", "/_dpe/", "/_dpe/pages/", "/_dpe/pages/service.html"])
def test_no_service_is_where_the_door_answers_itself(settings: Settings, path: str) -> None:
    assert published.publish(settings, [Published("a.example.org", path, "one")]) == {"one": f"{path} is no path for the door"}
    assert published.publish(settings, [Published("a.example.org", "/_dper", "one")]) == {}


def test_a_path_is_taken_however_it_ends_and_has_nothing_of_its_neighbours(settings: Settings) -> None:
    app, slashed, apple = (
        Published("a.example.org", path, name) for path, name in (("/app", "app"), ("/app/", "slashed"), ("/apple", "apple"))
    )
    assert published.publish(settings, [app, slashed, apple]) == {"slashed": "a.example.org/app/ is app's already"}
    (settings.tls / "services.json").write_text(json.dumps([asdict(one) for one in (app, slashed, apple)]))
    assert published.published(settings) == [app, apple], "the door opens, whatever is in the file"
    text = nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))
    led = re.findall(r"location (\S+) (\S+) \{\s*proxy_pass http://unix:\S+/service-(\w+)\.sock;", text)
    assert led == [(how, f"/{name}{end}", name) for name in ("app", "apple") for how, end in (("=", ""), ("^~", "/"))]


def test_the_door_leads_a_name_to_its_service_and_any_other_to_the_page(settings: Settings) -> None:
    published.publish(settings, [Published("www.example.org", "/wiki/", "wiki"), Published("b.example.org", "/", "shop")])
    text = nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))
    page, *_ = servers = re.split(r"\n    server \{", text)[1:]
    assert "server_name" not in page  # the first is who is asked by any other name
    [wiki] = [server for server in servers if "server_name www.example.org;" in server]
    assert "listen 0.0.0.0:8443 ssl;" in wiki
    assert f"proxy_pass http://unix:{settings.run}/haproxy/service-wiki.sock;" in wiki
    assert re.search(r"location / \{\s*return 404;", wiki)
    assert "auth_request" not in wiki
    [shop] = [server for server in servers if "server_name b.example.org;" in server]
    assert "return 404" not in shop
