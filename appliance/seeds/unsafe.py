"""Values for Ansible that it never takes for templates, whatever stands in them: data, as it calls that, marked `!unsafe`."""

import io
from typing import Any

import yaml


def dump(value: Any) -> str:
    """The value as YAML for any file that Ansible reads: variables, an inventory, a play. No text in it, and no name, is templated.

    The mark on the outermost value counts for all that it holds. It is not JSON, because in that Ansible gives names such as `__ansible_vault` a meaning.
    """
    out = io.StringIO()
    dumper = yaml.SafeDumper(out, sort_keys=False)
    node = dumper.represent_data(value)
    node.tag = "!unsafe"
    dumper.open()
    dumper.serialize(node)
    dumper.close()
    return out.getvalue()
