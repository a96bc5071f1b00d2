"""Names of packages: refused with their line and with what is nearly called so, unless nobody can know."""

from datetime import timedelta
from pathlib import Path

import pytest

from appliance import packages
from appliance.catalog import now
from appliance.errors import NotFound
from tests import packages as made


def test_without_an_index_nothing_is_wrong(tmp_path: Path) -> None:
    packages.open(tmp_path)
    assert packages.wrong("debian-13", "nosuch") is None
    assert not packages.is_fresh("debian-13", now())
    with packages.index("debian-13") as index:
        assert index is None


def test_by_an_index_that_cannot_be_used_nothing_is_wrong(tmp_path: Path) -> None:
    packages.open(tmp_path)
    (tmp_path / "debian-13.db").write_bytes(b"no database")
    assert packages.wrong("debian-13", "nosuch") is None
    assert not packages.is_fresh("debian-13", now())


@pytest.mark.badinput
def test_a_wrong_name_is_told_with_what_to_write(tmp_path: Path) -> None:
    made.write(tmp_path)
    packages.open(tmp_path)
    assert packages.wrong("debian-13", "postgresql") is None
    assert packages.wrong("debian-12", "nosuch") is None, "of that release nobody knows"
    said = packages.wrong("debian-13", "postgrseql")
    assert said is not None
    assert said[0] == "Debian 13 has no package postgrseql"
    assert said[1].startswith("write postgresql")
    said = packages.wrong("debian-13", "mail-transport-agent")
    assert said is not None
    assert said[1] == "write one of them: exim4-daemon-light, postfix"
    said = packages.wrong("debian-13", "zzzz")
    assert said is not None
    assert said[1].startswith("look for it on the page Packages")


def test_an_index_is_good_for_a_day(tmp_path: Path) -> None:
    packages.open(tmp_path)
    made.write(tmp_path)
    assert packages.is_fresh("debian-13", now())
    made.write(tmp_path, at=now() - timedelta(hours=25))
    assert not packages.is_fresh("debian-13", now())


@pytest.mark.badinput
@pytest.mark.parametrize("os", ["", "debian-11", "../catalog/catalog", "debian-13.db"])
def test_only_releases_have_an_index(tmp_path: Path, os: str) -> None:
    packages.open(tmp_path)
    with pytest.raises(NotFound), packages.index(os):
        pass
