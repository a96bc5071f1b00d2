"""What the unit tier knows, for tests of the real programs: each starts one that this host has, and none of them boots anything."""

from tests.unit.conftest import admin, alice, bob, follow, opened, ready, settings, small, walk
from tests.unit.hypervisor.conftest import golden
from tests.unit.hypervisor.test_snapshot import folder
from tests.unit.lifecycle.test_guest_activities import here, step

__all__ = ["admin", "alice", "bob", "folder", "follow", "golden", "here", "opened", "ready", "settings", "small", "step", "walk"]
