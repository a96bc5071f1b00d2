"""Files that are whole: as they were, or as they are to be, whatever is cut off in between, and on a full disk.

The one way in which the product writes a file that is read again after a restart. What is written beside the file first is on the disk
before it takes the file's place, and the folder's new entry is before anybody is told that it is done.
"""

import contextlib
import errno
import grp
import os
import pwd
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SAME = -1  # leaves an owner or a group as it is


def write(path: Path, content: str | bytes, *, mode: int = 0o600, user: str | int = SAME, group: str | int = SAME) -> None:
    """Make `content` all that is in the file; a folder that is missing is made, for its owner alone.

    A link in its place is replaced, never followed. Raises OSError, and then the file is as it was.
    """
    with _beside(path, content, mode, user, group) as fresh:
        fresh.rename(path)
    sync(path.parent)


def create(path: Path, content: str | bytes, *, mode: int = 0o600, user: str | int = SAME, group: str | int = SAME) -> bool:
    """The same unless there is a file already, which is left as it is; whether it was made. Of several who try at once one does."""
    with _beside(path, content, mode, user, group) as fresh:
        try:
            os.link(fresh, path)
        except FileExistsError:
            return False
        finally:
            fresh.unlink()
    sync(path.parent)
    return True


def replace(fresh: Path, path: Path) -> None:
    """Have a file, or a folder with its own content synchronised, take the place of `path`, on the same file system. Raises OSError."""
    sync(fresh)
    fresh.rename(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Have a file's content, or the names in a folder, outlast a power cut. Raises OSError: with ENOSPC, too, where room is only given then."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # other servers' folders may not know it
            raise
    finally:
        os.close(handle)


@contextmanager
def _beside(path: Path, content: str | bytes, mode: int, user: str | int, group: str | int) -> Iterator[Path]:
    """A file with the content in the same folder; it is gone when the block fails."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content.encode() if isinstance(content, str) else content)
            out.flush()
            uid = pwd.getpwnam(user).pw_uid if isinstance(user, str) else user
            gid = grp.getgrnam(group).gr_gid if isinstance(group, str) else group
            if (uid, gid) != (SAME, SAME):
                os.fchown(out.fileno(), uid, gid)
            if mode != 0o600:  # which it has, and some file systems cannot change
                os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        yield fresh
    except BaseException:
        with contextlib.suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise
