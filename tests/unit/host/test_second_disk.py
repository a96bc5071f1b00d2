"""The disk that the data can lie on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import CommandFailed, Unavailable
from appliance.host.disks import second_disk

pytestmark = pytest.mark.lost

Says = Callable[..., list[int]]


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Says:
    """e2fsck ends with these statuses, one after the other, and with the last of them from then on; returned is what is left to say."""

    def be(*statuses: int) -> list[int]:
        left = list(statuses)

        def run(_: list[Any], **__: Any) -> str:
            if status := left.pop(0) if len(left) > 1 else left[0]:
                raise CommandFailed(f"ended with status {status}", status=status, output="Cannot continue, aborting.")
            return ""

        monkeypatch.setattr(second_disk, "run", run)
        return left

    monkeypatch.setattr(second_disk.time, "sleep", lambda _: None)
    return be


@pytest.mark.parametrize("statuses", [(0,), (1,), (3,), (8, 8, 0), (8, 1)])
def test_a_file_system_is_repaired_once_whoever_was_killed_with_it_has_let_go(says: Says, statuses: tuple[int, ...]) -> None:
    left = says(*statuses)
    second_disk.repair_file_system(Path("/dev/loop7"))
    assert left == [statuses[-1]]


@pytest.mark.badinput
def test_one_that_cannot_be_checked_is_not_called_damaged(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_disk, "LETS_GO", -1.0)
    for status, said in ((8, "cannot be checked: Cannot continue"), (4, "is damaged"), (12, "is damaged")):
        says(status)
        with pytest.raises(Unavailable, match=said):
            second_disk.repair_file_system(Path("/dev/loop7"))
