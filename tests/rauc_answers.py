"""What `rauc`, `grub-editenv` and `systemctl` of a bootable image say (RAUC 1.13): to tests in the same process, and as programs to others."""

import json
import sys
from pathlib import Path

REAL = Path(__file__).parent / "rauc"


def answer(folder: Path, argv: list[str]) -> tuple[int, str, str]:
    """Status, output and error of a command, which is noted in `folder`; there stands what bundles and slots are to be."""
    with (folder / "asked").open("a") as log:
        log.write(" ".join(argv) + "\n")
    if argv[1:2] == ["info"]:
        return _info(folder, argv)
    if argv[1:3] == ["status", "--output-format=json"]:
        status = folder / "status.json"
        return (0, status.read_text(), "") if status.exists() else (1, "", "The service is away.")
    if argv[1] == "install":
        failed = (folder / "fails").exists()
        return int(failed), (REAL / ("install-failed.txt" if failed else "install.txt")).read_text(), ""
    return 0, "", ""


def _info(folder: Path, argv: list[str]) -> tuple[int, str, str]:
    data, good = Path(argv[-1]).read_bytes(), (REAL / "good.raucb").read_bytes()
    told = "empty" if not data else "foreign" if data.startswith(b"foreign") else "" if data[-2000:] == good[-2000:] else "cut"
    if told:
        return 1, "", (REAL / f"{told}.err").read_text()
    if "--output-format=json" not in argv:
        return 0, (REAL / "info.txt").read_text(), ""
    return 0, json.dumps({**json.loads((REAL / "info.json").read_text()), **json.loads((folder / "bundle.json").read_text())}), ""


def main(folder: str) -> None:
    """Be one of these programs, under whose name we were started."""
    status, said, error = answer(Path(folder), [Path(sys.argv[0]).name, *sys.argv[1:]])
    sys.stdout.write(said)
    sys.stderr.write(error)
    sys.exit(status)
