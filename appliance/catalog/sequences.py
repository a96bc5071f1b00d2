"""Sequences and their versions."""

from typing import NamedTuple

from appliance.catalog.database import rows
from appliance.catalog.models import Sequence, SequenceVersion, VersionState, now


class Followed(NamedTuple):
    """The version that a class's machines follow now; `body` is JSON, as workflow.sequence reads it."""

    version_id: int
    body: str


def of_class(class_name: str) -> Followed | None:
    """What the machines of a class follow; None when its sequence is nothing but what belongs to the moves themselves."""
    found = rows(
        """
        SELECT sequence_version.id, sequence_version.body FROM class
        JOIN sequence_version ON sequence_version.sequence_name = class.sequence AND sequence_version.state = 'promoted' WHERE class.name = ?
        """,
        (class_name,),
    )
    return Followed(*found[0]) if found else None


def body(version_id: int | None) -> str:
    """The body of a version, JSON; empty for none."""
    found = rows("SELECT body FROM sequence_version WHERE id = ?", (version_id,)) if version_id is not None else []
    return found[0][0] if found else ""


def shipped(name: str) -> str:
    """The digest of the file that a sequence came with last; empty for one that is not there or was made here."""
    result = rows("SELECT shipped FROM sequence WHERE name = ?", (name,))
    return result[0][0] if result else ""


def promoted(name: str) -> SequenceVersion | None:
    """The version of a sequence that new runs go by."""
    found: SequenceVersion | None = SequenceVersion.get_or_none(
        SequenceVersion.sequence == name, SequenceVersion.state == VersionState.PROMOTED
    )
    return found


def draft(name: str) -> SequenceVersion | None:
    """The draft of a sequence."""
    found: SequenceVersion | None = SequenceVersion.get_or_none(
        SequenceVersion.sequence == name, SequenceVersion.state == VersionState.DRAFT
    )
    return found


def versions(name: str) -> list[SequenceVersion]:
    """All versions of a sequence, newest first."""
    return list(SequenceVersion.select().where(SequenceVersion.sequence == name).order_by(SequenceVersion.number.desc()))


def all() -> list[Sequence]:
    """Every sequence, by name."""
    return list(Sequence.select().order_by(Sequence.name))


def add(name: str, body: str, state: VersionState, *, author: str = "", comment: str = "") -> SequenceVersion:
    """A new version; call it inside `write()`. One that is promoted takes the place of the one before. A draft has the number 0."""
    number = (rows("SELECT max(number) FROM sequence_version WHERE sequence_name = ?", (name,))[0][0] or 0) + 1
    if state is VersionState.DRAFT:
        number = 0
    if state is VersionState.PROMOTED:
        unpromote(name)
    promoted_at = now() if state is VersionState.PROMOTED else None
    return SequenceVersion.create(
        sequence=name, number=number, state=state, body=body, author=author, comment=comment, promoted_at=promoted_at
    )


def unpromote(name: str) -> None:
    """Keep the promoted version as one that was; call it inside `write()`, before another is promoted."""
    SequenceVersion.update(state=VersionState.KEPT).where(
        SequenceVersion.sequence == name, SequenceVersion.state == VersionState.PROMOTED
    ).execute()


def latest_shipped(name: str) -> SequenceVersion | None:
    """The newest version that came with the appliance."""
    found: SequenceVersion | None = (
        SequenceVersion.select()
        .where(SequenceVersion.sequence == name, SequenceVersion.author == "", SequenceVersion.state != VersionState.DRAFT)
        .order_by(SequenceVersion.number.desc())
        .first()
    )
    return found


def used_by(name: str) -> list[str]:
    """Names of the classes whose machines follow a sequence."""
    return [row[0] for row in rows("SELECT name FROM class WHERE sequence = ? ORDER BY name", (name,))]


def is_remembered(name: str) -> bool:
    """Whether a run, a machine or a request goes, or went, by a version of it."""
    found = rows(
        """
        SELECT 1 FROM sequence_version WHERE sequence_name = ? AND (id IN (SELECT version_id FROM run)
          OR id IN (SELECT trial_id FROM machine) OR id IN (SELECT trial_id FROM request)) LIMIT 1
        """,
        (name,),
    )
    return bool(found)
