"""A real directory server of the tests' own: Debian's slapd on loopback, over a tree that is loaded before it starts."""

import ipaddress
import secrets
import time
import uuid
from base64 import b64encode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ldap
import ldap.dn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ldap.modlist import addModlist

from appliance.run import run, start
from tests.browser.conftest import free_port

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
READER, READER_PASSWORD = f"cn=reader,{SUFFIX}", "reads-everything"
ROOT, ROOT_PASSWORD = f"cn=root,{SUFFIX}", secrets.token_hex(8)
SCHEMAS = [*(f"/etc/ldap/schema/{name}.schema" for name in ("core", "cosine", "nis", "inetorgperson")), Path(__file__).parent / "ad.schema"]

Entry = tuple[str, dict[str, list[bytes]]]

CONFIG = """
{schemas}
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {home}/pid
loglevel none
sizelimit 300
threads 4
TLSCACertificateFile {home}/authority.pem
TLSCertificateFile {home}/server.pem
TLSCertificateKeyFile {home}/server.key
database mdb
suffix "{suffix}"
rootdn "{root}"
rootpw {root_password}
directory {home}/db
maxsize 268435456
index objectClass,uid,sAMAccountName,entryUUID eq
limits dn.exact="{reader}" size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{reader}" read by users read by * {anonymous}
overlay memberof
memberof-group-oc {group_class}
memberof-dangling ignore
"""


