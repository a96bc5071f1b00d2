"""What a failed build says to the person who has to mend it."""

import re

from appliance.errors import BadInput, DpeError, Unavailable
from appliance.scenario.load import RESERVED_ROLES

DISK_FULL = "No space left on device"
_NO_PACKAGE = re.compile(r"Unable to locate package (\S+)|Package '?([^'\s]+)'? has no installation candidate")
_NO_MIRROR = re.compile(
    r"Could not resolve|Failed to fetch|Unable to connect|Could not connect|Temporary failure resolving|does not have a Release file"
)

# What a role meets that was written for a machine which runs, and what to do about it.
_OF_ROLES = (
    (
        re.compile(r"there is no network inside the seed"),
        "Correct `packages` of the class {class_name} in scenario.yml and build again.",
    ),
    (
        re.compile(
            r"Temporary failure (in name )?resol|Could not resolve|Name or service not known|Network is unreachable|Failed to fetch"
            r"|Unable to locate package|Failed to update apt cache"
        ),
        "There is no network inside a seed: packages belong in `packages` of the class {class_name}, Python's are fetched by dpe_wheels,"
        " and other files lie in `files` of the role.",
    ),
    (
        re.compile(r"""object of type 'dict' has no attribute|'ansible_\w+' is undefined"""),
        "If it is a fact: those of a machine's hardware and network are not known while a seed is built; os_family, distribution,"
        " distribution_release, distribution_version, distribution_major_version, architecture, pkg_mgr, service_mgr and python_version are.",
    ),
    (
        re.compile(r"couldn't resolve module/action"),
        "Only ansible.builtin is there: write the task with its modules, or put the module into `library` of the role.",
    ),
)


def explain(class_name: str, task: str, message: str, *, role: str = "", log: str, full: str) -> DpeError:
    """The error for a build that failed in `task` with `message`; `full` is what to say when the disk was full.

    `role` is the scenario's role that the task belongs to: what it says is about itself, not about the appliance's packages or mirror.
    """
    if DISK_FULL in message:
        return Unavailable(
            f"The disk was full in the middle of building the seed of {class_name}. {full}", "Make room there and build again."
        )
    if role and role not in RESERVED_ROLES:
        said = f"Building the seed of {class_name} failed in the task “{task}” of the role {role}: {_last_lines(message)}"
        for pattern, hint in _OF_ROLES:
            if pattern.search(message):
                return BadInput(said, f"{hint.format(class_name=class_name)} The whole log is {log}.")
        return DpeError(said, f"The whole log is {log}.")
    if packages := sorted({one or other for one, other in _NO_PACKAGE.findall(message)}):
        return BadInput(
            f"Debian has no package {', '.join(packages)}, which the class {class_name} asks for.",
            f"Correct `packages` of the class {class_name} in scenario.yml and build again.",
        )
    if _NO_MIRROR.search(message):
        return Unavailable(
            f"The Debian mirror did not answer while building the seed of {class_name}: {_last_lines(message)}",
            f"Check the host's network and the setting debian_mirror. The log is {log}.",
        )
    where = f" in the task “{task}”" if task else ""
    return DpeError(f"Building the seed of {class_name} failed{where}: {_last_lines(message)}", f"The whole log is {log}.")


def _last_lines(message: str) -> str:
    return " ".join(message.split())[-600:] or "nothing was said"
