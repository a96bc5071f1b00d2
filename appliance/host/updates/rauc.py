"""RAUC, which writes the system's two slots and checks what is written there: its answers as values of ours.

`rauc info` checks the signature over a bundle's description, but not yet the rest of the file, which the kernel checks block by block while
it is installed; by then the other slot would have been written to. So `read()` checks the whole of it beforehand.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from appliance import run
from appliance.errors import BadInput, CommandFailed, Unavailable

BLOCK = 4096  # bytes, of dm-verity
PATIENCE = 120  # seconds for an answer

Tell = Callable[[str, int | None], None]


@dataclass(frozen=True)
class Bundle:
    """What a bundle says of itself, signed; sizes are bytes: of the file, and of the system in it."""

    version: str
    compatible: str
    built: str
    signed_by: str
    size: int
    system_size: int
    scenario: str = ""


@dataclass(frozen=True)
class Slot:
    """One of the two places for a system: `name` is A or B; `good` is None where RAUC does not know."""

    name: str
    booted: bool
    good: bool | None


@dataclass(frozen=True)
class System:
    """What is updated: bundles must be for `compatible`; `next` is the slot that the next start boots, empty where that is not known."""

    compatible: str
    next: str
    slots: list[Slot]

    @property
    def booted(self) -> Slot | None:
        return next((slot for slot in self.slots if slot.booted), None)

    @property
    def other(self) -> Slot | None:
        return next((slot for slot in self.slots if not slot.booted), None)


# -- bundles ---------------------------------------------------------------------------------------


def read(file: Path) -> Bundle:
    """A bundle whose signature and every byte were checked. Raises BadInput saying what is wrong with the file."""
    try:
        said = json.loads(run.run(["rauc", "info", "--output-format=json", file], timeout=PATIENCE))
        shown = run.run(["rauc", "info", file], timeout=PATIENCE)
    except CommandFailed as error:
        raise meaning(error) from error
    check_payload(file, salt=_shown(shown, "Verity Salt"), root=_shown(shown, "Verity Hash"), tree=int(_shown(shown, "Verity Size")))
    images = [image for one in said["images"] for image in one.values()]
    return Bundle(
        version=said["version"] or "",
        compatible=said["compatible"],
        built=said["build"] or "",
        signed_by=signer(shown),
        size=file.stat().st_size,
        system_size=sum(image["size"] for image in images),
        scenario=scenario(shown),
    )


def meaning(error: CommandFailed) -> BadInput | Unavailable:
    """What RAUC found wrong with a bundle, in words."""
    said = error.output
    again = "Get the file again, whole, from where you have it."
    if error.status in (124, 127):
        return Unavailable(error.message, error.hint)
    if "Signature size" in said or "Failed to seek" in said:
        return BadInput("This is no update, or only a part of one.", f"{again} Updates end with .raucb.")
    if "expired" in said or "not yet valid" in said:
        return BadInput(
            "The update's signature is not valid at this date.", "Check the server's clock; if it is right, ask for an update signed anew."
        )
    if "signature verification failed" in said and "certificate" in said:
        return BadInput(
            "The update is not signed by anybody this appliance trusts, or it was changed.",
            "Only take updates from where you have the appliance.",
        )
    if "signature verification failed" in said:
        return BadInput("The update's signature is wrong: the file was changed or damaged on its way.", again)
    if "format" in said.lower():
        return BadInput("The update is made in a way that this appliance does not take.", "It may need a version in between.")
    return BadInput(f"The update cannot be read: {said.splitlines()[-1] if said else error.message}", again)


def _shown(text: str, name: str) -> str:
    found = re.search(rf"^\s*{name}:\s*'?([0-9a-f]+)'?\s*$", text, re.MULTILINE)
    if found is None:
        raise BadInput("The update is made in a way that this appliance does not take.", "It may need a version in between.")
    return found[1]


def signer(text: str) -> str:
    """The name in the certificate that signed, from what `rauc info` shows."""
    found = re.search(r"^ 0 Subject: (.*)$", text, re.MULTILINE)
    subject = found[1].strip() if found else ""
    name = re.search(r"CN ?= ?([^,]+)", subject)
    return name[1] if name else subject


def scenario(text: str) -> str:
    """The scenario that a bundle is for, from what `rauc info` shows of our own section; its JSON does not have that. Empty when it does not say."""
    found = re.search(r"^  dpe:\n(?:    .*\n)*?    scenario: (.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def check_payload(file: Path, *, salt: str, root: str, tree: int) -> None:
    """Compare the file with the hash tree (dm-verity's) whose root the signature covers. Raises BadInput."""
    salted = hashlib.sha256(bytes.fromhex(salt))

    def level(blocks: IO[bytes], length: int) -> bytes:
        hashes = bytearray()
        for _ in range(length // BLOCK):
            one = salted.copy()
            one.update(blocks.read(BLOCK))
            hashes += one.digest()
        return bytes(hashes)

    with file.open("rb") as bundle:
        bundle.seek(-8, os.SEEK_END)
        signature = int.from_bytes(bundle.read(8), "big")
        length = bundle.tell() - 8 - signature - tree
        bundle.seek(0)
        hashes = level(bundle, max(length, 0))
        stored = bundle.read(tree)
    levels: list[bytes] = []
    while len(hashes) > hashlib.sha256().digest_size:
        padded = hashes + bytes(-len(hashes) % BLOCK)
        levels.insert(0, padded)
        hashes = b"".join(_with(salted, padded[at : at + BLOCK]) for at in range(0, len(padded), BLOCK))
    if length <= 0 or length % BLOCK or hashes.hex() != root or stored != b"".join(levels):
        raise BadInput(
            "The update was changed or damaged on its way: not all of it is what was signed.",
            "Get the file again, whole, from where you have it.",
        )


def _with(salted: "hashlib._Hash", block: bytes) -> bytes:
    one = salted.copy()
    one.update(block)
    return one.digest()


# -- slots -----------------------------------------------------------------------------------------


def system() -> System:
    """The slots as they are. Raises CommandFailed while RAUC's service does not answer."""
    said = json.loads(run.run(["rauc", "status", "--output-format=json"], timeout=PATIENCE))
    slots = {name: facts for one in said["slots"] for name, facts in one.items() if facts["bootname"]}
    good = {"good": True, "bad": False}
    return System(
        said["compatible"],
        slots.get(said["boot_primary"] or "", {}).get("bootname", ""),
        sorted(
            (Slot(facts["bootname"], facts["state"] == "booted", good.get(facts["boot_status"])) for facts in slots.values()),
            key=lambda slot: slot.name,
        ),
    )


def mark(state: Literal["good", "bad", "active"], slot: Literal["booted", "other"] = "booted") -> None:
    """Tell the boot loader about a slot."""
    run.run(["rauc", "status", f"mark-{state}", slot], timeout=PATIENCE)


def install(file: Path, tell: Tell) -> None:
    """Write a bundle's system to the slot that is not booted. Raises Unavailable saying what RAUC said."""
    reading, writing = os.pipe()
    try:
        process = run.start(["rauc", "install", file], stdout=writing, stderr=writing)
    finally:
        os.close(writing)
    problem = ""
    with os.fdopen(reading, errors="replace") as lines:
        for line in lines:
            if step := re.match(r"\s*(\d{1,3})% (.+)", line):
                tell(step[2].strip(), min(int(step[1]), 99))
            elif line.startswith("LastError: "):
                problem = line.removeprefix("LastError: ").strip()
    if process.wait() != 0:
        raise Unavailable(
            f"The update could not be written: {problem or 'RAUC did not say why'}.",
            "The system that runs is as it was. Try again; if it fails again, check the disk under Storage.",
        )
