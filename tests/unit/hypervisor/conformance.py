"""What every provider must be like, whatever it runs machines with. Each has a class of its own that inherits these tests and brings the fixtures."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import BadInput, Conflict, DpeError, NotFound, Unavailable
from appliance.hypervisor import making
from appliance.hypervisor.provider import MachineFound, MachineSpec, Power, Provider, Unfit, VolumeKind

MakeSpec = Callable[[int], MachineSpec]


def made(provider: Provider, spec: MachineSpec) -> MachineSpec:
    """The machine, running, forked where it has a snapshot."""
    result = making.make(provider, replace(spec, readiness="running"), lambda _text: None)
    assert result.fork_error is None
    return result.spec


def power(provider: Provider, spec: MachineSpec) -> Power | None:
    found = {machine.id: machine for machine in provider.list()}
    return found[spec.id].power if spec.id in found else None


def kept_outside(provider: Provider) -> set[tuple[VolumeKind, str]]:
    """What is kept outside machines."""
    found = provider.volumes()
    assert all(one.bytes > 0 for one in found)
    return {(one.kind, one.id) for one in found}


class Conformance:
    """The fixtures to bring: `provider`; `forkable`, which describes a machine in a slot that has a snapshot; `copy`, a file for one of a data disk."""

    def test_a_machine_is_forked_stopped_saved_and_started_again(self, provider: Provider, forkable: MakeSpec) -> None:
        spec = replace(forkable(11), readiness="paused")
        assert making.make(provider, spec, lambda _text: None).forked
        assert MachineFound(spec.id, spec.name, Power.PAUSED) in provider.list()
        assert spec.id in provider.disks()
        for _ in range(2):
            provider.start(spec)
            provider.wait(spec)
            assert power(provider, spec) is Power.RUNNING
        assert provider.execute(spec.id, ["true"]).status == 0
        assert provider.signs(spec.id).users == 0
        assert provider.memory_given(spec.id) is None, "its spec says that it keeps what it starts with"
        for _ in range(2):
            provider.suspend(spec.id)
            assert power(provider, spec) is Power.PAUSED
        with pytest.raises(Unavailable):
            provider.signs(spec.id)
        provider.start(spec)
        provider.save(spec.id)
        assert power(provider, spec) is Power.SAVED
        provider.start(spec)
        provider.wait(spec)
        for _ in range(2):
            provider.stop(spec.id)
            assert power(provider, spec) is Power.OFF
        assert provider.examine(spec.id).name == spec.name
        for _ in range(2):
            provider.destroy(spec.id)
            assert power(provider, spec) is None
            assert spec.id not in provider.disks()

    def test_a_machine_that_is_not_there(self, provider: Provider, forkable: MakeSpec) -> None:
        spec = forkable(12)
        for verb in (provider.stop, provider.signs):
            with pytest.raises(NotFound):
                verb(spec.id)
        assert (provider.examine(spec.id).name, provider.examine(spec.id).base) == ("", "")
        provider.rest(spec.id, memory=True)
        provider.destroy(spec.id)

    def test_a_clone_has_a_disk_and_does_not_run(self, provider: Provider, forkable: MakeSpec) -> None:
        spec = replace(forkable(13), snapshot=None, readiness="cold")
        for _ in range(2):
            provider.clone(spec)
            assert spec.id in provider.disks()
            assert power(provider, spec) in (None, Power.OFF)
        provider.destroy(spec.id)
        assert spec.id not in provider.disks()

    def test_a_data_disk_is_one_machines_and_outlives_it(self, provider: Provider, forkable: MakeSpec) -> None:
        data = str(uuid.uuid4())
        first, second = (replace(made(provider, forkable(slot)), data=data, data_size=1) for slot in (14, 15))
        with pytest.raises(Unavailable, match="missing"):
            provider.start(first)
        provider.make_data(data, 1)
        provider.make_data(data, 1)
        assert provider.data_size(data) == 1
        assert (VolumeKind.DATA, data) in kept_outside(provider)
        for _ in range(2):
            provider.start(first)
            provider.wait(first)
        with pytest.raises(Conflict):
            provider.start(second)
        with pytest.raises(Conflict):
            provider.remove_data(data)
        provider.destroy(first.id)
        provider.start(second)
        provider.wait(second)
        for _ in range(2):
            provider.detach_data(second)
        provider.destroy(second.id)
        for _ in range(2):
            provider.remove_data(data)
        assert (VolumeKind.DATA, data) not in kept_outside(provider)

    def test_a_snapshot_is_taken_forked_from_and_removed_by_its_name(self, provider: Provider, forkable: MakeSpec) -> None:
        template, name = replace(forkable(19), snapshot=None), f"{forkable(19).seed}/snapshot-990"
        with pytest.raises(Unfit):
            provider.describe_snapshot(name)
        for _ in range(2):
            provider.boot_template(template, name)
        provider.wait(template)
        with pytest.raises(Unfit):
            provider.describe_snapshot(name)  # there is none until it is whole
        provider.take_snapshot(template, name)
        assert power(provider, template) is None
        assert provider.describe_snapshot(name)["memory"] == template.memory
        assert (VolumeKind.SNAPSHOT, name) in kept_outside(provider)
        provider.check_snapshot(template, name)
        fork = replace(forkable(20), snapshot=name)
        provider.fork(fork)
        assert provider.examine(fork.id).base == name
        provider.destroy(fork.id)
        for _ in range(2):
            provider.remove_snapshot(name)
        with pytest.raises(Unfit):
            provider.check_snapshot(template, name)

    def test_a_machine_tells_the_name_of_its_seed_and_what_it_said(self, provider: Provider, forkable: MakeSpec) -> None:
        spec = replace(forkable(13), snapshot=None)
        assert provider.console(spec.id) == ""
        assert made(provider, spec) == spec
        assert provider.examine(spec.id).base == spec.seed
        assert provider.console(spec.id) != ""
        provider.destroy(spec.id)

    @pytest.mark.parametrize("id", ["../x", "a/b", "../a/b", "a/../snapshot-1", "/etc/passwd", "a/1/b"])
    def test_a_name_that_leads_elsewhere_is_refused(self, provider: Provider, forkable: MakeSpec, tmp_path: Path, id: str) -> None:
        for verb in (
            lambda: provider.describe_snapshot(id),
            lambda: provider.remove_snapshot(id),
            lambda: provider.boot_template(forkable(12), id),
            lambda: provider.fork(replace(forkable(12), snapshot=id)),
            lambda: provider.make_data(id, 1),
            lambda: provider.remove_data(id),
            lambda: provider.backup_data(id, tmp_path / "copy"),
            lambda: provider.restore_data(tmp_path / "copy", id),
            lambda: provider.data_size(id),
            lambda: provider.kept_size(id),
            lambda: provider.forget_kept(id),
        ):
            with pytest.raises(BadInput):
                verb()

    def test_a_copy_of_a_data_disk_is_restored(self, provider: Provider, forkable: MakeSpec, copy: Path) -> None:
        data, other = str(uuid.uuid4()), str(uuid.uuid4())
        with pytest.raises(Unavailable):
            provider.backup_data(data, copy)
        provider.make_data(data, 1)
        running = replace(made(provider, forkable(16)), data=data, data_size=1)
        provider.start(running)
        provider.wait(running)
        with pytest.raises(Conflict):
            provider.backup_data(data, copy)
        for _ in range(2):
            provider.backup_data(data, copy, running.id)
        provider.destroy(running.id)
        for _ in range(2):
            provider.restore_data(copy, other)
            assert provider.data_size(other) == 1
        for _ in range(2):
            provider.remove_backup(copy)
        with pytest.raises(DpeError):
            provider.restore_data(copy, other)
        for disk in (data, other):
            provider.remove_data(disk)

    def test_a_kept_disk_is_what_another_machine_begins_with(self, provider: Provider, forkable: MakeSpec) -> None:
        kept = forkable(17).id
        with pytest.raises(NotFound):
            provider.keep(forkable(17))
        spec = made(provider, forkable(17))
        with pytest.raises(Conflict):
            provider.keep(spec)
        provider.stop(spec.id)
        for _ in range(2):
            provider.keep(spec)
        provider.destroy(spec.id)
        assert provider.keep(spec) > 0
        assert provider.kept_size(kept) == spec.disk_size
        assert (VolumeKind.KEPT, kept) in kept_outside(provider)
        again = replace(forkable(18), snapshot=None, kept=kept)
        provider.clone(again)
        for _ in range(2):
            provider.forget_kept(kept)
        provider.clone(again)  # it needs the kept one no more
        assert again.id in provider.disks()
        provider.destroy(again.id)
        with pytest.raises(Unavailable, match="missing"):
            provider.clone(again)
        provider.destroy(again.id)
