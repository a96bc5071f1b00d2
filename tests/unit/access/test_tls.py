import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from appliance.access import tls
from appliance.errors import BadInput
from appliance.settings import Settings
from tests.authority import root

NOW = datetime.now(UTC)


def names(certificate: Path) -> set[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes()).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_it_is_made_once_and_its_key_is_for_root_alone(settings: Settings) -> None:
    certificate, key = tls.ensure(settings, NOW)
    assert key.stat().st_mode & 0o777 == 0o600
    assert {"localhost", "127.0.0.1"} <= names(certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    before = certificate.read_bytes(), key.read_bytes()
    tls.ensure(settings, NOW + timedelta(days=300))
    assert (certificate.read_bytes(), key.read_bytes()) == before


def test_it_is_renewed_before_it_expires(settings: Settings) -> None:
    certificate, _ = tls.ensure(settings, NOW)
    before = tls.fingerprint(certificate)
    assert len(before.split(":")) == 32
    later = NOW + tls.LIFE - timedelta(days=29)
    tls.ensure(settings, later)
    assert tls.fingerprint(certificate) != before
    assert x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc > later + timedelta(days=300)


def test_names_of_the_settings_are_in_it_and_a_new_one_renews_it(settings: Settings) -> None:
    certificate, _ = tls.ensure(settings, NOW)
    before = tls.fingerprint(certificate)
    named = replace(settings, names="lab.example.org, 192.0.2.7,bücher.example")
    tls.ensure(named, NOW)
    assert {"lab.example.org", "192.0.2.7", "xn--bcher-kva.example"} <= names(certificate)
    after = tls.fingerprint(certificate)
    assert after != before
    tls.ensure(named, NOW)
    tls.ensure(settings, NOW)
    assert tls.fingerprint(certificate) == after


@pytest.mark.badinput
def test_a_name_that_is_none_is_refused(settings: Settings) -> None:
    with pytest.raises(BadInput, match="names"):
        tls.ensure(replace(settings, names="lab..example"), NOW)


@pytest.mark.parametrize("left", [b"", b"half a certificate"])
def test_a_start_cut_off_in_between_is_mended(settings: Settings, left: bytes) -> None:
    certificate, key = tls.ensure(settings, NOW)
    certificate.write_bytes(left)
    tls.ensure(settings, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    key.unlink()
    tls.ensure(settings, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def give_own(settings: Settings) -> tuple[Path, Path]:
    certificate, key = tls.ensure(settings, NOW)
    own = settings.tls / "own.crt", settings.tls / "own.key"
    certificate.rename(own[0])
    key.rename(own[1])
    return own


def test_the_admins_own_wins(settings: Settings) -> None:
    own = give_own(settings)
    assert tls.ensure(settings, NOW) == own
    assert not (settings.tls / "appliance.crt").exists()


@pytest.mark.badinput
def test_an_own_certificate_that_cannot_work_is_named(settings: Settings) -> None:
    certificate, key = give_own(settings)
    with pytest.raises(BadInput, match=r"own.crt.* expired on"):
        tls.ensure(settings, NOW + timedelta(days=500))
    mine = key.read_bytes()
    key.unlink()
    with pytest.raises(BadInput, match=r"own\.key cannot be read"):
        tls.ensure(settings, NOW)
    key.write_bytes(b"nonsense")
    with pytest.raises(BadInput, match=r"own\.key cannot be read"):
        tls.ensure(settings, NOW)
    key.write_bytes(mine)
    certificate.write_bytes(b"nonsense")
    with pytest.raises(BadInput, match=r"own\.crt"):
        tls.ensure(settings, NOW)
    certificate.unlink()
    key.unlink()
    other = tls.ensure(settings, NOW)
    certificate.write_bytes(other[0].read_bytes())
    key.write_bytes(mine)
    with pytest.raises(BadInput, match="does not belong to the key"):
        tls.ensure(settings, NOW)


# -- what came over the page ---------------------------------------------------------------------


def sent(settings: Settings, **changes: Any) -> bytes:
    made = root().sign("dpe", names=("dpe.example.org",), **changes)
    pem = made.pem + made.key_pem()
    tls.use_own(settings, pem)
    return pem


@pytest.mark.cases
def test_what_came_over_the_page_is_one_file_for_root_alone_and_takes_the_place_of_the_pair(settings: Settings) -> None:
    give_own(settings)
    pem = sent(settings)
    served = settings.tls / "own.pem"
    assert tls.ensure(settings, NOW) == (served, served)
    assert tls.served(settings) == served
    assert served.read_bytes() == pem
    assert served.stat().st_mode & 0o777 == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(served)
    assert not (settings.tls / "own.crt").exists()
    tls.forget_own(settings)
    assert tls.ensure(settings, NOW)[0].name == "appliance.crt"
    assert sorted(file.name for file in settings.tls.iterdir()) == ["appliance.crt", "appliance.key"]


@pytest.mark.cases
def test_a_removal_cut_off_in_between_leaves_nothing_that_does_not_fit(settings: Settings) -> None:
    sent(settings)
    (settings.tls / "own.key").write_bytes(b"what is left of a pair")
    assert tls.ensure(settings, NOW)[0].name == "own.pem"


@pytest.mark.cases
def test_one_that_ran_out_is_served_on_and_one_that_is_damaged_never_locks_anybody_out(settings: Settings) -> None:
    sent(settings, ends=NOW - timedelta(hours=1), begins=NOW - timedelta(days=9))
    assert tls.ensure(settings, NOW)[0].name == "own.pem"
    assert tls.complaint(settings) == ""
    (settings.tls / "own.pem").write_bytes(b"half a cert")
    assert tls.ensure(settings, NOW)[0].name == "appliance.crt"
    assert tls.served(settings).name == "appliance.crt"
    assert "cannot be read" in tls.complaint(settings)
