"""`python -m appliance.host.updates.health`: whether the system that was switched to is good. Its unit runs once, at the first start after a switch.

Ends with 0 when it is, and with 1 when it is not, after it wrote down why; then systemd restarts the host, and the boot loader goes back
to the slot before. That holds, too, when this program cannot run at all.
"""

import contextlib
import http.client
import ssl
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from appliance import catalog, durable, run
from appliance.catalog import Engine, database, now, smoke_tests
from appliance.errors import CommandFailed, DpeError, Unavailable
from appliance.host.interface.updates import Switch
from appliance.host.updates import installation, rauc
from appliance.settings import Settings, load

STARTS = 600.0  # seconds for engine and web page to come
PROOF = 1500.0  # seconds for a machine to answer, which may have to boot without hardware virtualisation
PAUSE = 1.0  # seconds between looks


@dataclass(frozen=True)
class Health:
    """The checks, over one appliance that was started at `since`."""

    settings: Settings
    trial: Switch
    since: datetime

    def check(self) -> None:
        """Raises Unavailable with the first thing that is not as it should be."""
        self._until(self._catalog, STARTS)
        self._until(self._page, STARTS)
        self._until(self._engine, STARTS)
        self._proof()

    def _until(self, check: Callable[[], str], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while problem := check():
            if time.monotonic() > deadline:
                raise Unavailable(problem)
            time.sleep(PAUSE)

    def _catalog(self) -> str:
        try:
            catalog.attach(self.settings.catalog)
            found = database.check_catalog_file(self.settings.catalog)
        except DpeError as error:
            return error.message
        finally:
            catalog.close()
        return "" if found == database.versions()[-1] else "The catalog was not brought to this version."

    def _page(self) -> str:
        """Through the front door, as everybody comes; its certificate is the appliance's own."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.settings.listen, self.settings.listen)  # noqa: S104
        trust = ssl.create_default_context()
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, self.settings.https_port, timeout=10, context=trust)
        try:
            connection.request("GET", "/healthz")
            answer = connection.getresponse()
            if answer.status == 200 and answer.read(10) == b"ok\n":
                return ""
            return f"The web page answers {answer.status}."
        except (OSError, http.client.HTTPException) as error:
            return f"The web page does not answer: {error or type(error).__name__}."
        finally:
            connection.close()

    def _engine(self) -> str:
        try:
            row = Engine.get_or_none()
            if row is None or row.seen_at <= self.since:
                return "The engine does not run."
            return "" if row.hypervisor_ok else f"The hypervisor is away: {row.hypervisor_problem}"
        finally:
            catalog.close()

    def _proof(self) -> None:
        """Have the engine make a machine of a class that has a seed, if there is one; it answers, and is gone again."""
        try:
            if not self.trial.makes or smoke_tests.seed() is None:
                return
            asked = str(uuid.uuid4())
            smoke_tests.ask_for_test(asked)
            problem = "No machine was made in time."

            def answered() -> str:
                nonlocal problem
                found = smoke_tests.answer(asked)
                if found is None:
                    return problem
                problem = found
                return ""

            self._until(answered, PROOF)
            if problem:
                raise Unavailable(f"A machine that was made to try did not work: {problem}")
        finally:
            smoke_tests.forget()
            catalog.close()


def judge(settings: Settings, since: datetime) -> bool:
    """Look, and tell the boot loader and everybody else what came of it. Whether what was switched to is good."""
    trial = installation.pending(settings)
    if trial is None:
        return True
    try:
        Health(settings, trial, since).check()
        rauc.mark("good")
        run.run(["grub-editenv", installation.GRUB, "unset", "trial"])
    except DpeError as error:
        durable.write(installation.failed_file(settings), error.message + "\n")
        print(f"Version {trial.version} is not good: {error}", file=sys.stderr)
        with contextlib.suppress(CommandFailed):
            rauc.mark("bad")
        return False
    installation.end_update(settings, trial, installation.WENT_BACK if trial.back else installation.UPDATED)
    print(f"Version {trial.version} is good.")
    return True


def main() -> None:
    since = now()
    try:
        settings = load()
    except DpeError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if judge(settings, since) else 1)


if __name__ == "__main__":
    main()
