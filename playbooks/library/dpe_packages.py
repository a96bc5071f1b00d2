#!/usr/bin/python
"""Ansible module: takes the place of apt in a seed's tree, where there is no network. It needs nothing but dpkg."""

DOCUMENTATION = """
---
module: dpe_packages
short_description: See to it that packages are in a seed's tree, or are not
description:
  - What is installed is well; what is not cannot be fetched, and the task says where it belongs.
  - Packages are removed, and packages in files installed, as apt does it. Sources and caches are left as they are.
options:
  name:
    description: Packages, as apt takes them.
    type: list
    elements: str
    aliases: [package, pkg]
  state:
    description: As apt takes it.
    type: str
    default: present
    choices: [present, installed, latest, fixed, absent, removed, build-dep]
  deb:
    description: A file in the tree that holds a package.
    type: str
  purge:
    description: Remove configuration, too.
    type: bool
    default: false
"""

EXAMPLES = """
- name: Need git
  dpe_packages: { name: [git] }
"""

RETURN = """
missing:
  description: What the class's packages must have.
  returned: when something is
  type: list
  elements: str
"""

import fnmatch  # noqa: E402

from ansible.module_utils.basic import AnsibleModule  # noqa: E402

IGNORED = (
    *("update_cache", "cache_valid_time", "default_release", "install_recommends", "force", "allow_unauthenticated", "autoremove"),
    *("allow_downgrade", "allow_change_held_packages", "upgrade", "dpkg_options", "autoclean", "policy_rc_d", "only_upgrade"),
    *("fail_on_autoremove", "force_apt_get", "clean", "lock_timeout", "auto_install_module_deps", "update_cache_retries"),
    "update_cache_retry_max_delay",
)
ALIASES = {"update_cache": ["update-cache"], "default_release": ["default-release"], "install_recommends": ["install-recommends"]}


def installed(module):
    """What is installed, and what that provides."""
    status, listed, error = module.run_command(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Provides}\n"])
    if status:
        module.fail_json(msg=error)
    found = set()
    for line in listed.splitlines():
        state, package, provides = line.split("\t")
        if state.startswith("ii") or state.startswith("hi"):
            found.update([package, *(name.split()[0] for name in provides.split(",") if name.strip())])
    return found


def plain(name):
    """The package's name, without version, architecture or release."""
    for mark in ("=", "/", ":", ">", "<", "!"):
        name = name.partition(mark)[0]
    return name.strip()


def main():
    spec = {
        "name": {"type": "list", "elements": "str", "aliases": ["package", "pkg"], "default": []},
        "state": {
            "default": "present",
            "choices": ["present", "installed", "latest", "fixed", "absent", "removed", "build-dep"],
        },
        "deb": {"type": "str"},
        "purge": {"type": "bool", "default": False},
        **{name: {"type": "raw", "aliases": ALIASES.get(name, [])} for name in IGNORED},
    }
    module = AnsibleModule(spec, supports_check_mode=False)
    there = installed(module)
    names = [plain(name) for name in module.params["name"] if name.strip()]
    command = None
    if module.params["deb"]:
        command = ["dpkg", "--install", module.params["deb"]]
    elif module.params["state"] in ("absent", "removed"):
        if gone := [name for name in names if fnmatch.filter(there, name)]:
            command = ["apt-get", "--yes", "purge" if module.params["purge"] else "remove", *gone]
    elif missing := sorted({name for name in names if not fnmatch.filter(there, name)}):
        several = len(missing) > 1
        module.fail_json(
            msg=f"{', '.join(missing)} {'are' if several else 'is'} not installed, and there is no network inside the seed: write"
            f" {'them' if several else 'it'} into `packages` of the class.",
            missing=missing,
        )
    if command is None:
        module.exit_json(changed=False)
    status, output, error = module.run_command(command)
    if status:
        module.fail_json(msg=f"{command[0]} ended with status {status}", stdout=output, stderr=error)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
