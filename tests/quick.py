"""What the product takes its time for, done quickly where a test is about something else."""

import tempfile
from functools import cache
from pathlib import Path
from types import CodeType

from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache

from appliance import catalog
from appliance.identity import passwords

IN_EARNEST, NOBODY = passwords._hasher, passwords._NOBODY


class Compiled(BytecodeCache):
    """Templates that were compiled once by this process; each application would compile them anew."""

    def __init__(self) -> None:
        self.code: dict[str, tuple[str, CodeType]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        found = self.code.get(bucket.key)
        if found and found[0] == bucket.checksum:
            bucket.code = found[1]

    def dump_bytecode(self, bucket: Bucket) -> None:
        assert bucket.code
        self.code[bucket.key] = bucket.checksum, bucket.code


def passwords_and_templates() -> None:
    """For this process: passwords are hashed at little cost, and templates compiled once. What a hash costs in earnest, test_passwords.py asks."""
    passwords._hasher = passwords._quick
    passwords._NOBODY = passwords._quick.hash("nobody has this password")
    Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": Compiled()}


@cache
def _migrated() -> bytes:
    """A catalog as it is when it was made just now."""
    with tempfile.TemporaryDirectory() as folder:
        catalog.open(file := Path(folder) / "catalog.db")
        catalog.close()
        return file.read_bytes()


def open_catalog(path: Path) -> None:
    """Open a new catalog that is a copy of one made before; the steps on the way are test_database's and take a tenth of a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or not path.stat().st_size:  # an empty file that holds its place
        path.write_bytes(_migrated())
    catalog.open(path)
