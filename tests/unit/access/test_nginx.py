import os
import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.access import nginx
from appliance.errors import BadInput
from appliance.settings import REPOSITORY, Settings


@pytest.mark.parametrize(
    ("directive", "text"),
    [
        (("listen", 8443), "listen 8443;\n"),
        (("a", "with space", ""), 'a "with space" "";\n'),
        (("a", 'quote"d', "semi;colon", "back\\slash"), 'a "quote\\"d" "semi;colon" "back\\\\slash";\n'),
        (("server", [("listen", 1)]), "server {\n    listen 1;\n}\n"),
        (("if", "($x)", [("return", 403)]), "if ($x) {\n    return 403;\n}\n"),
    ],
)
def test_words_are_quoted_where_they_must_be(directive: nginx.Directive, text: str) -> None:
    assert nginx.render([directive]) == text


@pytest.mark.badinput
@pytest.mark.parametrize(("name", "value"), [("state", Path("/srv/$host")), ("state", Path("/srv/a;b")), ("listen", "0.0.0.0;")])
def test_a_setting_that_nginx_cannot_have_is_refused(settings: Settings, name: str, value: object) -> None:
    with pytest.raises(BadInput, match=f"The setting {name}"):
        nginx.configuration(replace(settings, **{name: value}), Path("/house"), Path("/c"), Path("/k"), (1, 22, 1))


def test_it_listens_as_the_version_wants(settings: Settings) -> None:
    old, new = (nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), version) for version in ((1, 22, 1), (1, 26, 3)))
    assert "listen 0.0.0.0:8443 ssl http2;" in old
    assert "http2 on" not in old
    assert "listen 0.0.0.0:8443 ssl;" in new
    assert new.count("http2 on;") == 2
    assert "listen 0.0.0.0:9000-9049 ssl" in old
    assert "listen 0.0.0.0:9000-9049 ssl" in new
    assert ("listen 0.0.0.0:9050-9199 ssl http2;" in old, "listen 0.0.0.0:9050-9199 ssl;" in new) == (True, True), (
        "further pages of machines"
    )


def test_a_file_of_any_size_passes_to_the_page_of_updates_alone(settings: Settings) -> None:
    text = nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))
    [upload] = re.findall(r"location = /admin/server/updates/upload \{.*?\n        \}\n", text, re.DOTALL)
    assert "client_max_body_size 0;" in upload
    assert "proxy_request_buffering off;" in upload
    assert "if ($foreign)" in upload
    page, applications = text.split("server {")[2:] if text.count("server {") > 2 else text.split("server {")[1:]
    assert page.count("client_max_body_size 0;") == 1
    assert "client_max_body_size 32m;" in page
    assert applications.count("client_max_body_size 0;") == 1


def test_under_systemd_what_it_served_goes_to_the_journal(settings: Settings) -> None:
    """There /dev/stderr is a socket, which cannot be opened by its name: nginx would not start."""
    ours = os.dup(2)
    with socket.socket(socket.AF_UNIX) as journal:
        os.dup2(journal.fileno(), 2)
        try:
            text = nginx.configuration(settings, Path("/house"), Path("/c"), Path("/k"), (1, 26, 3))
        finally:
            os.dup2(ours, 2)
            os.close(ours)
    assert re.search(r"access_log \S*syslog:server=unix:/run/systemd/journal/dev-log", text)
    assert "/dev/stderr" not in text


@pytest.mark.cases
def test_the_timer_of_the_image_reloads_for_a_change_alone() -> None:
    unit = (REPOSITORY / "image-build/files/usr/lib/systemd/system/dpe-certificate.service").read_text()
    condition, reload = re.findall(r"^(ExecCondition|ExecStart)=(.+)$", unit, re.MULTILINE)
    assert condition == ("ExecCondition", "/usr/lib/dpe/.venv/bin/python -m appliance.access.nginx --changed")
    assert reload == ("ExecStart", "/usr/bin/systemctl try-reload-or-restart dpe-nginx.service")
