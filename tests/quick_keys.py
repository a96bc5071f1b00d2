"""Repositories of restic that are opened at little cost, where a test is about something else than what a recovery key costs.

As a program it is dpe-host with them.
"""

import base64
import hashlib
import json
import os
from pathlib import Path

from cryptography.hazmat.primitives import poly1305
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from appliance.host.backup.restic import Repository
from appliance.host.rpc import daemon
from appliance.run import Argument


def use() -> None:
    """For this process: a recovery key opens a new repository in a folder of this host at little cost. In earnest restic takes half a second each time it is started.

    Whoever starts processes of the appliance (`make run`) has repositories as they are.
    """
    ask = Repository.ask
    if ask.__module__ == __name__:
        return

    def quickly(there: Repository, *arguments: Argument, timeout: float | None = None) -> str:
        said = ask(there, *arguments, timeout=timeout)
        if arguments == ("init",):
            for key in Path(there.location.rpartition(":")[2]).glob("keys/*"):
                cheapen(key, there.env["RESTIC_PASSWORD"].encode())
        return said

    Repository.ask = quickly  # type: ignore[method-assign, assignment]


def cheapen(key: Path, password: bytes) -> None:
    """Encrypt a repository's master key with one that scrypt makes of the password in no time; restic's design.rst has the format."""

    def derived(n: int, r: int, p: int) -> tuple[bytes, bytes, bytes]:
        made = hashlib.scrypt(password, salt=base64.b64decode(told["salt"]), n=n, r=r, p=p, maxmem=1 << 30, dklen=64)
        return made[:32], made[32:48], made[48:]

    def crypt(cipher: bytes, nonce: bytes, text: bytes) -> bytes:
        return Cipher(algorithms.AES(cipher), modes.CTR(nonce)).encryptor().update(text)

    told = json.loads(key.read_bytes())
    before = base64.b64decode(told["data"])
    master = crypt(derived(told["N"], told["r"], told["p"])[0], before[:16], before[16:-16])
    cipher, mac, mask = derived(2, 1, 1)
    nonce = os.urandom(16)
    hidden = crypt(cipher, nonce, master)
    one_time = mask + Cipher(algorithms.AES(mac), modes.ECB()).encryptor().update(nonce)  # one block, as Poly1305-AES has it
    told |= {"N": 2, "r": 1, "p": 1, "data": base64.b64encode(nonce + hidden + poly1305.Poly1305.generate_tag(one_time, hidden)).decode()}
    content = json.dumps(told).encode()
    (key.parent / hashlib.sha256(content).hexdigest()).write_bytes(content)
    key.unlink()


if __name__ == "__main__":
    use()
    daemon.main()
