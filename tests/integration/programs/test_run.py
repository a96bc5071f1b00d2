"""The one door to subprocesses."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from appliance import run
from appliance.errors import CommandFailed
from tests.waiting import PATIENCE, until


def test_output_comes_back_and_input_goes_in():
    assert run.run(["cat"], input="héllo") == "héllo"


@pytest.mark.badinput
def test_a_failing_command_says_what_it_said():
    with pytest.raises(CommandFailed, match="ended with status 3: it broke") as caught:
        run.run(["sh", "-c", "echo it broke >&2; exit 3"], hint="Mend it.")
    assert (caught.value.status, caught.value.hint) == (3, "Mend it.")


@pytest.mark.badinput
def test_a_missing_program_is_named():
    with pytest.raises(CommandFailed, match="no-such-program is not installed"):
        run.run(["no-such-program"])


@pytest.mark.fresh
def test_programs_are_found_and_speak_one_language_whatever_the_shell_that_started_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    for name in ("LANG", "LC_ALL", "LC_MESSAGES", "LANGUAGE"):
        monkeypatch.setenv(name, "de_DE.UTF-8")
    shown = "import locale, os; locale.setlocale(locale.LC_ALL, ''); print(os.environ['PATH'], locale.getpreferredencoding())"
    path, encoding = run.run([sys.executable, "-c", shown]).split()
    assert path == "/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
    assert encoding.lower() == "utf-8"
    assert "No such file" in run.run(["sh", "-c", "ls /nowhere 2>&1 || true"])
    told = run.run(["env"], env={"PATH": "/bin:/sbin", "ONE": "1"}).splitlines()
    assert "PATH=/bin:/sbin:/usr/local/sbin:/usr/sbin" in told
    assert "ONE=1" in told


def test_a_command_that_hangs_is_ended():
    with pytest.raises(CommandFailed, match="did not end within"):
        run.run(["sleep", "60"], timeout=0.2)


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
def test_a_confined_tree_dies_with_its_starter_even_from_a_session_of_its_own(tmp_path: Path):
    """kill -9 of the starter; the grandchild had called setsid, and would survive without the namespace."""
    mark = tmp_path / "alive"
    inner = f"setsid sh -c 'while :; do date +%s%N > {mark}; sleep 0.05; done' & wait"
    starter = subprocess.Popen(
        [sys.executable, "-c", "import sys; from appliance import run; run.start(run.confined(sys.argv[1:])).wait()", "sh", "-c", inner]
    )
    until(mark.exists)
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + PATIENCE
    while True:  # the kernel needs a moment to empty the namespace
        before = mark.read_text()
        time.sleep(0.3)
        if mark.read_text() == before:
            break
        assert time.monotonic() < deadline, "the tree outlived its starter"


def test_what_is_tied_is_not_begun_when_its_starter_died_before_the_kernel_was_told(tmp_path: Path):
    """Whoever starts it then is not who wrapped it."""
    there, mark = tmp_path / "there", tmp_path / "mark"
    assert subprocess.run(run.tied(["cp", "/dev/null", there]), check=False).returncode == 0
    assert there.exists()
    assert subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *run.tied(["cp", "/dev/null", mark])], check=False).returncode == 1
    assert subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", *run.confined(["cp", "/dev/null", mark])], check=False).returncode == 1
    assert not mark.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="a PID namespace needs root")
@pytest.mark.parametrize("dies", [False, True])
def test_what_is_confined_is_not_begun_when_its_wrapper_died_before_the_kernel_was_told(tmp_path: Path, dies: bool) -> None:
    """An unshare that never tells the kernel, and whose child waits, stands for one that is killed before it has told it."""
    gate, mark, programs = tmp_path / "gate", tmp_path / "mark", tmp_path / "programs"
    os.mkfifo(gate)
    programs.mkdir()
    (programs / "unshare").write_text(
        f"""#!/bin/sh
        while [ "$1" != -- ]; do shift; done
        {shutil.which("unshare")} --pid --fork --mount -- sh -c 'echo >"$0"; read _ <"$0"; shift; exec "$@"' {gate} "$@" &
        wait
        """
    )
    (programs / "unshare").chmod(0o755)
    script = "import sys; from appliance import run; sys.exit(run.start(run.confined(sys.argv[1:])).wait())"
    command = [sys.executable, "-c", script, "cp", "/dev/null", mark]
    told = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    with subprocess.Popen(command, env=told, stdout=subprocess.PIPE) as starter:
        gate.read_text()
        if dies:
            (wrapper,) = psutil.Process(starter.pid).children()
            ended = os.pidfd_open(wrapper.pid)
            starter.kill()
            assert select.select([ended], [], [], 10)[0]
            os.close(ended)
        gate.write_text("\n")
        assert starter.stdout
        starter.stdout.read()  # until the last one that has it ended
    assert mark.exists() is not dies
