"""The rescue page: it comes when the others do not, and lets in whom it should."""

import sys

from appliance.run import run
from appliance.settings import REPOSITORY


def test_it_needs_nothing_of_what_it_comes_in_place_of() -> None:
    loaded = run([sys.executable, "-c", "import sys, webui.rescue.__main__; print(*sys.modules)"], cwd=REPOSITORY).split()
    ours = {name for name in loaded if name.startswith("webui")}
    shared = {"webui.answers", "webui.forms", "webui.language", "webui.schema_form", "webui.template_texts"}
    assert ours == {"webui", *shared, *(name for name in ours if name.startswith("webui.rescue"))}
    forbidden = (
        "appliance.services",
        "appliance.engine",
        "appliance.lifecycle",
        "appliance.hypervisor",
        "appliance.workflow",
        "libvirt",
        "ansible_runner",
    )
    assert [name for name in loaded if name.startswith(forbidden)] == []
