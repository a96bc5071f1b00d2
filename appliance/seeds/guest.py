"""What a machine made from our seeds is told of its owner.

The other side is playbooks/roles/guest/files/root/usr/lib/dpe.
"""

import json
import re
from collections.abc import Sequence

from appliance.errors import BadInput

_KEY = re.compile(r"(ssh-|ecdsa-|sk-)[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [^\x00-\x1f\x7f]*)?")


def personalise_input(*, user: str, full_name: str, ssh_keys: Sequence[str], owner: str) -> bytes:
    """What makes a machine its owner's, for Provider.wait; it may be repeated: the last one counts.

    `user` is the account in the machine, `owner` the name that the owner has in the appliance.
    Raises BadInput for an SSH key that cannot be one.
    """
    # The account file is made of lines with colons, and the name ends at a comma.
    comment = re.sub(r"[\x00-\x1f\x7f:,]+", " ", full_name).strip() or owner
    lines = [
        f"user {user}",
        f"full_name {comment}",
        f"owner {json.dumps({'name': owner, 'full_name': full_name, 'user': user})}",
    ]
    for key in filter(None, map(str.strip, ssh_keys)):
        if not _KEY.fullmatch(key):
            raise BadInput(f"{key[:40]!r} is not an SSH public key.", "Paste the one line of a .pub file, like: ssh-ed25519 AAAA... name")
        lines.append(f"ssh_key {key}")
    return ("\n".join(lines) + "\n").encode()
