"""All data disks, and the retained disks of machines that are gone."""

from collections.abc import Iterable

from flask import Blueprint
from werkzeug.wrappers import Response

from appliance.catalog import DataDisk, KeptDisk, data_disks
from appliance.catalog.grants import Scope
from appliance.catalog.listing import Page, Window
from appliance.services import disks, recovery
from webui import lists
from webui.guard import needs, settings
from webui.lists import Column, Filter, List, Verb
from webui.reauth import requires_reauth_unless

blueprint = Blueprint("data_disks", __name__, url_prefix="/admin")


def _find(
    window: Window, reach: Scope, ids: Iterable[str] | None, text: str = "", class_name: str = "", use: str = ""
) -> Page[DataDisk]:  # fmt: skip
    return data_disks.list_disks(window, reach, ids, text=text, class_name=class_name, use=use)


def _find_retained(window: Window, reach: Scope, ids: Iterable[str] | None, text: str = "", class_name: str = "") -> Page[KeptDisk]:
    return data_disks.list_retained(window, reach, ids, text=text, class_name=class_name)


def _taken(disk: DataDisk) -> int | None:
    return disks.taken(disk, settings())


DISKS = List(
    endpoint="data_disks.index",
    permission="machines.read",
    noun="data disk",
    thing="disk",
    find=_find,
    order="disk",
    columns=(
        Column("disk", "Disk", lambda row: row.name),
        Column("owner", "Owner", lambda row: row.account.name if row.account else ""),
        Column("machine", "Used by", lambda row: row.machine.name if row.machine_id else ""),
        Column("class", "Class", lambda row: row.class_name),
        Column("size", "Size", lambda row: f"{row.size} GiB", look="num"),
        Column("used", "Last used", lambda row: row.last_used_at or "", look="text-secondary"),
        Column("created", "Created", lambda row: row.created_at, shown=False, look="text-secondary"),
        Column("backup", "Last backup", lambda row: row.backup_at or "", look="end text-secondary"),
    ),
    filters=(
        Filter("text", "Name of disk, owner or machine", kind="text"),
        Filter("use", "Use", choices=lambda: disks.USES, every="Used or not"),
        lists.BY_CLASS,
    ),
    verbs=(Verb("back-up", "Back up", "to be backed up", lambda actor, id, _: disks.back_up(actor, id), "machines.manage", "device-floppy"),),
    verb_endpoint="data_disks.bulk",
)  # fmt: skip

RETAINED = List(
    endpoint="data_disks.kept",
    permission="machines.read",
    noun="retained disk",
    thing="kept",
    find=_find_retained,
    order="until",
    columns=(
        Column("machine", "Machine", lambda row: row.machine_name),
        Column("owner", "Owner", lambda row: row.account.name if row.account else ""),
        Column("class", "Class", lambda row: row.class_name),
        Column("size", "Size", lambda row: row.bytes, look="num"),
        Column("until", "Retained until", lambda row: row.until),
        Column("actions", "Actions", None, sorts=False, look="end"),
    ),
    filters=(Filter("text", "Name of machine or owner", kind="text"), lists.BY_CLASS),
    verbs=(
        Verb(
            "remove", "Remove selected", "to be removed", lambda actor, id, _: recovery.forget_kept(actor, id), "machines.manage", "trash",
            "The machines cannot be brought back then.", reauth=True,
        ),
    ),
    verb_endpoint="data_disks.bulk_retained",
)  # fmt: skip


@blueprint.get("/data-disks/")
@needs("machines.read")
def index() -> Response | str:
    return lists.answer("admin/disks.html", lists.show(DISKS), taken_by=_taken)


@blueprint.post("/data-disks/bulk")
@needs("machines.manage")
def bulk() -> Response | tuple[str, int]:
    return lists.bulk(DISKS)


@blueprint.get("/retained-disks/")
@needs("machines.read")
def kept() -> Response | str:
    return lists.answer("admin/kept.html", lists.show(RETAINED))


@blueprint.post("/retained-disks/bulk")
@needs("machines.manage")
@requires_reauth_unless(lambda **_: lists.is_harmless(RETAINED))
def bulk_retained() -> Response | tuple[str, int]:
    return lists.bulk(RETAINED)
