"""What a local account may be called."""

import re

RESERVED = frozenset({"engine", "directory", "dpe-host", "set-up"})  # under which the appliance itself stands in the record of events
ACCOUNT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")  # of the whole name
