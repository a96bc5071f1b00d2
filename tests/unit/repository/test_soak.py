"""`make soak` goes on where it was stopped, says what did not run, and names the seed that repeats a failure."""

import json
from pathlib import Path

import pytest

from tests import soak


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the items that ran, in order; `kills` fails, and nothing is run for real."""
    names: list[str] = []

    def run(item: soak.Item, seed: int) -> soak.Result:
        names.append(item.name)
        return soak.Result("failed" if item.name == "kills" else "passed", 1.5, seed)

    monkeypatch.setattr(soak, "FOLDER", tmp_path)
    monkeypatch.setattr(soak, "commit", lambda: "abc")
    monkeypatch.setattr(soak, "run", run)
    return names


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["soak", *words])
    return soak.main()


def test_what_passed_is_not_run_again_for_the_same_commit(ran: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert asked(monkeypatch, "--only", "kills,storm") == 1
    assert asked(monkeypatch, "--only", "kills,storm") == 1
    assert ran == ["kills", "storm", "kills"]
    assert asked(monkeypatch, "--only", "storm", "--again") == 0
    monkeypatch.setattr(soak, "commit", lambda: "def")
    assert asked(monkeypatch, "--only", "storm") == 0
    assert ran == ["kills", "storm", "kills", "storm", "storm"]


def test_one_that_is_stopped_says_what_did_not_run(
    ran: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = soak.run

    def stopped(item: soak.Item, seed: int) -> soak.Result:
        if item.name == "storm":
            raise KeyboardInterrupt
        return before(item, seed)

    monkeypatch.setattr(soak, "run", stopped)
    monkeypatch.setenv("DPE_TEST_SEED", "77")
    assert asked(monkeypatch) == 1
    said = capsys.readouterr().out
    assert "goes on from here" in said
    table = {
        line.split()[0]: line.split()[1:] for line in said.splitlines() if line.startswith(("simulation ", "kills ", "storm ", "forks "))
    }
    assert table["simulation"][-3:] == ["passed", "1.5", "77"]
    assert table["kills"][-3:] == ["failed", "1.5", "77"]
    assert table["forks"][:2] == ["not", "run"]
    assert set(json.loads((tmp_path / "report.json").read_text())["items"]) == {"simulation", "kills"}


def test_every_item_is_there() -> None:
    for item in soak.ITEMS:
        for word in item.chosen.partition(" -")[0].split():
            file, _, name = word.partition("::")
            assert f"def {name}" in Path(file).read_text(), item


def test_an_unknown_item_is_named(ran: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        asked(monkeypatch, "--only", "strom")
    assert "there is no strom; there are simulation, kills, storm" in capsys.readouterr().err
    assert ran == []
