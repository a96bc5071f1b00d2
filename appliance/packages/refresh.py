"""Read the index of a release anew: apt fetches what the mirror signed, checks it with the keys that builds go by, and says what it would install.

`python -m appliance.packages.refresh`, with a `Job` as JSON at its standard input, does it in a process of its own, which takes a minute of one processor.
"""

import json
import os
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance import durable
from appliance.errors import CommandFailed, DpeError, Unavailable
from appliance.packages import sources, store
from appliance.run import confined, run, start

PATIENCE = 1800  # seconds
# As mmdebstrap has it: nothing of the host's own apt but the keys that it trusts.
CONFIGURATION = """
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Update::Error-Mode "any";
Acquire::Languages { "en"; };
Acquire::Retries "3";
"""


@dataclass(frozen=True)
class Job:
    """What is read (`lines` as in apt's sources.list), into which file, and in which folder it is done, which is there, empty and nobody else's."""

    lines: Sequence[str]
    file: str
    work: str

    def run(self) -> int:
        """Read the index and put it into the place of what was there; returns how many packages it has. Raises Unavailable."""
        work, file = Path(self.work), Path(self.file)
        fresh = file.with_suffix(".new")  # beside it, as the folder of downloads may be on another disk
        facts = {"read_at": datetime.now(UTC).isoformat(timespec="seconds"), "mirror": _address(self.lines)}
        try:
            fresh.unlink(missing_ok=True)
            apt = _Apt(work, self.lines)
            apt.update()
            with closing(apt.available()) as lines:
                count = store.write(fresh, store.stanzas(lines), apt.descriptions(), sources.BASE_PACKAGES, facts)
            fresh.chmod(0o644)
            durable.replace(fresh, file)
        except OSError as error:
            raise Unavailable(f"The package index cannot be kept: {error}.", "See that there is room, and check the disk.") from error
        finally:
            fresh.unlink(missing_ok=True)
        return count

    def run_aside(self, environment: Mapping[str, str]) -> None:
        """The same in a process of its own, behind all others, that ends with this one. Raises Unavailable."""
        command = confined(["nice", "-n", "19", sys.executable, "-m", "appliance.packages.refresh"])
        try:
            run(command, input=json.dumps(asdict(self)), env=environment, timeout=PATIENCE)
        except CommandFailed as error:
            message, _, hint = error.output.strip().partition("\n")
            raise Unavailable(message or error.message, hint) from error


def options(work: Path) -> list[str]:
    """Those with which apt works in that folder alone."""
    places = {"Etc::sourcelist": "sources.list", "State": "", "State::status": "status", "State::lists": "lists", "Cache": "cache"}
    return [word for name, place in places.items() for word in ("-o", f"Dir::{name}={work / place}")]


class _Apt:
    """apt over a folder of its own."""

    def __init__(self, work: Path, lines: Sequence[str]) -> None:
        work.chmod(0o711)  # apt fetches as a user of its own
        files = {"apt.conf": CONFIGURATION, "sources.list": "".join(f"{line}\n" for line in lines), "status": ""}
        for name, text in files.items():
            (work / name).write_text(text)
            (work / name).chmod(0o644)
        for folder in ("lists", "cache"):
            (work / folder).mkdir(mode=0o755)
        self._lists, self._options, self._env = work / "lists", options(work), {"APT_CONFIG": str(work / "apt.conf")}

    def update(self) -> None:
        """Fetch and check. Raises Unavailable with what apt says."""
        try:
            run(["apt-get", *self._options, "--quiet=2", "update"], env=self._env, timeout=PATIENCE)
        except CommandFailed as error:
            said = [line[3:] for line in error.output.splitlines() if line.startswith("E: ")]
            raise Unavailable(
                f"The package index was not read: {said[0] if said else error.message}",
                "Check the host's network and the setting debian_mirror.",
            ) from error

    def available(self) -> Generator[bytes, None, None]:
        """The versions that apt would install, as lines of a control file. Raises Unavailable."""
        reading, writing = os.pipe()
        process = start(["apt-cache", *self._options, "dumpavail"], env=self._env, stdout=writing)
        os.close(writing)
        try:
            with os.fdopen(reading, "rb") as lines:
                yield from lines
            if process.wait():
                raise Unavailable(f"apt-cache ended with status {process.returncode}.", "See that there is room, and check the disk.")
        finally:
            process.kill()
            process.wait()

    def descriptions(self) -> dict[str, str]:
        """Long descriptions by the MD5 under which packages name them."""
        found = {}
        for file in sorted(self._lists.glob("*_i18n_Translation-en")):
            with file.open("rb") as lines:
                for one in store.stanzas(lines):
                    found[one.get("Description-md5", "")] = one.get("Description-en", "").partition("\n")[2]
        return found


def _address(lines: Sequence[str]) -> str:
    """Where the first line has its packages from."""
    return next((word for word in " ".join(lines[:1]).split() if ":/" in word and not word.startswith("[")), "")


def main() -> int:
    try:
        Job(**json.load(sys.stdin)).run()
    except DpeError as error:
        print(error.message, error.hint, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
