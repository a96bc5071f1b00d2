"""What a failed build says to the person who has to mend it."""

import re

from appliance.errors import BadInput, DpeError, Unavailable

_NO_PACKAGE = re.compile(r"Unable to locate package (\S+)|Package '?([^'\s]+)'? has no installation candidate")
_NO_MIRROR = re.compile(
    r"Could not resolve|Failed to fetch|Unable to connect|Could not connect|Temporary failure resolving|does not have a Release file"
)


def explain(class_name: str, task: str, message: str, *, log: str, full: str) -> DpeError:
    """The error for a build that failed in `task` with `message`; `full` is what to say when the disk was full."""
    if "No space left on device" in message:
        return Unavailable(
            f"The disk was full in the middle of building the seed of {class_name}. {full}", "Make room there and build again."
        )
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
