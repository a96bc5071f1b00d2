"""Disks of everybody, below /api/v1/admin/: data disks, retained disks, their copies, and what is set aside."""

from typing import Annotated, Any, Literal

from pydantic import Field

from appliance.catalog import Aside, DataDisk, KeptDisk
from appliance.services import aside, disks, recovery
from webui import forms
from webui.admin.disks import DISKS, RETAINED
from webui.api import schemas
from webui.api.admin import Answer
from webui.api.mine import DiskName, NewDiskName, _data_disk, _retained_disk, _time
from webui.api.operation import Body, blueprint, operation, page_of
from webui.guard import actor, needs

SCOPE = "admin:disks"
Name = Annotated[str, Field(max_length=100)]

# -- data disks ----------------------------------------------------------------------------------------------


def _disk(disk: DataDisk) -> schemas.AdminDataDisk:
    return {**_data_disk(disk), "owner": disk.account.name if disk.account else None}


@blueprint.get("/admin/data-disks")
@needs("machines.read")
@operation("admin:read", {200: schemas.AdminDataDisks}, listing=DISKS)
def admin_data_disks() -> Answer:
    """Data disks of everybody, within reach."""
    return page_of(DISKS, _disk)


@blueprint.get("/admin/data-disks/<id>")
@needs("machines.read", disk="id")
@operation("admin:read", {200: schemas.AdminDataDisk})
def admin_data_disk(id: str) -> Answer:
    """One of them."""
    return _disk(disks.get_disk(actor(), id))


@blueprint.post("/admin/data-disks/<id>/back-up")
@needs("machines.manage", disk="id")
@operation(SCOPE, {202: schemas.State})
def admin_back_up_disk(id: str) -> Answer:
    """Have somebody's data disk backed up."""
    disks.back_up(actor(), id)
    return {"state": "asked"}, 202


@blueprint.post("/admin/data-disks/<id>/rename")
@needs("machines.manage", disk="id")
@operation(SCOPE, {200: schemas.AdminDataDisk}, takes=NewDiskName, example={"name": "thesis"})
def admin_rename_disk(id: str) -> Answer:
    """Give somebody's data disk another name."""
    disks.rename(actor(), id, forms.read(NewDiskName).name)
    return _disk(disks.get_disk(actor(), id))


@blueprint.post("/admin/data-disks/<id>/try-again")
@needs("machines.manage", disk="id")
@operation(SCOPE, {202: schemas.State})
def admin_retry_disk(id: str) -> Answer:
    """Try once more what failed with somebody's data disk."""
    disks.try_again(actor(), id)
    return {"state": "asked"}, 202


@blueprint.post("/admin/data-disks/<id>/delete")
@needs("machines.manage", disk="id")
@operation(SCOPE, {202: schemas.State}, takes=DiskName, confirms=True, example={"name": "notebook"})
def admin_delete_disk(id: str) -> Answer:
    """Delete somebody's data disk with everything on it; its name once more. 409 while a machine has it."""
    disks.delete(actor(), id, forms.read(DiskName).name)
    return {"state": "deleting"}, 202


# -- retained disks ------------------------------------------------------------------------------------------


def _retained(kept: KeptDisk) -> schemas.AdminRetainedDisk:
    return {**_retained_disk(kept), "owner": kept.account.name if kept.account else None, "bytes": kept.bytes}


@blueprint.get("/admin/retained-disks")
@needs("machines.read")
@operation("admin:read", {200: schemas.AdminRetainedDisks}, listing=RETAINED)
def admin_retained_disks() -> Answer:
    """Retained disks of everybody's machines that are gone, within reach."""
    return page_of(RETAINED, _retained)


@blueprint.post("/admin/retained-disks/<id>/restore")
@needs("machines.manage", kept="id")
@operation(SCOPE, {202: schemas.Restored})
def admin_restore_retained(id: str) -> Answer:
    """Make a retained disk the machine again of whoever held it."""
    return {"run": recovery.bring_back_kept(actor(), id)}, 202


