"""What is done in one place of the code, because it was wrong in several: a second one is found here."""

import re

import pytest

from appliance.settings import REPOSITORY

# What cannot be written elsewhere than in these files, and what to use instead.
ONCE = {
    r'"lsblk"': (
        {"appliance/host/disks/block_devices.py", "appliance/host/system/support_bundle.py"},  # the bundle shows what it says as it is
        "host.block.devices() reads what lsblk says",
    ),
    r"(?:2 ?\*\* ?|1 << )min\(": ({"appliance/backoff.py"}, "backoff.doubled() is how long to wait"),
    r"HTTPS(?:Connection|Handler)\b|\burlopen\b|^(?:import|from) (?:requests|httpx|urllib3)\b|create_default_context\(cadata": (
        {
            "appliance/connect.py",
            "appliance/host/updates/health.py",  # which asks the appliance's own page, whatever its certificate
            "appliance/client/dpe/client.py",  # which is on other computers, and has nothing of the appliance's
        },
        "dial.exchange() asks a web server of others",
    ),
    r"request\.(?:form|files|values)\b": (
        {
            "webui/forms.py",
            "webui/saved_form.py",  # whatever the form has, it goes along with signing in, and with the question who it is
            "webui/upload.py",  # files of hundreds of MB
        },
        "forms.read() is what a request sent",
    ),
}


@pytest.mark.parametrize("pattern", ONCE)
def test_it_is_done_in_one_place(pattern: str) -> None:
    places, instead = ONCE[pattern]
    files = {
        str(file.relative_to(REPOSITORY))
        for folder in ("appliance", "webui")
        for file in (REPOSITORY / folder).rglob("*.py")
        if re.search(pattern, file.read_text(), re.MULTILINE)
    }
    assert files == places, instead
