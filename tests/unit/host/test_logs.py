"""What the parts said: files of `make run`, and the journal."""

import json

import pytest

from appliance.errors import BadInput, NotFound
from appliance.host.interface.system import LOG_LINES
from appliance.host.rpc.registry import Host
from appliance.host.system import image, logs
from appliance.settings import Settings
from tests.hosted import used

WEB = """\
[2026-11-21 10:00:00 +0000] [7] [INFO] Starting gunicorn
[2026-11-21 10:00:01 +0000] [9] [ERROR] Exception in worker process
Traceback (most recent call last):
  File "webui/app.py", line 1
ImportError: no module named nothing
WARNING webui: a template is slow
"""


@pytest.fixture
def kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(image, "boot_image", lambda: None)
    (settings.logs / "web.log").write_text(WEB)
    (settings.logs / "web.log.1").write_text("INFO web: from before\n")
    (settings.logs / "nginx.log").write_text(
        "2026/11/21 10:00:00 [warn] 1#1: low\n2026/11/21 10:00:00 [crit] 1#1: bad\n10.0.0.1 GET /error 200\n"
    )
    return settings


def texts(settings: Settings, source: str, **wanted: object) -> list[str]:
    return [line.text for line in logs.lines(settings, source, **wanted)]  # type: ignore[arg-type]


def test_only_what_has_a_log_is_offered(kept: Settings) -> None:
    assert list(logs.sources(kept)) == ["web", "nginx"]
    with pytest.raises(NotFound, match="There are: web, nginx"):
        logs.lines(kept, "engine")
    with pytest.raises(NotFound):
        logs.lines(kept, "../web")


def test_the_last_lines_come_with_those_of_the_file_before(kept: Settings) -> None:
    assert texts(kept, "web")[0] == "INFO web: from before"
    assert texts(kept, "web", most=1) == ["WARNING webui: a template is slow"]


def test_lines_are_found_by_level_and_by_text(kept: Settings) -> None:
    assert texts(kept, "web", level="error") == WEB.splitlines()[1:5]  # what is indented belongs to the line before
    assert texts(kept, "web", level="warning")[-1] == "WARNING webui: a template is slow"
    assert texts(kept, "web", text="IMPORTerror") == ["ImportError: no module named nothing"]
    assert [line.level for line in logs.lines(kept, "nginx")] == ["warning", "error", "info"]
    assert texts(kept, "web", text="(") == ["Traceback (most recent call last):"]  # no pattern


def test_bytes_that_are_no_text_and_endless_lines_are_no_trouble(kept: Settings) -> None:
    (kept.logs / "web.log").write_bytes(b"\xff\xfe broken\n" + b"x" * 100_000 + b"\n")
    broken, endless = texts(kept, "web")[1:]
    assert broken.endswith("broken")
    assert len(endless) == logs.LONGEST


JOURNAL = [
    {"__REALTIME_TIMESTAMP": "1795255200000000", "PRIORITY": "6", "SYSLOG_IDENTIFIER": "python", "MESSAGE": "ERROR engine: no room"},
    {"__REALTIME_TIMESTAMP": "1795255201000000", "PRIORITY": "3", "SYSLOG_IDENTIFIER": "systemd", "MESSAGE": "dpe-web.service: Failed"},
    {"__REALTIME_TIMESTAMP": "1795255202000000", "PRIORITY": "7", "MESSAGE": [72, 105, 255]},
    {"__REALTIME_TIMESTAMP": "1795255203000000", "MESSAGE": None},
]


def test_the_journal_is_read() -> None:
    lines = list(logs.read_journal([*map(json.dumps, JOURNAL), "no json"]))
    assert [(line.level, line.text) for line in lines] == [
        ("error", "ERROR engine: no room"),
        ("error", "dpe-web.service: Failed"),
        ("debug", "Hi\ufffd"),
        ("info", ""),
    ]
    assert lines[0].at == "2026-11-21T10:00:00+00:00"


def test_in_the_image_the_journal_is_asked(kept: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(image, "boot_image", lambda: object())
    monkeypatch.setattr(logs, "run", lambda command, **_: asked.append(command) or "\n".join(map(json.dumps, JOURNAL)))
    assert len(logs.lines(kept, "web", level="error")) == 2
    assert logs.lines(kept, "kernel")
    assert "--unit=dpe-web.service" in asked[0]
    assert "--dmesg" in asked[1]


@pytest.mark.parametrize(
    "bad", [{"source": "web", "most": 0}, {"source": "web", "most": 10**9}, {"source": "web", "level": "loud"}, {"source": 7}, {}]
)
def test_a_question_that_makes_no_sense_is_refused(kept: Settings, bad: dict[str, object]) -> None:
    with pytest.raises(BadInput):
        LOG_LINES.read(bad)


def test_the_verb_answers_plain_values(kept: Settings) -> None:
    assert used("logs.lines", Host(kept), source="web", most=1) == [
        {"at": "", "source": "web", "level": "warning", "text": "WARNING webui: a template is slow"}
    ]