@blueprint.post("/admin/retained-disks/<id>/delete")
@needs("machines.manage", kept="id")
@operation(SCOPE, {202: schemas.State}, confirms=True)
def admin_delete_retained(id: str) -> Answer:
    """Delete somebody's retained disk before its days are over."""
    recovery.forget_kept(actor(), id)
    return {"state": "deleting"}, 202


# -- copies of data disks ------------------------------------------------------------------------------------


class CopyChoice(Body):
    """A copy, for whom and as a machine of which class; empty: as it says itself."""

    path: str = Field(min_length=1, max_length=500)
    account: Name = ""
    class_name: Annotated[str, Field(alias="class", max_length=100)] = ""


class CopyChoices(Body):
    copies: list[CopyChoice] = Field(min_length=1, max_length=recovery.MOST)


@blueprint.get("/admin/disk-backups")
@needs("settings.manage")
@operation("admin:read", {200: schemas.DiskCopies})
def disk_backups() -> Answer:
    """Copies of data disks, of this appliance or another one, the newest first."""

    def line(one: recovery.RecoverablePerson) -> schemas.DiskCopy:
        copy = one.copy
        return {
            "path": copy.path,
            "disk": copy.disk_name or copy.disk,
            "machine": copy.machine_name,
            "class": copy.class_name,
            "account": copy.account_name,
            "bytes": copy.bytes,
            "taken_at": _time(copy.taken_at),
            "newest": one.newest,
            "problem": one.problem,
        }

    return {"items": [line(one) for one in recovery.recoverable()]}


@blueprint.post("/admin/disk-backups/restore")
@needs("settings.manage")
@operation(
    SCOPE, {202: schemas.RunIds}, takes=CopyChoices, creates=True, confirms=True, example={"copies": [{"path": "PATH", "account": "ada"}]}
)
def restore_disk_backups() -> Answer:
    """Bring copies back, each as a data disk and a machine that has it: all, or none."""
    asked = forms.read(CopyChoices).copies
    return {"runs": recovery.bring_back(actor(), [recovery.Choice(one.path, one.account, one.class_name) for one in asked])}, 202


# -- what is set aside ---------------------------------------------------------------------------------------


class Decision(Body):
    """How the appliance goes on with a catalog that is another or an older one."""

    choice: Literal["adopt", "aside"]


class Adoption(Body):
    account: Name = Field("", description="Whose it is to be; empty: as it says itself.")


def _orphan(one: Aside) -> schemas.Orphan:
    return {
        "number": one.number,
        "kind": one.kind.value,
        "id": one.id,
        "name": one.name,
        "class": one.class_name,
        "account": one.account_name,
        "doubt": one.doubt,
        "bytes": one.bytes,
        "since": _time(one.since),
        "wish": one.wish,
        "problem": one.problem,
    }


def _undecided(said: dict[str, Any]) -> schemas.Undecided | None:
    return {"why": said["why"], "at": said["at"], "choice": said["choice"]} if said else None


@blueprint.get("/admin/orphans")
@needs("settings.manage")
@operation("admin:read", {200: schemas.Orphans})
def orphan_list() -> Answer:
    """What is here and the catalog does not know, and whether somebody has to decide how the appliance goes on."""
    return {"items": [_orphan(one) for one in aside.everything()], "undecided": _undecided(aside.undecided())}


@blueprint.post("/admin/orphans/decide")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, takes=Decision, confirms=True, example={"choice": "aside"})
def decide_orphans() -> Answer:
    """Go on with this catalog: adopt what is certain, or set all of it aside; 409 when there is nothing to decide."""
    aside.decide(actor(), forms.read(Decision).choice)
    return {"state": "decided"}, 202


@blueprint.post("/admin/orphans/<int:number>/adopt")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, takes=Adoption, example={"account": "ada"})
def adopt_orphan(number: int) -> Answer:
    """Have it be what it was, for its owner or somebody else."""
    aside.adopt(actor(), number, forms.read(Adoption).account)
    return {"state": "adopting"}, 202


@blueprint.delete("/admin/orphans/<int:number>")
@needs("settings.manage")
@operation(SCOPE, {202: schemas.State}, confirms=True)
def delete_orphan(number: int) -> Answer:
    """Delete it with everything on it."""
    aside.remove(actor(), number)
    return {"state": "deleting"}, 202
