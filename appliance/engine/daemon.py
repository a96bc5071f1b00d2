"""`dpe-engine`: start-up, signals, and the end."""

import argparse
import logging
import os
import signal
import sys
from typing import IO

from appliance import catalog, layout, packages, tracing
from appliance.engine import scenario
from appliance.engine.engine import Engine
from appliance.engine.parking import park
from appliance.errors import Conflict, DpeError
from appliance.hypervisor.providers import open_provider
from appliance.identity import secrets
from appliance.lifecycle import seed_builds
from appliance.services import scenarios, setup
from appliance.settings import Settings
from appliance.settings import load as load_settings
from appliance.workflow.master import master as load_master

log = logging.getLogger("dpe.engine")


def lock(settings: Settings) -> IO[str]:
    """Hold the state directory for this engine alone, as long as the file stays open. Raises Conflict."""
    return layout.hold(
        settings.run / "engine.lock",
        lambda other: Conflict(
            f"Another engine (process {other}) works on {settings.state}.",
            "Stop it first, or give this one a state directory of its own with DPE_STATE.",
        ),
    )


def main() -> None:
    """`dpe-engine`: run in the foreground until SIGTERM or SIGINT; `--park` saves running machines and ends."""
    parser = argparse.ArgumentParser(prog="dpe-engine", description=main.__doc__)
    parser.add_argument("--park", action="store_true", help="save all running machines to disk and end")
    arguments = parser.parse_args()
    tracing.log_to_stderr()
    try:
        settings = load_settings()
        layout.prepare(settings)
        held = lock(settings)
        if arguments.park:
            catalog.open(settings.catalog)
            park(settings, open_provider(settings))
            return
        load_master()
        catalog.open(settings.catalog)
        packages.open(settings.packages)
        secrets.open(settings.web_secret)
        scenarios.follow_folder(settings)
        if (loaded := scenario.adopt(settings)) is not None:
            seed_builds.queue_shipped(loaded, settings)
            seed_builds.offer_shipped(loaded, settings)
        setup.ensure_code(settings)
        engine = Engine(settings, open_provider(settings))
    except DpeError as error:
        print(f"dpe-engine: {error}", file=sys.stderr)
        sys.exit(1)
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: engine.stop())
    log.info("the engine works on %s", settings.state)
    engine.run()
    held.close()
    # Threads may be in the middle of a boot or a build; they are made to be cut off, so nobody waits for them.
    logging.shutdown()
    os._exit(0)
