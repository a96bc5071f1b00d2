"""The rules for commits of CONTRIBUTING.md, since there are any."""

import pytest

from appliance.errors import CommandFailed
from appliance.run import run
from appliance.settings import REPOSITORY

BEFORE = "2e537338a7553f5dc10392d6c898e5340ad18616"
LONGEST = 65


@pytest.mark.linter
def test_subjects_are_short_and_bodies_say_why() -> None:
    try:
        told = run(["git", "log", "--no-merges", "--format=%h%x00%s%x00%b%x01", f"{BEFORE}..HEAD"], cwd=REPOSITORY)
    except CommandFailed:
        pytest.skip("not a clone with the history of the rules")
    for entry in filter(None, (entry.strip("\n") for entry in told.split("\x01"))):
        commit, subject, body = entry.split("\x00")
        assert len(subject) <= LONGEST, f"{commit} {subject}"
        assert subject[:1].isupper(), f"{commit} {subject}"
        assert not subject.endswith("."), f"{commit} {subject}"
        assert body.strip(), f"{commit} {subject} says not why"
