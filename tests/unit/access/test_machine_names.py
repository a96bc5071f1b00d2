"""Names of machines: what is one, below which domain, and what nginx is told."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.access import machine_names, nginx, published
from appliance.access.published import Published
from appliance.errors import BadInput
from appliance.settings import PAGES, Settings

pytestmark = [pytest.mark.hostile]
LABEL = "m0123456789abcdef"


def written(settings: Settings) -> str:
    return nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))


def test_each_page_of_a_machine_has_a_name_that_leads_back_to_it() -> None:
    names = [machine_names.name_of(LABEL, page) for page in range(PAGES)]
    assert names[:2] == [LABEL, f"{LABEL}-1"]
    assert [machine_names.parse(name) for name in names] == [(LABEL, page) for page in range(PAGES)]


@pytest.mark.parametrize(
    "name", ["", "www", LABEL[:-1], f"{LABEL}0", LABEL.upper(), f"{LABEL}-0", f"{LABEL}-{PAGES}", f"{LABEL}-", f"{LABEL}\n"]
)
def test_what_is_no_name_is_none(name: str) -> None:
    assert machine_names.parse(name) is None


@pytest.mark.parametrize(("text", "domain"), [("dpe.example.org", "dpe.example.org"), (" *.DPE.example.org. ", "dpe.example.org")])
def test_a_domain_is_kept_as_it_is_looked_up(text: str, domain: str) -> None:
    assert machine_names.check_domain(text) == domain


@pytest.mark.badinput
@pytest.mark.parametrize(
    "text",
    ["org", "192.0.2.7", "https://dpe.example.org", "dpe.example.org:443", "a b.org", "x" * 64 + ".org", "a." * 120 + "org", "$host.org"],
)
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no domain") as refused:
        machine_names.check_domain(text)
    assert refused.value.field == "domain"


def test_nginx_has_names_while_there_is_a_domain_and_no_longer(settings: Settings) -> None:
    settings = replace(settings, https_port=443)
    assert "server_name" not in written(settings)
    machine_names.serve(settings, "dpe.example.org")
    assert machine_names.served(settings) == "dpe.example.org"
    text = written(settings)
    [said] = re.findall(r'server_name "~(\S+)";', text)
    pattern = re.compile(said.replace("\\\\", "\\").replace("?<", "?P<"))
    found = pattern.fullmatch(f"{LABEL}-2.dpe.example.org")
    assert found is not None
    assert found["machine_name"] == f"{LABEL}-2"
    for other in (
        "dpe.example.org",
        "www.dpe.example.org",
        f"{LABEL}.dpe-example.org",
        f"{LABEL}.dpe.example.org.evil.org",
        f"x{LABEL}.dpe.example.org",
    ):
        assert not pattern.fullmatch(other), other
    named = text[text.index("server_name") :].partition("\n    server {")[0]
    assert "proxy_set_header Cookie $door_cookie;" in named
    assert "$page_cookie" not in named, "the page's own session is nothing to a machine's name"
    machine_names.serve(settings, "")
    assert "server_name" not in written(settings)


@pytest.mark.parametrize("text", ["", "[]", '{"domain": 7}', '{"domain": "a;b"}', "\x00"])
def test_the_door_opens_whatever_the_file_has(settings: Settings, text: str) -> None:
    (settings.tls / "machine-names.json").write_text(text)
    assert machine_names.served(settings) == ""


def test_no_service_takes_the_name_of_a_machine(settings: Settings) -> None:
    machine_names.serve(settings, "dpe.example.org")
    wanted = [Published(f"{host}.dpe.example.org", "/", host) for host in (LABEL, "shop")]
    assert published.publish(settings, wanted) == {LABEL: f"{LABEL}.dpe.example.org is a name that only machines have"}
    assert [one.service for one in published.published(settings)] == ["shop"]
