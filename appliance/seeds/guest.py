"""What is spoken with a machine made from our seeds: the commands in it, and what they read.

The other side is playbooks/roles/guest/files/root/usr/lib/dpe.
"""

import json
import re
from collections.abc import Sequence
from datetime import datetime

from appliance.errors import BadInput

GUEST_PERSONALISE = ("/usr/lib/dpe/personalise",)
_HOSTNAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?")


def personalise_input(*, hostname: str, user: str, full_name: str, ssh_keys: Sequence[str], owner: str, now: datetime) -> bytes:
    """Standard input for GUEST_PERSONALISE, which may be repeated: the last one counts.

    `user` is the account in the machine, `owner` the name that the owner has in the appliance.
    Raises BadInput for a host name or an SSH key that cannot be one.
    """
    if not _HOSTNAME.fullmatch(hostname):
        raise BadInput(f"{hostname!r} cannot be a host name.", "Use small letters, digits and hyphens, 63 at most.")
    # The account file is made of lines with colons, and the name ends at a comma.
    comment = re.sub(r"[\x00-\x1f\x7f:,]+", " ", full_name).strip() or owner
    lines = [
        f"hostname {hostname}",
        f"user {user}",
        f"full_name {comment}",
        f"time {now.timestamp():.0f}",
        f"owner {json.dumps({'name': owner, 'full_name': full_name, 'user': user})}",
    ]
    for key in filter(None, map(str.strip, ssh_keys)):
        if not _KEY.fullmatch(key):
            raise BadInput(f"{key[:40]!r} is not an SSH public key.", "Paste the one line of a .pub file, like: ssh-ed25519 AAAA... name")
        lines.append(f"ssh_key {key}")
    return ("\n".join(lines) + "\n").encode()
