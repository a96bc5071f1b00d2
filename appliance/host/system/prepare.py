"""`python -m appliance.host.system.prepare`: what must be so before any of the appliance's processes starts. systemd runs it once, at boot."""

import sys

from appliance import catalog, layout
from appliance.errors import DpeError
from appliance.host.backup import restore
from appliance.host.disks import ballast
from appliance.host.updates import installation
from appliance.settings import load


def main() -> None:
    """Directories, then the catalog in the form that this version reads. Ends with 1, saying why, when that cannot be."""
    try:
        settings = load()
        ballast.give_for_start(settings)
        layout.prepare(settings)
        if restore.finish(settings):
            settings = load()
        installation.settle(settings)
        catalog.open(settings.catalog)
    except DpeError as error:
        print(f"The appliance cannot start: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