@dataclass
class Authority:
    """A certificate authority of the tests."""

    pem: str
    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str = "The tests' authority") -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        moment = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(
                subject, subject, key.public_key(), x509.random_serial_number(), moment - timedelta(days=900), moment + timedelta(days=90)
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate.public_bytes(serialization.Encoding.PEM).decode(), certificate, key)

    def issue(self, folder: Path, *, host: str = "", days: int = 30) -> None:
        """Write a server's certificate and key; of the past with negative days, of another host when one is named."""
        key = ec.generate_private_key(ec.SECP256R1())
        until = datetime.now(UTC) + timedelta(days=days)
        name: x509.GeneralName = x509.DNSName(host) if host else x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder(
                self._certificate.subject,
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host or "127.0.0.1")]),
                key.public_key(),
                x509.random_serial_number(),
                until - timedelta(days=365),
                until,
            )
            .add_extension(x509.SubjectAlternativeName([name, x509.DNSName("localhost")] if not host else [name]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        (folder / "authority.pem").write_text(self.pem)
        (folder / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        (folder / "server.key").write_bytes(key.private_bytes(encoding, kind, serialization.NoEncryption()))


@dataclass
class Slapd:
    """A directory server that runs: where it listens, and how to change what it holds."""

    home: Path
    port: int
    tls_port: int
    authority: Authority
    process: Any

    def root(self) -> Any:
        """A connection that may change everything."""
        link = ldap.initialize(f"ldap://127.0.0.1:{self.port}")
        link.simple_bind_s(ROOT, ROOT_PASSWORD)
        return link

    def add(self, *entries: Entry) -> None:
        link = self.root()
        for dn, values in entries:
            link.add_s(dn, addModlist(values))
        link.unbind_s()

    def change(self, dn: str, **values: bytes | list[bytes]) -> None:
        """Replace attributes of an entry; an empty list takes one away."""
        link = self.root()
        link.modify_s(dn, [(ldap.MOD_REPLACE, name, value or None) for name, value in values.items()])
        link.unbind_s()

    def rename(self, dn: str, rdn: str, parent: str | None = None) -> None:
        link = self.root()
        link.rename_s(dn, rdn, parent)
        link.unbind_s()

    def delete(self, *dns: str) -> None:
        link = self.root()
        for dn in dns:
            link.delete_s(dn)
        link.unbind_s()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    def start(self) -> None:
        urls = f"ldap://127.0.0.1:{self.port} ldaps://127.0.0.1:{self.tls_port}"
        with (self.home / "log").open("ab") as log:
            self.process = start(
                ["/usr/sbin/slapd", "-d", "0", "-h", urls, "-f", self.home / "slapd.conf"], stdout=log.fileno(), stderr=log.fileno()
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.root().unbind_s()
                return
            except ldap.SERVER_DOWN:
                assert self.process.poll() is None, (self.home / "log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)


@contextmanager
def serve(
    home: Path,
    entries: Iterable[Entry],
    *,
    kind: str = "ldap",
    authority: Authority | None = None,
    anonymous: str = "none",
    **certificate: Any,
) -> Iterator[Slapd]:
    """A server over these entries; `certificate` is what Authority.issue() takes."""
    (home / "db").mkdir(parents=True)
    authority = authority or Authority.make()
    authority.issue(home, **certificate)
    schemas = "\n".join(f"include {file}" for file in SCHEMAS)
    group_class = "group" if kind == "ad" else "groupOfNames"
    (home / "slapd.conf").write_text(
        CONFIG.format(
            schemas=schemas,
            home=home,
            suffix=SUFFIX,
            root=ROOT,
            root_password=ROOT_PASSWORD,
            reader=READER,
            group_class=group_class,
            anonymous=anonymous,
        )
    )
    run(["/usr/sbin/slapadd", "-q", "-f", home / "slapd.conf"], input=ldif(entries), timeout=300)
    server = Slapd(home, free_port(), free_port(), authority, None)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def ldif(entries: Iterable[Entry]) -> bytes:
    """The entries as slapadd reads them."""
    return (
        b"\n\n".join(
            b"\n".join(
                [
                    b"dn:: " + b64encode(dn.encode()),
                    *(name.encode() + b":: " + b64encode(value) for name, found in values.items() for value in found),
                ]
            )
            for dn, values in entries
        )
        + b"\n"
    )


# -- entries ------------------------------------------------------------------------------


def top() -> list[Entry]:
    """The root of the tree, and who may read it."""
    return [
        (SUFFIX, {"objectClass": [b"dcObject", b"organization"], "dc": [b"example"], "o": [b"Example"]}),
        (
            READER,
            {
                "objectClass": [b"organizationalRole", b"simpleSecurityObject"],
                "cn": [b"reader"],
                "userPassword": [READER_PASSWORD.encode()],
            },
        ),
    ]


def unit(name: str, parent: str = SUFFIX) -> Entry:
    return f"ou={ldap.dn.escape_dn_chars(name)},{parent}", {"objectClass": [b"organizationalUnit"], "ou": [name.encode()]}


def somebody(uid: str, name: str = "", parent: str = SUFFIX, *, mail: str = "", password: str = "", **more: list[bytes]) -> Entry:
    name = name or uid.title()
    values = {"objectClass": [b"inetOrgPerson"], "uid": [uid.encode()], "cn": [name.encode()], "sn": [name.split()[-1].encode()], **more}
    values |= {"mail": [mail.encode()]} if mail else {}
    values |= {"userPassword": [password.encode()]} if password else {}
    return f"uid={ldap.dn.escape_dn_chars(uid)},{parent}", values


def group(name: str, members: Iterable[str], parent: str = SUFFIX) -> Entry:
    values = {"objectClass": [b"groupOfNames"], "cn": [name.encode()], "member": [dn.encode() for dn in members] or [b""]}
    return f"cn={ldap.dn.escape_dn_chars(name)},{parent}", values


def _guid(name: str) -> dict[str, list[bytes]]:
    return {"objectGUID": [uuid.uuid5(uuid.NAMESPACE_DNS, name).bytes_le]}


def ad_unit(name: str) -> Entry:
    return f"ou={name},{SUFFIX}", {"objectClass": [b"organizationalUnit", b"adEntry"], "ou": [name.encode()]} | _guid(name)


def _sid(relative: int) -> dict[str, list[bytes]]:
    """The security identifier of one of a domain's own, S-1-5-21-1-2-3 and this."""
    return {"objectSid": [b"\x01\x05\0\0\0\0\0\x05" + b"".join(part.to_bytes(4, "little") for part in (21, 1, 2, 3, relative))]}


def ad_user(
    account: str,
    name: str,
    parent: str,
    *,
    control: int = 512,
    password: str = "",
    kind: str = "user",
    primary: int = 513,
    **more: list[bytes],
) -> Entry:
    """A user as Active Directory has them; control 514 is a disabled one, kind computer a machine of the domain, 513 Domain Users."""
    classes = [b"user", b"computer"] if kind == "computer" else [b"user"]
    values = {"objectClass": classes, "cn": [name.encode()], "sn": [name.split()[-1].encode()], "sAMAccountName": [account.encode()]}
    values |= {"userAccountControl": [str(control).encode()], "displayName": [name.encode()], "mail": [f"{account}@example.org".encode()]}
    values |= {"userPassword": [password.encode()]} if password else {}
    values |= {"primaryGroupID": [str(primary).encode()]} | _sid(1100 + len(account)) | more
    return f"cn={ldap.dn.escape_dn_chars(name)},{parent}", values | _guid(account)


def ad_group(name: str, members: Iterable[str], parent: str, *, relative: int = 0) -> Entry:
    values = {"objectClass": [b"group"], "cn": [name.encode()], "sAMAccountName": [name.encode()], "groupType": [b"-2147483646"]}
    values |= {"member": [dn.encode() for dn in members]} if members else {}
    values |= _sid(relative) if relative else {}
    return f"cn={ldap.dn.escape_dn_chars(name)},{parent}", values | _guid(name)
