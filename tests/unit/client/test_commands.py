"""Every command against the real application, and what all of them have alike."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from appliance import catalog
from appliance.catalog import Account, Actor, Aside, AsideKind, Class, Machine, MachineState, Run, SecondFactor, Seed, Session, WorkItem
from appliance.errors import Conflict
from appliance.host.interface import backups, rescue, system, updates
from appliance.host.interface.system import Image
from appliance.scenario import packaged, tree
from appliance.scenario.packaged import Packaged
from appliance.services import scenarios
from appliance.settings import Settings
from dpe import output
from dpe.cli import Context, cli
from dpe.client import Client
from tests import world
from tests.hosted import BUILD, do_instead, hosted
from tests.unit.client.conftest import Dpe
from tests.unit.scenario.test_load import GOOD, write

pytestmark = pytest.mark.cli

CONFLICT = 5
BUNDLE = "dpe-support-20261129-000000.tar.gz"
# What is called, as whom, and a word of what it says, or the exit code; {…} are things of the world, what follows < is sent.
WALK: list[tuple[str, str, str | int]] = [
    ("ada", "whoami", "ada"),
    ("ada", "list", "notebook"),
    ("ada", "classes", "notebook"),
    ("ada", "show {mine}", "lease_ends_at"),
    ("ada", "open {mine} --print", "https://appliance.test"),
    ("ada", "extend {mine}", "in "),
    ("ada", "ssh --print {mine}", "ProxyCommand"),
    ("ada", "stop {mine}", "is being shut down"),
    ("ada", "suspend {mine2}", "is being suspended"),
    ("ada", "reprovision {mine3}", "is being made anew"),
    ("ada", "start {stopped}", "is being started"),
    ("ada", "resume {suspended}", "is being resumed"),
    ("ada", "watch {mine4} --until in_use", "is in_use"),
    ("ada", "release {mine4} {mine5} --yes", "{mine5} is given back"),
    ("ada", "api GET me", '"name": "ada"'),
    ("ada", "inventory --list", "_meta"),
    ("ada", "completion bash", "_DPE_COMPLETE"),
    ("ada", "completion zsh", "_DPE_COMPLETE"),
    ("ada", "completion fish", "_DPE_COMPLETE"),
    ("alan", "get notebook --no-wait", "assigned"),
    ("mary", "todos", "studio"),
    ("mary", "answer {todo} yes", "done."),
    ("grace", "admin machines list", "notebook"),
    ("grace", "admin machines list --filter state=in_use --sort -created --limit 1", "in_use"),
    ("grace", "admin machines show {theirs}", "owner"),
    ("grace", "admin machines limit {theirs} --network-in 20 --disk-rate 5", "changed"),
    ("grace", "admin machines limit {theirs} --network-in 20 --disk-rate 5", "unchanged"),
    ("grace", "admin machines limit {theirs} --network-in 100001", 1),
    ("grace", "admin machines extend {theirs}", "extend, done"),
    ("grace", "admin machines stop {theirs}", "stop, done"),
    ("grace", "admin machines suspend {theirs2}", "suspend, done"),
    ("grace", "admin machines reprovision {theirs3} --yes", "reprovision, done"),
    ("grace", "admin machines start {theirs_stopped}", "start, done"),
    ("grace", "admin machines resume {theirs_suspended}", "resume, done"),
    ("grace", "admin machines reclaim {theirs4} --yes", "reclaim, done"),
    ("grace", "admin runs list", "stop"),
    ("grace", "admin runs show {run}", "steps"),
    ("grace", "admin runs retry {run}", CONFLICT),
    ("grace", "admin runs skip {run}", CONFLICT),
    ("grace", "admin runs cancel {run}", "cancel, done"),
    ("grace", "admin classes list", "notebook"),
    ("grace", "admin classes disable studio", "disable, done"),
    ("grace", "admin classes enable studio", "enable, done"),
    ("grace", "admin classes retry notebook", "retry, done"),
    ("grace", "admin classes fork-again notebook", CONFLICT),
    ("grace", "admin seeds list", "notebook"),
    ("grace", "admin seeds show {old}", "version"),
    ("grace", "admin seeds promote {old}", "promote, done"),
    ("grace", "admin seeds build studio", "studio version 3"),
    ("grace", "admin seeds cancel {built}", "cancel, done"),
    ("grace", "admin seeds promote {current}", "promote, done"),
    ("grace", "admin seeds delete {old} --yes", "delete, done"),
    ("grace", "admin policies set notebook buffer=4", "changed"),
    ("grace", "admin policies show notebook", "buffer\t4\tyes"),
    ("grace", "admin policies set notebook buffer=", "changed"),
    ("grace", "admin people list", "Ada Lovelace"),
    ("grace", "admin people create emmy --full-name Emmy < correct horse battery", "emmy"),
    ("grace", "admin people show emmy", "Emmy"),
    ("grace", "admin people password emmy < correct horse stable", "is set"),
    ("grace", "admin people disable emmy", "disable, done"),
    ("grace", "admin people enable emmy", "enable, done"),
    ("grace", "admin people sessions ada", "Firefox\t192.0.2.7"),
    ("grace", "admin people end-session ada {session}", "end-session, done"),
    ("grace", "admin people end-session ada {session}", 4),
    ("grace", "admin people tokens alan", "dpe\t"),
    ("grace", "admin people end-token alan dpe", "end-token, done"),
    ("grace", "admin people codes ada", "on\tyes"),
    ("grace", "admin people remove-codes ada --yes", "ada: one-time codes are off"),
    ("grace", "admin people invite emmy", "https://"),
    ("grace", "admin people withdraw emmy", "withdraw, done"),
    ("grace", "admin people delete emmy --yes", "is deleted"),
    ("grace", "api POST admin/webhooks --data - < {webhook}", "https://"),
    ("grace", "admin webhooks list", "tickets"),
    ("grace", "admin webhooks show tickets", "pending"),
    ("grace", "admin webhooks send-dead-again tickets", "done"),
    ("grace", "admin webhooks delete tickets --yes", "delete, done"),
    ("grace", "admin groups create physicists", "physicists"),
    ("grace", "admin groups list", "physicists"),
    ("grace", "admin groups show physicists", "accounts"),
    ("grace", "admin groups delete physicists --yes", "delete, done"),
    ("grace", "admin org-units create Library", "Library"),
    ("grace", "admin org-units list", "Library"),
    ("grace", "admin org-units show Library", "parent"),
    ("grace", "admin org-units delete Library --yes", "delete, done"),
    ("grace", "admin grants set {grant} < {{}}", "changed"),
    ("grace", "admin grants list", "{grant}"),
    ("grace", "admin grants show {grant}", "role"),
    ("grace", "admin grants delete {grant} --yes", "delete, done"),
    ("grace", "admin quotas set {quota} < machines: 5", ": changed"),
    ("grace", "admin quotas set {quota} < machines: 5", ": unchanged"),
    ("grace", "admin quotas list", "{quota}"),
    ("grace", "admin quotas show {quota}", "limits"),
    ("grace", "admin quotas delete {quota} --yes", "delete, done"),
    ("grace", "admin sequences set mine < {waits5}", "changed"),
    ("grace", "admin sequences list", "mine"),
    ("grace", "admin sequences show mine", "Mine"),
    ("grace", "admin sequences promote mine --untried", "version 1"),
    ("grace", "admin sequences set mine < {waits10}", "changed"),
    ("grace", "admin sequences discard mine --yes", "discard, done"),
    ("grace", "admin sequences set mine < {waits10}", "changed"),
    ("grace", "admin sequences promote mine --untried --comment Longer", "version 2"),
    ("grace", "admin sequences roll-back mine 1", "version 3"),
    ("grace", "admin sequences delete mine --yes", "delete, done"),
    ("grace", "admin events list --limit 3", "info"),
    ("grace", "admin events watch --after 0 --count 2", "info"),
    ("grace", "admin events check", "as they were written"),
    ("grace", "admin needs list", ""),
    ("grace", "admin settings list", "general"),
    ("grace", "admin settings show general", "overcommit"),
    ("grace", "admin settings set general overcommit=150", ": changed"),
    ("grace", "admin settings set general overcommit=150", ": unchanged"),
    ("grace", "admin settings set email host=mail.example.org sender=dpe@example.org user=dpe --secret password < hush", ": changed"),
    ("grace", "admin settings set invitations days=0", 1),
    ("grace", "admin directory test", 1),
    ("grace", "admin directory synchronise --force", CONFLICT),
    ("grace", "admin people import - --dry-run < name,full_name\nlise,Lise", "can be created: 1."),
    ("grace", "admin people import - < name,full_name\nlise,Lise", "lise\thttps://"),
    ("grace", "admin orphans list", "lost"),
    ("grace", "admin orphans adopt {orphan}", "adopt, done"),
    ("grace", "admin orphans delete {orphan} --yes", CONFLICT),
    ("grace", "admin applications upload {application}", "graphs is in version 2 of the scenario"),
    ("grace", "admin applications upload {application}", 1),
    ("grace", "admin applications withdraw graphs", "withdraw, done"),
    ("grace", "admin applications offer graphs", "offer, done"),
    ("grace", "admin applications list", "graphs"),
    ("grace", "admin applications download graphs {application}", ""),
    ("grace", "admin applications remove graphs --yes", "remove, done"),
]
# With a scenario to go by.
SCENARIO: list[tuple[str, str, str | int]] = [
    ("grace", "admin scenario list", "1\tcurrent"),
    ("grace", "admin scenario export {file}", 0),
    ("grace", "admin scenario import {file}", "is that already"),
    ("grace", "admin scenario import {other} --dry-run", "class notes: seed packages"),
    ("grace", "admin scenario import {other} --comment More --build", "version 2"),
    ("grace", "admin scenario show 2", "More"),
    ("grace", "admin scenario restore 1 --yes", "restore, done"),
    ("grace", "admin scenario export {file} --version 2", 0),
]
# With dpe-host behind it; its backups and updates are answers.
SERVER: list[tuple[str, str, str | int]] = [
    ("grace", "admin backups create --wait", "Backup: done."),
    ("grace", "admin backups verify --wait", "Check of the backups: done."),
    ("grace", "admin backups test-restore --wait", "Restore test: done."),
    ("grace", "admin backups list", "b1"),
    ("grace", "admin operations list", "Check of the backups"),
    ("grace", "admin operations show {operation}", "done"),
    ("grace", "admin logs list", "engine"),
    ("grace", "admin logs show engine --level error --limit 10", "It fell over."),
    ("grace", "admin support-bundle {file}", 0),
    ("grace", "admin update show", "1.2.0"),
    ("grace", "admin update fetch --wait", "Fetching an update: done."),
    ("grace", "admin update install 1.3.0 --wait", "Writing the update: done."),
    ("grace", "admin update install 9.9.9 --wait", 1),
    ("grace", "admin update restart --when night", "The restart is at 20"),
]
ELSEWHERE = {"login", "logout", "apply", "diff", "console", "proxy"}  # test_login.py, test_declare.py, programs/test_command.py


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands that do something, by what is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        elif command is not None:
            yield f"{before}{name}", command


def waiting(minutes: int) -> dict[str, object]:
    """Moves of a sequence."""
    return {"reclaim": {"before": [{"name": "pause", "kind": "wait", "with": {"time": f"{minutes}m"}}]}}


def fill(people: dict[str, Actor]) -> dict[str, str]:
    """Machines of ada's and mary's in all states that verbs need, and what else the walk names."""
    notebook = Class.get(Class.name == "notebook")
    states = MachineState.IN_USE, MachineState.STOPPED, MachineState.SUSPENDED
    world.asking(people)
    found = {
        "todo": str(WorkItem.select().order_by(WorkItem.id.desc()).get().id),
        "old": str(Seed.get(Seed.machine_class == "notebook", Seed.version == 1).id),
        "webhook": json.dumps({"name": "tickets", "url": "https://tickets.example.org/"}),
        "current": str(Seed.get(Seed.machine_class == "notebook", Seed.version == 2).id),
        **{f"waits{minutes}": json.dumps({"name": "mine", "title": "Mine", "moves": waiting(minutes)}) for minutes in (5, 10)},
        "grant": f"user:account:{people['ada'].account_id}:class:studio",
        "orphan": str(Aside.create(kind=AsideKind.DATA_DISK, id="lost", name="lost", account_name="ada", since=catalog.now()).number),
        "quota": f"account:{people['ada'].account_id}:each:all",
        "session": "5e" * 32,
    }
    Session.create(
        id=found["session"],
        account=people["ada"].account_id,
        agent="Firefox",
        address="192.0.2.7",
        expires_at=datetime(2100, 1, 1, tzinfo=UTC),
    )
    SecondFactor.create(account=people["ada"].account_id, secret="JBSWY3DPEHPK3PXP", confirmed_at=catalog.now())
    for owner, who in (("ada", "mine"), ("mary", "theirs")):
        for number, state in enumerate((*states[:1] * 5, *states[1:]), 1):
            made = world.machine(notebook, state, owner=people[owner])
            plain = f"{who}{number if number > 1 else ''}"
            found[plain if state is states[0] else state.value if who == "mine" else f"{who}_{state.value}"] = made.name
    return found


def walk(dpe: Dpe, lines: list[tuple[str, str, str | int]], things: dict[str, str]) -> None:
    wrong = []
    for name, text, said in lines:
        words, _, sent = text.format_map(Later(things)).partition(" < ")
        answer = dpe(*words.split(), name=name, input=f"{sent}\n" if sent else None)
        expected = said.format_map(Later(things)) if isinstance(said, str) else ""
        if answer.exit_code != (said if isinstance(said, int) else 0) or expected not in answer.stdout:
            wrong.append(f"dpe {words}: {answer.exit_code} {answer.output}")
        if "seeds build" in words:
            things["built"] = str(Seed.select().order_by(Seed.id.desc()).get().id)
        if words.startswith("stop"):
            things["run"] = str(Run.select().order_by(Run.id.desc()).get().id)
        if "Operation " in answer.stdout:
            things["operation"] = answer.stdout.split("Operation ")[1].split(".")[0]
    assert wrong == [], "\n".join(wrong)


def test_every_command_against_the_real_application(dpe: Dpe, people: dict[str, Actor], opened: Settings, tmp_path: Path) -> None:
    scenarios.follow_folder(replace(opened, scenario=write(tmp_path, GOOD)))
    zipped = tmp_path / "graphs.zip"
    made = Packaged(title="Graphs", description="Draws graphs.", releases=["debian-13"], packages=["graphviz"])
    zipped.write_bytes(tree.to_zip(packaged.files(made), "graphs"))
    walk(dpe, WALK, {**fill(people), "application": str(zipped)})


def test_every_command_of_the_scenario(dpe: Dpe, people: dict[str, Actor], opened: Settings, tmp_path: Path) -> None:
    found = replace(opened, scenario=write(tmp_path, GOOD))
    scenarios.follow_folder(found)
    main = tree.File(GOOD.replace("packages: [git]", "packages: [git, less]").encode())
    files = {"file": str(tmp_path / "s.zip"), "other": str(tmp_path / "other.zip")}
    Path(files["other"]).write_bytes(tree.to_zip({**tree.read_folder(found.scenario), tree.MAIN: main}, "shop"))
    walk(dpe, SCENARIO, files)
    assert Path(files["file"]).read_bytes() == Path(files["other"]).read_bytes(), "version 2 comes out as it went in"


def test_every_command_of_the_server_against_the_real_dpe_host(
    dpe: Dpe, opened: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment = datetime(2026, 11, 29, tzinfo=UTC)
    found = backups.Backup("b1", moment, 10, 3, 2, 1, 0, 0, 21, "notebook", "1.2.0")

    def install(args: updates.Install, host: object) -> updates.Written:
        if args.version != "1.3.0":
            raise Conflict("That version is not here.", "Fetch it first.")
        return updates.Written(version=args.version)

    def bundle(args: object, host: object) -> str:
        opened.support.mkdir(parents=True, exist_ok=True)
        (opened.support / BUNDLE).write_bytes(b"all of it")
        return BUNDLE

    line = system.Line("2026-11-29T00:00:00+00:00", "engine", "error", "It fell over.")
    with hosted(opened, tmp_path):
        for verb, do in (
            (system.LOG_LINES, lambda args, host: [line] if args.level == "error" else []),
            (rescue.BUNDLE, bundle),
            (backups.RUN, lambda args, host: backups.Made(snapshot="b1", bytes=10, added=1, people=3, machines=2, disks=1, problems=[])),
            (backups.VERIFY, lambda args, host: backups.Checked(words="All are whole.", backups=1)),
            (backups.TEST_RESTORE, lambda args, host: backups.Tested(words="It could be restored.", whole=True)),
            (backups.LIST, lambda args, host: [found]),
            (updates.STATUS, lambda args, host: updates.Status(image=Image.model_validate(BUILD), slots=[])),
            (updates.SOURCE, lambda args, host: updates.Source()),
            (updates.FETCH, lambda args, host: updates.Fetched(found="1.3.0 is there.", version="1.3.0")),
            (updates.INSTALL, install),
            (updates.RESTART, lambda args, host: updates.Plan(version="1.3.0", at=args.at, by="grace", back=False)),
        ):
            do_instead(monkeypatch, verb, do)
        walk(dpe, SERVER, {"file": str(tmp_path / "bundle.tar.gz")})
        assert (tmp_path / "bundle.tar.gz").read_bytes() == b"all of it"


class Later(dict[str, str]):
    """Things that are there only later stay names."""

    def __missing__(self, name: str) -> str:
        return f"{{{name}}}"


def test_the_walk_misses_none() -> None:
    every = {name for name, _ in leaves(cli)}
    walked = {name for name in every for _, words, _ in WALK + SERVER + SCENARIO if f"{words} ".startswith(f"{name} ")}
    assert every - walked == ELSEWHERE


# -- what all have alike ---------------------------------------------------------------------------------


def test_lists_are_lines_for_pipes_json_for_programs_and_objects_a_line_for_jq(dpe: Dpe) -> None:
    [line] = dpe("list").stdout.splitlines()
    assert line.split("\t")[1:3] == ["notebook", "in_use"]
    [machine] = json.loads(dpe("list", "--json").stdout)
    assert machine["class"] == "notebook"
    assert json.loads(dpe("list", "--lines").stdout) == machine


def test_a_list_is_followed_to_its_end(dpe: Dpe, people: dict[str, Actor]) -> None:
    world.many_machines(Class.get(Class.name == "notebook"), 130, people["alan"])
    found = dpe("admin", "machines", "list", "--lines", name="grace").stdout.splitlines()
    assert (
        len(found)
        == len({json.loads(line)["id"] for line in found})
        == Machine.select().where(Machine.state != MachineState.RETIRED).count()
    )


def test_a_table_for_people_and_no_colour_for_who_wants_none(dpe: Dpe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "is_terminal", lambda stream: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = dpe("list").stdout
    assert "Lease ends" in coloured
    assert "\x1b[32m" in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[3" not in dpe("list").stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("show nothing", 4, "There is no machine nothing."),
        ("get nothing --no-wait", 4, ""),
        ("get studio --no-wait --count 99", 1, ""),
        ("admin machines list", 3, "This page is not for you."),
        ("admin people list --sort wrong", 3, ""),
        ("nothing", 2, "No such command"),
        ("get", 2, "Missing argument"),
    ],
)
def test_errors_say_what_to_do_on_stderr_and_have_their_code(dpe: Dpe, words: str, code: int, said: str) -> None:
    answer = dpe(*words.split())
    assert (answer.exit_code, answer.stdout) == (code, "")
    assert said in answer.stderr


def test_what_is_wrong_with_each_field_is_said(dpe: Dpe) -> None:
    answer = dpe("admin", "machines", "list", "--sort", "wrong", name="grace")
    assert answer.exit_code == 1
    assert "sort: It is not sorted by 'wrong'." in answer.stderr


def test_what_others_wrote_moves_no_cursor(dpe: Dpe, people: dict[str, Actor]) -> None:
    with catalog.write():
        Account.update(full_name="\x1b]0;owned\x07\x1b[2Jx").where(Account.name == "alan").execute()
    assert "\x1b" not in dpe("admin", "people", "list", name="grace").stdout


def test_get_waits_until_it_can_be_used(client: Callable[..., Client]) -> None:
    def engine(_: float) -> None:
        Machine.update(state=MachineState.IN_USE).where(Machine.state == MachineState.ASSIGNED).execute()

    context = Context("")
    context._client = client("grace")
    context._client.sleep = engine
    answer = CliRunner().invoke(cli, ["get", "notebook", "--lines"], obj=context)
    assert (answer.exit_code, json.loads(answer.stdout)["state"]) == (0, "in_use")
    assert "is assigned" in answer.stderr


def test_get_gives_up_in_time_and_the_wish_stays(dpe: Dpe, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(0, 10_000, 7))
    monkeypatch.setattr("dpe.client.time.monotonic", lambda: next(moments))
    answer = dpe("get", "notebook", "--timeout", "20", name="grace")
    assert answer.exit_code == 7
    assert "dpe list shows when it is there" in answer.stderr
    assert "assigned" in dpe("list", name="grace").stdout


def test_names_of_machines_are_completed(dpe: Dpe, client: Callable[..., Client]) -> None:
    from click.shell_completion import ShellComplete

    context = Context("")
    context._client = client("ada")
    found = ShellComplete(cli, {"obj": context}, "dpe", "_DPE_COMPLETE").get_completions(["show"], "note")
    assert [one.value for one in found] == [context._client.machines()[0]["name"]]


def test_the_inventory_is_what_ansible_takes(dpe: Dpe) -> None:
    found = json.loads(dpe("inventory", "--list").stdout)
    [host] = found["class_notebook"]["hosts"]
    variables = found["_meta"]["hostvars"][host]
    assert found["all"]["children"] == ["class_notebook", "state_in_use"]
    assert f"HostKeyAlias=dpe-{variables['dpe_id']}" in variables["ansible_ssh_common_args"]
    assert json.loads(dpe("inventory", "--host", host).stdout) == variables
