"""Which mirror a seed comes from."""

from pathlib import Path

import pytest

from appliance.errors import BadInput
from appliance.packages.sources import Mirror, mirror


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {
                "sources.list": "# deb http://old/debian trixie main\ndeb [signed-by=/k] http://near/debian/ bookworm main contrib\ndeb http://near/sec bookworm-security main\n"
            },
            Mirror("http://near/debian", "http://near/sec"),
        ),
        (
            {
                "sources.list.d/debian.sources": "# c\nTypes: deb deb-src\nURIs: https://a/debian\nSuites: trixie trixie-updates\nComponents: main\n\nTypes: deb\nURIs: https://a/s\nSuites: trixie-security\nComponents: main\n"
            },
            Mirror("https://a/debian", "https://a/s"),
        ),
        ({"sources.list": "deb http://near/debian trixie main\n"}, Mirror("http://near/debian", "http://near/debian-security")),
    ],
)
def test_the_mirror_of_the_host_is_used(tmp_path: Path, files: dict[str, str], expected: Mirror) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert mirror("", tmp_path) == expected


@pytest.mark.badinput
@pytest.mark.parametrize(
    "files",
    [
        {},
        {
            "sources.list.d/off.sources": "Types: deb\nEnabled: no\nURIs: https://a/debian\nSuites: trixie\nComponents: main\n",
            "sources.list.d/other.list": "deb https://vendor/apt stable main\n",
        },
    ],
)
def test_a_host_without_a_debian_mirror_is_asked_for_one(tmp_path: Path, files: dict[str, str]) -> None:
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match="Name one with the setting debian_mirror"):
        mirror("", tmp_path)


def test_a_configured_mirror_comes_first_and_has_security_beside_it(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text("deb http://near/debian trixie main\n")
    assert mirror("http://mine/debian/", tmp_path).lines("trixie") == [
        "deb http://mine/debian trixie main",
        "deb http://mine/debian trixie-updates main",
        "deb http://mine/debian-security trixie-security main",
    ]
    assert mirror("http://mine/debian/", tmp_path).lines("trixie", "main non-free-firmware")[0].endswith("trixie main non-free-firmware")


@pytest.mark.fresh
@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (  # as Debian's own images for clouds have it
            {
                "sources.list.d/debian.sources": "Types: deb\nURIs: mirror+file:{apt}/mirrors/debian.list\nSuites: trixie trixie-updates\nComponents: main\n\n"
                "Types: deb\nURIs: mirror+file://{apt}/mirrors/security.list\nSuites: trixie-security\nComponents: main\n",
                "mirrors/debian.list": "# ours\nfile:/srv/debian\nhttps://near/debian/\tpriority:1\nhttp://far/debian\n",
                "mirrors/security.list": "https://near/debian-security\n",
            },
            Mirror("https://near/debian", "https://near/debian-security"),
        ),
        (
            {"sources.list": "deb http://deb.debian.org/debian stable main\ndeb http://deb.debian.org/sec stable-security main\n"},
            Mirror("http://deb.debian.org/debian", "http://deb.debian.org/sec"),
        ),
        (
            {
                "sources.list": "deb http://vendor/debian stable main\ndeb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://near/d oldstable main\n"
            },
            Mirror("http://near/d", "http://near/d/debian-security"),
        ),
        (
            {
                "sources.list": "deb http://vendor/debian stable main\n",
                "sources.list.d/debian.sources": "Types: deb\nURIs: http://near/debian\nSuites: oldstable oldstable-updates\nComponents: main\n",
            },
            Mirror("http://near/debian", "http://near/debian-security"),
        ),
    ],
    ids=["mirror+file", "by role at Debian's own", "by role with Debian's key", "by role with updates"],
)
def test_lists_of_mirrors_and_suites_by_role_are_understood(tmp_path: Path, files: dict[str, str], expected: Mirror) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text.replace("{apt}", str(tmp_path)))
    assert mirror("", tmp_path) == expected
