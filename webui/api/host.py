"""The server itself, below /api/v1/admin/: backups, updates, and operations, the long work of dpe-host."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from flask import url_for
from pydantic import Field

from appliance.errors import NotFound
from appliance.host.interface import rescue
from appliance.host.interface.backups import AnyTarget, Found
from appliance.host.interface.operations import Operation
from appliance.services import appliance_backups, server, updates
from webui import forms, upload
from webui.api import schemas
from webui.api.mine import _time
from webui.api.operation import Body, blueprint, operation
from webui.guard import actor, needs, settings
from webui.upload import takes_large_file

Answer = Mapping[str, Any] | tuple[Mapping[str, Any], int] | tuple[Mapping[str, Any], int, dict[str, str]]


def _operation(found: Operation) -> schemas.HostOperation:
    return {
        "id": found.id,
        "title": found.title,
        "by": found.by,
        "state": found.state,
        "progress": found.progress,
        "said": found.line,
        "problem": found.error,
        "hint": found.hint,
        "file": found.outcome(rescue.BUNDLE),
        "created_at": found.begun_at,
        "ended_at": found.ended_at or None,
    }


def _begun(id: str) -> Answer:
    return _operation(server.get_operation(settings(), id)), 202, {"Location": url_for("api.host_operation", id=id)}


OPERATION = {202: schemas.HostOperation}


@blueprint.get("/admin/operations")
@needs("settings.manage")
@operation("admin:server", {200: schemas.HostOperations})
def host_operations() -> Answer:
    """The last operations of the server, the newest first."""
    return {"items": [_operation(one) for one in server.recent(settings())]}


@blueprint.get("/admin/operations/<id>")
@needs("settings.manage")
@operation("admin:server", {200: schemas.HostOperation})
def host_operation(id: str) -> Answer:
    """One of them; it goes on while its state is running."""
    return _operation(server.get_operation(settings(), id))


@blueprint.get("/admin/backups")
@needs("settings.manage")
@operation("admin:server", {200: schemas.Backups})
def backup_list() -> Answer:
    """The backups at the target, the newest first. The target is asked, which may take a while."""
    return {
        "items": [
            {
                "id": one.id,
                "at": _time(one.at),
                "bytes": one.bytes,
                "people": one.people,
                "machines": one.machines,
                "disks": one.disks,
                "scenario": one.scenario,
                "version": one.version,
            }
            for one in appliance_backups.everything(settings())
        ]
    }


@blueprint.post("/admin/backups")
@needs("settings.manage")
@operation("admin:server", OPERATION)
def back_up() -> Answer:
    """Back up the appliance now; 409 while another operation runs."""
    return _begun(appliance_backups.run(actor(), settings()))


@blueprint.post("/admin/backups/verify")
@needs("settings.manage")
@operation("admin:server", OPERATION)
def verify_backups() -> Answer:
    """Read all backups again, whether they can be restored."""
    return _begun(appliance_backups.verify(actor(), settings()))


class Restoring(Body):
    """`network`: also the network of the server that the backup is of."""

    network: bool = Field(False, strict=True)


@blueprint.post("/admin/backups/<id>/restore")
@needs("settings.manage")
@operation("admin:host", OPERATION, takes=Restoring, confirms=True, example={"network": False})
def restore_backup(id: str) -> Answer:
    """Put a backup in the place of what is here, after a restart."""
    return _begun(appliance_backups.restore(actor(), settings(), id, network=forms.read(Restoring).network))


@blueprint.post("/admin/backups/<id>/fetch-copies")
@needs("settings.manage")
@operation("admin:host", OPERATION)
def fetch_backup_copies(id: str) -> Answer:
    """Fetch the copies of data disks of a backup, so that they can be restored one by one."""
    return _begun(appliance_backups.fetch_copies(actor(), settings(), id))


class TargetBody(Body):
    """Where backups go. Of S3, the secret * is the one that is stored; of SSH, `host_keys` are those that were looked at.

    `key` is the recovery key of backups that are there already.
    """

    CALLED: ClassVar = {"kind": "target/kind", "s3_secret_key": "target/secret_key"}

    target: AnyTarget
    key: str = Field("", max_length=100)


TARGET = {"target": {"kind": "folder", "path": "/mnt/backup"}}


def _found(looked: Found) -> schemas.BackupTargetFound:
    return {
        "state": looked.state,
        "said": looked.words,
        "backups": looked.backups,
        "fingerprints": looked.fingerprints,
        "host_keys": looked.host_keys,
        "same_disk": looked.same_disk,
    }


@blueprint.get("/admin/backups/target")
@needs("settings.manage")
@operation("admin:host", {200: schemas.BackupTarget})
def backup_target() -> Answer:
    """Where backups go, without what opens it; whether somebody wrote the recovery key down."""
    found = appliance_backups.state(settings())
    target = found.target.model_dump(exclude={"secret_key"}) if found.target else None
    return {"target": target, "noted": found.noted, "problem": found.problem, "same_disk": found.same_disk}


@blueprint.put("/admin/backups/target")
@needs("settings.manage")
@operation("admin:host", {200: schemas.BackupTargetFound}, takes=TargetBody, confirms=True, example=TARGET)
def put_backup_target() -> Answer:
    """Have backups go there from now on, unless the state is confirm: then send it once more with the host_keys, if they are the server's."""
    asked = forms.read(TargetBody)
    return _found(appliance_backups.configure(actor(), settings(), asked.target, asked.key))


