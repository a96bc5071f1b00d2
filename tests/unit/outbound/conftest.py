"""Servers of the tests' own on loopback: certificates, a secret key, and the appliance that knows its address."""

import ssl
from pathlib import Path

import pytest

from appliance import catalog
from appliance.catalog import options
from appliance.identity import secrets
from appliance.settings import Settings
from tests.slapd import Authority


@pytest.fixture
def key(opened: Settings) -> None:
    """What secrets are sealed with."""
    opened.web_secret.write_bytes(b"k" * 32)
    secrets.open(opened.web_secret)


@pytest.fixture
def at_home(opened: Settings) -> None:
    with catalog.write():
        options.put("address", "https://dpe.example.org:8443")


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture
def secure(authority: Authority, tmp_path: Path) -> ssl.SSLContext:
    """What a server on loopback shows: a good certificate of the authority."""
    return shown(authority, tmp_path)


def shown(authority: Authority, folder: Path, **certificate: object) -> ssl.SSLContext:
    authority.issue(folder, **certificate)  # type: ignore[arg-type]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context
