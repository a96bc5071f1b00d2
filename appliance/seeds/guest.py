"""What a machine made from our seeds is told of its owner.

The other side is playbooks/roles/guest/files/root/usr/lib/dpe.
"""

import json
import re
from collections.abc import Sequence


def personalise_input(*, user: str, full_name: str, ssh_keys: Sequence[str], owner: str) -> bytes:
    """What makes a machine its owner's, for Provider.wait; it may be repeated: the last one counts.

    `user` is the account in the machine, `owner` the name that the owner has in the appliance.
    The keys are those that people.ssh_keys found usable.
    """
    # The account file is made of lines with colons, and the name ends at a comma.
    comment = _plain(full_name) or _plain(owner)
    lines = [
        f"user {user}",
        f"full_name {comment}",
        f"owner {json.dumps({'name': owner, 'full_name': full_name, 'user': user})}",
    ]
    lines += [f"ssh_key {key}" for key in ssh_keys]
    return ("\n".join(lines) + "\n").encode()


def _plain(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f-\x9f:,]+", " ", text).strip()
