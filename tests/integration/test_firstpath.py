"""The first path, as a newcomer walks it: `make run`, the wizard, a seed being built, and a user with an open application.

`make test MARK=firstpath` walks it with the notebooks that the product comes with; else with web terminals, which are built in a quarter of the time.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from appliance.settings import REPOSITORY
from tests.browser import steps
from tests.integration.newcomer import MakeRun, go, made, visit

__all__ = ["visit"]  # a fixture

PASSWORD = "correct horse battery"


@pytest.fixture
def make_run(walked: "Walked") -> Iterator[MakeRun]:
    with made(walked.scenario) as running:
        yield running


def run_a_cell(page: Page, name: str) -> None:
    """In JupyterLab: a new notebook from the launcher, one cell, its answer. The kernel speaks through a WebSocket."""
    page.get_by_title("Python 3 (ipykernel)").first.click(timeout=240_000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=240_000)
    cell = page.locator(".jp-Notebook .jp-Cell .cm-content").first
    cell.click(timeout=240_000)
    page.keyboard.type("import socket; print('from', socket.gethostname(), 6 * 7)")
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").first).to_contain_text(f"from {name} 42", timeout=240_000)


def run_a_command(page: Page, name: str) -> None:
    """In the web terminal: a line is typed, and answered by the machine's own shell."""
    expect(page.get_by_text(f"@{name}:")).to_be_visible(timeout=240_000)
    page.keyboard.type('echo "from $(hostname) $((6 * 7))"')
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"from {name} 42")).to_be_visible(timeout=240_000)


@dataclass(frozen=True)
class Walked:
    """With which scenario the path is walked: its class, what a person does in its application, and by what one sees that it is open."""

    scenario: Path
    class_name: str
    use: Callable[[Page, str], None]
    shows: str


NOTEBOOK = Walked(REPOSITORY / "playbooks/scenarios/notebook", "notebook", run_a_cell, "#jp-main-dock-panel")
TERMINAL = Walked(REPOSITORY / "tests/scenarios/terminal", "terminal", run_a_command, "#vt100")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The product's own scenario where this path is what is asked for."""
    walked = NOTEBOOK if metafunc.config.getoption("markexpr") == "firstpath" else TERMINAL
    metafunc.parametrize("walked", [walked], ids=[walked.class_name])


@pytest.mark.alone  # a browser breaks off what is on its way when a network appears on its host, as other tests' do
@pytest.mark.firstpath
@pytest.mark.timeout(1800)
def test_from_make_run_to_an_open_application_and_a_clean_machine_in_its_place(
    walked: Walked, make_run: MakeRun, visit: Callable[[MakeRun], BrowserContext]
) -> None:
    make_run.start(300)
    # The wizard, behind the setup code.
    ada = visit(make_run).new_page()
    steps.set_up(ada, make_run.setup_code, "ada", PASSWORD, "The lab", pools={walked.class_name: (1, 3)})
    # The seed is built, and its progress moves by itself.
    expect(ada.get_by_text(re.compile(r"Task \d+ of \d+"))).to_be_visible(timeout=120_000)
    first = ada.get_by_text(re.compile(r"Task \d+ of \d+")).inner_text()
    expect(ada.get_by_text(first, exact=True)).to_have_count(0, timeout=300_000)
    assert not (make_run.state / "setup-code").exists()
    steps.add_account(ada, "nina", PASSWORD)
    ada.goto("/setup/progress")
    expect(ada.get_by_role("heading", name="The appliance is ready")).to_be_visible(timeout=900_000)

    # A user signs in, and the button tells by itself when a machine is ready.
    hers = visit(make_run)
    nina = hers.new_page()
    steps.sign_in(nina, "nina", PASSWORD)
    nina.goto("/")
    expect(steps.offer(nina, walked.class_name).get_by_text("1 ready, yours at once")).to_be_visible(timeout=600_000)
    steps.get_machine(nina, walked.class_name)
    card = steps.held(nina)
    address = steps.open_address(card)
    name = card.locator(".mono").inner_text()

    # It opens in the browser, and does what it is asked to.
    with hers.expect_page() as opened:
        card.get_by_role("link", name="Open").click()
    walked.use(opened.value, name)

    # Nobody else gets in: a stranger has to sign in, another user is refused, an admin is let in and recorded.
    stranger = visit(make_run).new_page()
    stranger.goto(address)
    expect(stranger).to_have_url(re.compile(r"/sign-in\?next="))
    steps.add_account(ada, "otto", PASSWORD)
    otto = visit(make_run).new_page()
    steps.sign_in(otto, "otto", PASSWORD)
    answer = otto.goto(address)
    assert answer.status == 403
    assert ada.goto(address).status == 200
    ada.goto("/admin/events")
    expect(ada.get_by_text(f"Admin ada opened the application of {name}.")).to_be_visible()

    # Ctrl-C ends everything; the second start takes seconds and finds everything as it was.
    make_run.interrupt()
    assert "stopped." in make_run.said
    assert make_run.processes() == []
    seconds = make_run.start(60)
    assert seconds < 30
    assert "Setup code" not in make_run.said
    go(nina, "/")
    card = steps.held(nina)
    assert steps.open_address(card) == address
    again = hers.new_page()
    go(again, address)
    expect(again.locator(walked.shows)).to_be_visible(timeout=300_000)

    # Given back, it is gone, and a clean one takes its place.
    steps.give_back(nina, card)
    expect(steps.held(nina)).to_have_count(0)
    expect(steps.offer(nina, walked.class_name).get_by_text("1 ready, yours at once")).to_be_visible(timeout=600_000)
    assert nina.goto(address).status == 403
    ada.goto(f"/admin/machines?text={name}&retired=yes")
    expect(ada.get_by_role("row", name=re.compile(name))).to_contain_text("retired")
    steps_before = name
    nina.goto("/")
    steps.get_machine(nina, walked.class_name)
    steps.open_address(steps.held(nina))
    assert steps.held(nina).locator(".mono").inner_text() != steps_before
