"""A disk that is full, fails or became read-only, and a catalog that is not there any more: each is called by its name."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from peewee import OperationalError

from appliance import catalog
from appliance.catalog import database
from appliance.errors import Unavailable
from appliance.settings import Settings

pytestmark = pytest.mark.lost


def fill(_catalog: Path) -> None:
    """From here on SQLite finds no room for one page more, and rolls back by itself."""
    [[pages]] = database.rows("PRAGMA page_count")
    database.rows(f"PRAGMA max_page_count = {pages}")


def make_read_only(_catalog: Path) -> None:
    database.rows("PRAGMA query_only = 1")


def event() -> None:
    with catalog.write():
        catalog.record("support.bundle", "x" * 20_000)


@pytest.mark.parametrize(("break_it", "words"), [(fill, "The disk is full"), (make_read_only, "The disk is read-only")])
def test_what_cannot_be_kept_is_refused_with_the_reason(opened: Settings, break_it: Callable[[Path], None], words: str) -> None:
    break_it(opened.catalog)
    with pytest.raises(Unavailable, match=words) as caught:
        event()
    assert "Server > Storage" in caught.value.hint
    assert catalog.Event.select().count() == 0  # and reading goes on
    database.rows("PRAGMA max_page_count = 1000000")
    database.rows("PRAGMA query_only = 0")
    event()
    assert catalog.Event.select().count() == 1


def test_the_reason_is_the_same_inside_another_write(opened: Settings) -> None:
    fill(opened.catalog)
    with pytest.raises(Unavailable, match="The disk is full"), catalog.write():
        event()
    assert not database.db.in_transaction()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLITE_FULL", "The disk is full"),
        ("SQLITE_IOERR_WRITE", "The disk failed"),
        ("SQLITE_IOERR_FSYNC", "The disk failed"),
        ("SQLITE_READONLY", "The disk is read-only"),
        ("SQLITE_CANTOPEN", "cannot be used"),
        ("SQLITE_CORRUPT", "cannot be used"),
        ("SQLITE_READONLY_DBMOVED", "cannot be used"),
    ],
)
def test_every_error_of_the_disk_is_told_by_the_first_of_them(opened: Settings, name: str, words: str) -> None:
    """SQLite may have rolled back by itself; then the last error is that there was nothing to roll back."""

    def failed(name: str, text: str) -> OperationalError:
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, name), name
        return OperationalError(error, text)

    with pytest.raises(Unavailable, match=words), catalog.write():
        try:
            first = failed(name, "this is why")
            raise first from first.orig
        except OperationalError:
            last = failed("SQLITE_ERROR", "cannot rollback - no transaction is active")
            raise last  # noqa: B904


def test_files_that_cannot_grow_are_a_full_disk(opened: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    monkeypatch.setattr(database, "_is_full", lambda: True)
    refusal = catalog.refusal(error)
    assert refusal is not None
    assert "The disk is full" in refusal.message


def test_an_error_of_our_own_is_none_of_the_disk_s(opened: Settings) -> None:
    with pytest.raises(OperationalError, match="no such column"), catalog.write():
        database.rows("SELECT missing FROM event")
    assert catalog.refusal(ValueError("x")) is None


def gone(file: Path) -> None:
    file.unlink()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def garbled(file: Path) -> None:
    file.write_bytes(b"no catalog at all" * 1000)


@pytest.mark.parametrize("lose", [gone, emptied, garbled])
def test_a_catalog_that_is_lost_is_called_so_and_none_is_made_in_its_place(opened: Settings, lose: Callable[[Path], None]) -> None:
    catalog.close()
    for beside in ("-wal", "-shm"):
        opened.catalog.with_name(opened.catalog.name + beside).unlink(missing_ok=True)
    lose(opened.catalog)
    there = opened.catalog.exists()
    with pytest.raises(Exception) as caught:  # noqa: PT011
        catalog.Event.select().count()
    assert isinstance(catalog.refusal(caught.value), catalog.Lost)
    assert opened.catalog.exists() == there


def test_the_catalog_keeps_room_in_its_own_file(opened: Settings) -> None:
    assert database.keep_slack()
    assert not database.keep_slack()  # not again and again
    assert not catalog.Option.select().where(catalog.Option.name == "slack").exists()
    database.rows("PRAGMA wal_checkpoint(PASSIVE)")
    assert opened.catalog.stat().st_blocks * 512 >= database.SLACK
    fill(opened.catalog)
    for _ in range(100):
        event()
    assert catalog.Event.select().count() == 100


def test_other_threads_use_it_too(opened: Settings) -> None:
    database.keep_slack()
    fill(opened.catalog)
    failed: list[BaseException] = []

    def work() -> None:
        try:
            database.rows("SELECT 1")
            fill(opened.catalog)
            event()
        except BaseException as error:
            failed.append(error)
        finally:
            catalog.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
