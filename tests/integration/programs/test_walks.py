"""Each "how to add" of CONTRIBUTING.md, walked in a scratch copy: the files that it names, in its order, and then the linters and tests that would tell."""

import contextlib
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from appliance.run import run
from appliance.settings import REPOSITORY

CONTRIBUTING = (REPOSITORY / "CONTRIBUTING.md").read_text()


class Copy:
    """A checkout that may be changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.chosen: dict[str, None] = {}  # tests that would tell, in their order

    def put(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def add(self, path: str, after: str, text: str) -> None:
        """Lines below the one line that begins with `after`."""
        file = self.root / path
        lines = file.read_text().splitlines(keepends=True)
        [place] = [number for number, line in enumerate(lines, 1) if line.startswith(after)]
        file.write_text("".join([*lines[:place], text, *lines[place:]]))

    def python(self, *arguments: str) -> str:
        return run([sys.executable, *arguments], cwd=self.root, timeout=600)

    def tests(self, *chosen: str) -> None:
        """Have these run in the end, all at once: a pytest for each walk takes longer to start than to run."""
        self.chosen |= dict.fromkeys(chosen)

    def pytest(self, *arguments: str) -> None:
        self.python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *arguments)


def a_setting(copy: Copy) -> None:
    copy.add("appliance/settings.py", "    listen: str", '    motto: str = _setting("", "A line under the title of each page.")\n')
    copy.add("appliance/README.md", "| `DPE_LISTEN`", "| `DPE_MOTTO` |  | A line under the title of each page. |\n")
    copy.tests("tests/unit/repository/test_docs.py")


def a_kind_of_activity(copy: Copy) -> None:
    kinds = copy.root / "appliance/workflow/kinds.py"
    ring = 'class Ring(Options):\n    """A bell."""\n\n    bell: str = Field(min_length=1, description="Which bell.")\n\n\nCORE = (\n'
    kinds.write_text(kinds.read_text().replace("CORE = (\n", ring))
    copy.add("appliance/workflow/kinds.py", "OTHERS = (", '    Kind("ring", "Bell", "Rings a bell of the house.", Ring),\n')
    copy.put(
        "appliance/workflow/activities/ring.py",
        '"""A bell."""\n\nfrom appliance.workflow.kinds import Ring\nfrom appliance.workflow.runner import Context, Done\n\n\n'
        'def ring(step: Context, options: Ring) -> Done:\n    """Ring it."""\n    return Done({"rang": options.bell})\n',
    )
    package = copy.root / "appliance/workflow/activities/__init__.py"
    package.write_text(
        package.read_text()
        .replace("notify, people, wait", "notify, people, ring, wait")
        .replace('    "notify"', '    "ring": Handler(ring.ring),\n    "notify"')
    )
    copy.python("-m", "appliance.workflow.document")
    copy.tests("tests/unit/workflow/test_document.py", "tests/unit/workflow/test_load.py")


def a_provider(copy: Copy) -> None:
    copy.put(
        "appliance/hypervisor/incus/__init__.py",
        '"""Machines on Incus."""\n\nfrom appliance.hypervisor.provider import Provider, Service\nfrom appliance.settings import Settings\n\n\n'
        'def connect(settings: Settings) -> Provider:\n    """The provider over an Incus."""\n    raise NotImplementedError\n\n\n'
        'def service(settings: Settings) -> Service | None:\n    """Incus runs by itself."""\n    return None\n',
    )
    copy.put("appliance/hypervisor/incus/README.md", "# incus\n\nMachines on Incus.\n")
    copy.add("pyproject.toml", "libvirt = ", 'incus = "appliance.hypervisor.incus"\n')
    copy.add("appliance/hypervisor/providers.py", "SHIPPED = {", '    "incus": "appliance.hypervisor.incus",\n')
    copy.tests("tests/unit/hypervisor/test_providers.py")


def a_page(copy: Copy) -> None:
    copy.put(
        "appliance/services/motto.py",
        '"""A line for everybody."""\n\n\ndef current() -> str:\n    """The line."""\n    return "Press one button."\n',
    )
    copy.add("appliance/services/README.md", "| `overview.py`", "| `motto.py` | a line for everybody |\n")
    copy.put(
        "webui/admin/motto.py",
        '"""A line for everybody."""\n\nfrom flask import Blueprint, render_template\n\nfrom appliance.services import motto\nfrom webui.guard import needs\n\n'
        'blueprint = Blueprint("motto", __name__, url_prefix="/admin/motto")\n\n\n@blueprint.get("/")\n@needs("settings.manage")\n'
        'def index() -> str:\n    return render_template("admin/motto.html", motto=motto.current())\n',
    )
    copy.put(
        "webui/templates/admin/motto.html",
        '{% extends layout %}\n{% block title %}Motto{% endblock %}\n{% block live %}\n<div class="page-head"><h1>Motto</h1></div>\n'
        "<p>{{ motto|translated }}</p>\n{% endblock %}\n",
    )
    package = copy.root / "webui/admin/__init__.py"
    package.write_text(re.sub(r"(\n +)machines,", r"\1machines,\1motto,", package.read_text()))
    text = package.read_text()
    assert text.count("motto") >= 2 or "motto," in text
    copy.add(
        "webui/navigation.py",
        '            Page("Events"',
        '            Page("Motto", "motto.index", "bolt", "settings.manage"),\n',
    )
    copy.add("webui/README.md", "| Overview |", "| motto | a line for everybody | | |\n")
    guard = "tests/unit/webui/test_guard.py"
    opens = (f"{guard}::test_every_view_says_who_may_call_it", f"{guard}::test_every_page_opens_for_an_admin_whole_and_live")
    copy.tests("tests/unit/webui/test_navigation.py", "tests/unit/webui/test_words.py", *opens)


def a_verb_of_dpe_host(copy: Copy) -> None:
    copy.add("appliance/host/interface/system.py", "FACTS = Verb(", 'MOTTO = Verb("motto", Nothing, str)\n')
    power = copy.root / "appliance/host/system/power.py"
    power.write_text(
        power.read_text()
        + '\n\n@implements(system.MOTTO)\ndef motto(args: Nothing, host: Host) -> str:\n    """A line for everybody."""\n    return "Press one button."\n'
    )
    interface = "tests/unit/host/test_interface.py"
    copy.pytest("--regenerate", f"{interface}::test_the_table_of_verbs_is_that_of_the_code")
    copy.tests(f"{interface}::test_every_verb_is_declared_and_done", f"{interface}::test_all_that_crosses_the_socket_has_a_type")


def something_that_the_engine_does(copy: Copy) -> None:
    copy.add(
        "appliance/engine/periodic.py", '        Periodic("decision"', '        Periodic("motto", EVERY_TICK, lambda: None, anyway),\n'
    )
    copy.add("appliance/engine/README.md", "| `decision`", "| `motto` | tick | tick | | nothing |\n")


def a_figure_over_time(copy: Copy) -> None:
    copy.add("appliance/readings/figures.py", '    "value": "what', '    "mottos": "lines that were read",\n')
    store = "tests/unit/readings/test_store.py"
    copy.tests(f"{store}::test_what_was_read_comes_back_as_it_was", f"{store}::test_a_file_from_before_a_figure_gets_it")


def a_metric(copy: Copy) -> None:
    copy.add(
        "appliance/services/metrics.py",
        '        Metric("dpe_build_info"',
        '        Metric("dpe_mottos", "Lines under the titles of pages."),\n',
    )
    copy.add("appliance/services/metrics.py", '    yield "dpe_engine_up"', '    yield "dpe_mottos", {(): 1.0}\n')
    copy.add("webui/README.md", "| `dpe_build_info`", "| `dpe_mottos` |  | lines under the titles of pages |\n")
    copy.tests("tests/unit/webui/test_metrics.py::test_every_metric_is_documented_and_every_one_that_is_documented_is_exposed")


def something_from_outside(copy: Copy) -> None:
    shutil.copytree(copy.root / "tests/example", copy.root / "tests/motto")
    test = (copy.root / "tests/unit/engine/test_example.py").read_text()
    copy.put("tests/unit/engine/test_motto.py", test.replace('REPOSITORY / "tests/example"', 'REPOSITORY / "tests/motto"'))
    copy.pytest("tests/unit/engine/test_motto.py")
    shutil.rmtree(copy.root / "tests/motto")


def something_that_needs_somebody(copy: Copy) -> None:
    needs = copy.root / "appliance/services/needs.py"
    found = (
        'def _motto(sight: Sight) -> Iterator[Need]:\n    if sight.appliance.options["undecided"]:\n'
        '        yield Need("motto", Severity.STEP, "There is no motto.", "People like one.", "Settings", "preferences.index")\n\n\nKINDS = (\n'
    )
    needs.write_text(needs.read_text().replace("KINDS = (\n", found))
    copy.add("appliance/services/needs.py", '    Kind("engine"', '    Kind("motto", "settings.manage", _motto),\n')
    case = '    "motto": [Case(option("undecided", {"why": "older", "choice": ""}), option("undecided", {}), Severity.STEP, "no motto")],\n'
    copy.add("tests/unit/services/test_needs.py", "CASES", case)
    needed = "tests/unit/services/test_needs.py"
    copy.tests(
        f"{needed}::test_it_is_told_while_it_is_so_and_goes_when_it_is_mended",
        f"{needed}::test_every_kind_has_a_case",
        "tests/unit/webui/test_needs_you.py::test_every_button_leads_to_a_page",
    )


def an_event(copy: Copy) -> None:
    copy.add("appliance/catalog/event_kinds.py", "    SIGN_OUT =", '    SIGN_KEPT = "sign.kept", "A session was prolonged."\n')
    sessions = copy.root / "appliance/services/sessions.py"
    sessions.write_text(
        sessions.read_text()
        + '\n\ndef note_kept(actor: Actor) -> None:\n    """Record that a session goes on."""\n    with catalog.write():\n        record(EventKind.SIGN_KEPT, f"{actor.name} stays signed in.", actor)\n'
    )
    copy.python("-m", "appliance.catalog.document")
    copy.tests("tests/unit/catalog/test_event_kinds.py")


def a_field_of_a_class_s_policy(copy: Copy) -> None:
    policy = copy.root / "appliance/scenario/policy.py"
    field = (
        '    spare: Annotated[int, _pools("spare", "Spare")] = Field(default=0, ge=0, le=MANY, description="Machines kept besides.")\n\n'
        '    @model_validator(mode="after")\n    def _order(self)'
    )
    text = policy.read_text()
    assert text.count('    @model_validator(mode="after")\n    def _order(self)') == 1
    policy.write_text(text.replace('    @model_validator(mode="after")\n    def _order(self)', field))
    copy.python("-m", "appliance.scenario.document")
    copy.tests(
        "tests/unit/scenario/test_load.py::test_the_scenarios_that_come_with_the_product_are_right",
        "tests/unit/catalog/test_policies.py::test_the_documentation_is_what_the_model_makes",
        "tests/unit/webui/test_class_policy.py",
    )


def a_scenario(copy: Copy) -> None:
    small = (REPOSITORY / "tests/scenarios/small/scenario.yml").read_text()
    assert "roles: [web]" in small
    copy.put("playbooks/scenarios/motto/scenario.yml", small.replace("name: small", "name: motto", 1))
    copy.put("playbooks/scenarios/motto/roles/web/tasks/main.yml", tasks("A page", "/srv/page"))
    assert classes(copy) == ["small", "small12"]


def an_application(copy: Copy) -> None:
    copy.put("playbooks/applications/bell/tasks/main.yml", tasks("A line", "/srv/bell"))
    copy.put(
        "playbooks/applications/bell/application.yml",
        "title: Bell\ndescription: Rings.\nicon: activity\nlicence: MIT\nreleases: [debian-12, debian-13]\naccess: none\nneeds: {memory: 16}\n"
        "options:\n  bell: {type: string, title: Which bell, default: door}\n",
    )
    copy.put("playbooks/scenarios/motto/roles/motto/tasks/main.yml", tasks("A line", "/srv/motto"))
    copy.put("playbooks/scenarios/motto/roles/motto/tasks/machine.yml", tasks("A line for each", "/srv/each"))
    file = copy.root / "playbooks/scenarios/motto/scenario.yml"
    named = "roles: [web, motto]\n    applications: [{name: bell, options: {bell: house}}]"
    file.write_text(file.read_text().replace("roles: [web]", named).replace("disk: 2", "disk: 4"))
    assert classes(copy) == ["small", "small12"]


def tasks(name: str, path: str) -> str:
    return f"- name: {name}\n  ansible.builtin.copy:\n    dest: {path}\n    content: hello\n    mode: '0644'\n"


def classes(copy: Copy) -> list[str]:
    said = "from pathlib import Path; from appliance.scenario.load import load; print(*load(Path('playbooks/scenarios/motto')).scenario.classes)"
    return copy.python("-c", said).split()


def a_migration(copy: Copy) -> None:
    last = max(int(file.stem) for file in (copy.root / "appliance/catalog/migrations").glob("[0-9]*.sql"))
    copy.put(f"appliance/catalog/migrations/{last + 1:04}.sql", "ALTER TABLE class ADD COLUMN motto TEXT NOT NULL DEFAULT '';\n")
    copy.add("appliance/catalog/models.py", '    readiness = CharField(default="paused")', '    motto = TextField(default="")\n')
    database = "tests/unit/catalog/test_database.py"
    copy.tests(f"{database}::test_migration_numbers_have_no_gap", f"{database}::test_models_are_the_schema")


# What CONTRIBUTING.md calls it, and the walk.
WALKS: dict[str, Callable[[Copy], None]] = {
    "A setting of the host": a_setting,
    "Something from outside": something_from_outside,  # before the next, which would have another kind of the same name
    "A kind of activity": a_kind_of_activity,
    "A provider": a_provider,
    "A page": a_page,
    "A verb of dpe-host": a_verb_of_dpe_host,
    "A figure over time": a_figure_over_time,
    "A metric": a_metric,
    "Something that the engine does by itself": something_that_the_engine_does,
    "Something that needs somebody": something_that_needs_somebody,
    "An event": an_event,
    "A field of a class's policy": a_field_of_a_class_s_policy,
    "A scenario": a_scenario,
    "An application": an_application,
    "A migration": a_migration,
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """One copy for all walks, so that the linters look at all of them at once."""
    root = tmp_path_factory.mktemp("walks") / "checkout"
    for name in run(["git", "ls-files"], cwd=REPOSITORY).splitlines():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, root / name, follow_symlinks=False)
    run(["git", "init", "-q"], cwd=root)
    with contextlib.suppress(FileNotFoundError):  # what mypy knows of all the rest, from the tier before
        shutil.copytree(REPOSITORY / ".mypy_cache", root / ".mypy_cache")
    yield Copy(root)
    shutil.rmtree(root)


def test_each_way_to_add_something_is_walked() -> None:
    part = CONTRIBUTING.partition("## How to add")[2].partition("\n## ")[0]
    assert {name for name in re.findall(r"^\*\*(.+?)\*\*", part, re.M) if not name.startswith(("A time", "A file that"))} == set(WALKS)


@pytest.mark.parametrize("name", WALKS)
def test_walk(copy: Copy, name: str) -> None:
    WALKS[name](copy)


# What `make translations` lists, and whoever adds something writes: here the German is the English.
GERMAN = """
from babel.messages.pofile import write_po
from appliance import language
from webui import texts
today = texts.updated("de", texts.found())
for one in today:
    if one.id and not (all(one.string) if isinstance(one.string, tuple) else one.string):
        one.string = one.id
with language.file("de").open("wb") as opened:
    write_po(opened, today, width=0)
"""


def test_what_would_tell_passes(copy: Copy) -> None:
    copy.python("-c", GERMAN)
    copy.pytest("-k", "not whatever", *copy.chosen)  # without what would try hundreds of inputs


def test_the_linters_have_nothing_to_say_of_what_was_added(copy: Copy) -> None:
    binaries = Path(sys.executable).parent
    for command in (("ruff", "check", "--no-cache"), ("mypy",), ("lint-imports",)):
        run([binaries / command[0], *command[1:]], cwd=copy.root, timeout=600)