@blueprint.post("/admin/backups/target/test")
@needs("settings.manage")
@operation("admin:host", {200: schemas.BackupTargetFound}, takes=TargetBody, example=TARGET)
def test_backup_target() -> Answer:
    """What is at a target; nothing is changed."""
    asked = forms.read(TargetBody)
    return _found(appliance_backups.test(actor(), settings(), asked.target, asked.key))


@blueprint.delete("/admin/backups/target")
@needs("settings.manage")
@operation("admin:host", {204: None}, confirms=True)
def delete_backup_target() -> Answer:
    """Back up no more; what is there stays."""
    appliance_backups.stop(actor(), settings())
    return {}, 204


@blueprint.post("/admin/backups/restore-test")
@needs("settings.manage")
@operation("admin:server", OPERATION)
def test_restore() -> Answer:
    """Restore the newest backup into a scratch folder, to see whether that can be done; nothing of the appliance changes."""
    return _begun(appliance_backups.test_restore(actor(), settings()))


class Install(Body):
    """Which version, and whether it may be an older one than what runs."""

    version: str = Field(min_length=1, max_length=60)
    older: bool = Field(False, strict=True)


class Restart(Body):
    """When: in five minutes (`soon`), or the next `night` at three."""

    when: Literal["soon", "night"] = "soon"


@blueprint.get("/admin/update")
@needs("settings.manage")
@operation("admin:server", {200: schemas.Update})
def update_state() -> Answer:
    """What runs, what waits to be installed, and whether there is a way back; 404 outside of the bootable image."""
    found = updates.state(settings())
    if found is None:
        raise NotFound("This appliance is no bootable image.", "It is updated with git and make run.")
    return {
        "version": found.version,
        "built_at": _time(found.built_at),
        "staged": found.memory.staged.version if found.memory.staged else None,
        "back_to": found.back.version if found.back else None,
        "operation": found.operation.id if found.operation else None,
        "problem": found.problem,
    }


@blueprint.post("/admin/update/fetch")
@needs("settings.manage")
@operation("admin:server", OPERATION)
def fetch_update() -> Answer:
    """Fetch what is at the configured address."""
    return _begun(updates.fetch(actor(), settings()))


@blueprint.post("/admin/update/install")
@needs("settings.manage")
@operation("admin:server", OPERATION, takes=Install, confirms=True, example={"version": "1.2.0"})
def install_update() -> Answer:
    """Write the version that waits to the other slot; it starts with the next restart."""
    asked = forms.read(Install)
    return _begun(updates.install(actor(), settings(), asked.version, older=asked.older))


@blueprint.post("/admin/update/restart")
@needs("settings.manage")
@operation("admin:server", {202: schemas.Restarting}, takes=Restart, confirms=True, example={"when": "night"})
def restart_into_update() -> Answer:
    """Restart into the update that was written, at a time that everybody is told."""
    return {"at": _time(updates.restart(actor(), settings(), when=forms.read(Restart).when, at=""))}, 202


@blueprint.post("/admin/update/back")
@needs("settings.manage")
@operation("admin:host", {202: schemas.Restarting}, takes=Restart, confirms=True, example={"when": "night"})
def restart_into_version_before() -> Answer:
    """Restart into the version that ran before, at a time that everybody is told."""
    return {"at": _time(updates.back(actor(), settings(), when=forms.read(Restart).when, at=""))}, 202


@blueprint.post("/admin/update/stay")
@needs("settings.manage")
@operation("admin:server", {200: schemas.State})
def stay() -> Answer:
    """Do not restart after all."""
    updates.stay(actor(), settings())
    return {"state": "staying"}


@blueprint.put("/admin/update/staged")
@needs("settings.manage")
@takes_large_file
@operation("admin:server", {200: schemas.StagedUpdate}, sends="application/octet-stream")
def stage_update() -> Answer:
    """Send an update (.raucb); it is checked, and waits to be installed."""
    made = updates.take_bundle(actor(), settings(), upload.received(settings(), "file"))
    return {"version": made.version, "built": made.built, "signed_by": made.signed_by, "bytes": made.size}


@blueprint.delete("/admin/update/staged")
@needs("settings.manage")
@operation("admin:server", {204: None})
def discard_update() -> Answer:
    """Throw the update away that waits to be installed."""
    updates.discard(actor(), settings())
    return {}, 204
