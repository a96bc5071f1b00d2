"""The only door to a subprocess.

Two ways to run a command: `run()` for short ones, and `confined()` for long trees of processes
(playbooks, bootstraps), which live in a PID namespace that the kernel empties when the caller dies:
a killed engine leaves no worker behind that could interfere with the next one.
"""

import logging
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from appliance.errors import CommandFailed

log = logging.getLogger(__name__)

SYSTEM = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # where programs lie that only root uses; not every root has them in its PATH

Argument = str | os.PathLike[str]
Process = subprocess.Popen[bytes]


def _argv(command: Sequence[Argument]) -> list[str]:
    return [os.fspath(part) for part in command]


def environ(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a program's environment is: ours and `env`, every folder of programs, and a locale that is there on any system.

    The locale of who started us may be one that was never made, at which Ansible ends, or one whose language nothing here can read.
    """
    given = {**os.environ, **(env or {})}
    folders = given.get("PATH", os.defpath).split(os.pathsep)
    path = os.pathsep.join([*folders, *(folder for folder in SYSTEM if folder not in folders)])
    return {**given, "PATH": path, "LC_ALL": "C.UTF-8", "LANGUAGE": ""}


def run(
    command: Sequence[Argument],
    *,
    input: str | bytes | None = None,
    timeout: float | None = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
) -> str:
    """Run `command` to its end and return its standard output.

    `timeout` is in seconds; `env` is added to the environment. Raises CommandFailed when the status
    is not zero, the program is missing or the time is over. Secrets go through `input`, never
    through the command, which is logged.
    """
    argv = _argv(command)
    log.debug("run %s", shlex.join(argv))
    try:
        done = subprocess.run(
            argv,
            input=input.encode() if isinstance(input, str) else input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            timeout=timeout,
            env=environ(env),
            cwd=cwd,
        )
    except FileNotFoundError as error:
        raise CommandFailed(f"The program {argv[0]} is not installed.", hint or "Run `make setup`.", status=127, output="") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{argv[0]} did not end within {timeout} s.", hint, status=124, output=_tail(error.stdout)) from error
    if done.returncode:
        output = _tail(done.stderr or done.stdout)
        raise CommandFailed(
            f"{shlex.join(argv)} ended with status {done.returncode}: {output}", hint, status=done.returncode, output=output
        )
    return done.stdout.decode(errors="replace")


def _tail(output: bytes | str | None) -> str:
    if isinstance(output, bytes):
        output = output.decode(errors="replace")
    return (output or "")[-2000:].strip()


def start(
    command: Sequence[Argument],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = False,
) -> Process:
    """Start `command` and return its process; the caller waits for it."""
    argv = _argv(command)
    log.debug("start %s", shlex.join(argv))
    return subprocess.Popen(
        argv,
        env=environ(env),
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
        start_new_session=new_session,
    )


def interactive(command: Sequence[Argument]) -> int:
    """Run `command` on this process's own terminal until it ends, for the person who sits there; returns its status."""
    return subprocess.call(_argv(command))


def tied(command: Sequence[Argument]) -> list[str]:
    """`command` wrapped so that it dies with the calling thread's process, which has to start it itself.

    The kernel is asked to kill it when its parent dies; who died before that was asked is not its parent any more, and it is not begun at all.
    """
    ours = '[ "$PPID" = "$0" ] && exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", ours, str(os.getpid()), *_argv(command)]


def confined(command: Sequence[Argument]) -> list[str]:
    """`command` wrapped so that it and all it ever starts die with the calling thread's process, which has to start it itself.

    The wrapper is tied to us; unshare ties the namespace's first process to the wrapper; and
    the kernel kills a PID namespace with its first process. A nested `setsid` does not escape it.
    """
    # When unshare dies after it forked and before its child asked the kernel to die with it, nobody tells that child, to which
    # it has no number either: so the child looks for it, in the host's /proc and by its program, which one that ended has not.
    first = '[ -e "/proc/$0/exe" ] && mount -t proc -o nosuid,nodev,noexec proc /proc && exec "$@"'
    wrapper = 'exec unshare --pid --fork --kill-child=KILL --mount -- sh -c "$0" "$$" "$@"'
    return tied(["sh", "-c", wrapper, first, *command])
