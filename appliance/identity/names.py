"""What a local account may be called."""

import re

ACCOUNT = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,31}")  # of the whole name
