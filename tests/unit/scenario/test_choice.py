"""What a class leaves open: whether what is chosen fits into one machine with what the class has already."""

from typing import Any

import pytest

from appliance.scenario import applications, choice
from appliance.scenario.choice import Chosen, fault

pytestmark = pytest.mark.choice


def a_class(memory: int, *names: str, **changes: Any) -> dict[str, Any]:
    """As the catalog has one, with these applications; more memory, the other release, Redis and the web terminal may be chosen."""
    open_ = {"os": ["debian-12", "debian-13"], "applications": ["redis", "terminal", "pages"], "memory": 4096, "disk": 99, "packages": True}
    chosen = [{"name": name, "options": {}} for name in names]
    return {"title": "Data", "os": "debian-12", "size": {"memory": memory, "disk": 9}, "applications": chosen, "choice": open_, **changes}


def choose(spec: dict[str, Any], **chosen: Any) -> tuple[str, str, str] | None:
    return fault(spec, choice.usual(spec).model_copy(update=chosen), dict)


def test_what_the_class_has_already_takes_room_too() -> None:
    least, _ = applications.needed((applications.catalogue(dict)[name], {}) for name in ("pages", "redis"))
    spec = a_class(least - 1, "pages")
    assert choose(spec) is None
    wrong = choose(spec, applications=["redis"])
    assert wrong is not None
    assert wrong[0] == "memory"
    assert f"Web pages and Redis need {least} with the operating system" in wrong[1]
    assert wrong[2] == f"Choose at least {least} MiB, or leave some out."
    assert choose(spec, applications=["redis"], memory=least) is None


def test_another_release_is_for_all_applications_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = applications.catalogue(dict)
    old = catalogue["pages"].manifest.model_copy(update={"releases": ["debian-12"]})
    entry = applications.Entry("pages", old, catalogue["pages"].folder)
    monkeypatch.setattr(applications, "catalogue", lambda _: {**catalogue, "pages": entry})
    spec = a_class(512, "pages")
    assert choose(spec, os="debian-13") == (
        "applications",
        "Web pages does not run on debian-13",
        "Choose debian-12, or leave it out.",
    )
    assert choose(spec, applications=["terminal"]) is None


def test_ports_collide_with_those_of_the_class() -> None:
    spec = a_class(512, application={"port": 4200, "path": "/", "ready": "/"}, screen={"port": 5901})
    assert choose(spec, applications=["pages"]) is None
    spec["screen"] = {"port": 4200}
    spec["application"] = None
    wrong = choose(spec, applications=["terminal"])
    assert wrong == ("applications", "Web terminal and the desktop both take port 4200", "Leave one of the two out.")


def test_options_belong_to_the_choice_and_those_that_count_anyhow_do_not() -> None:
    spec = a_class(512)
    plain = choice.usual(spec).model_copy(update={"applications": ["redis"]})
    decided = plain.model_copy(update={"options": {"redis": {"memory": 128}}})
    default = applications.catalogue(dict)["redis"].manifest.options["memory"].default
    same = plain.model_copy(update={"options": {"redis": {"memory": default}, "pages": {}}})
    assert choice.digest("data", decided) != choice.digest("data", plain)
    assert choice.digest("data", choice.without_defaults(same, dict)) == choice.digest("data", plain)
    assert "options" not in plain.written(), "choices of before there were options keep their hash"
    assert choice.spec_of(spec, decided, dict)["applications"][0]["options"] == {"memory": 128}
    assert choose(spec, applications=["redis"], options={"redis": {"memory": 4}}) == (
        "applications",
        "Redis cannot have that memory: Input should be greater than or equal to 16.",
        "Its page says what can be.",
    )


def test_a_choice_is_written_the_same_whoever_makes_it() -> None:
    one = Chosen(os="debian-12", applications=["redis", "pages", "redis"], memory=512, disk=9)
    other = Chosen(os="debian-12", applications=["pages", "redis"], memory=512, disk=9)
    assert choice.digest("data", one) == choice.digest("data", other)
