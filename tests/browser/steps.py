"""What a person does on the pages, in one place: a changed page changes here, not in every test."""

from playwright.sync_api import Locator, Page, expect

from tests import world

MOST_TABS = 150


def sign_in(page: Page, name: str, password: str = world.PASSWORD) -> None:
    """From anywhere: sign in and be where the page leads."""
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.wait_for_load_state()  # what the page's script listens to (Ctrl-K) is heard from here on


def until_live(page: Page) -> None:
    """What a test changes behind the page without an event is seen from here on; before, the page would learn of it with the next event only."""
    expect(page.locator("#live-dot")).to_have_attribute("data-state", "live")


def tab_to(page: Page, target: Locator) -> None:
    """Get there as one does without a mouse, from wherever the focus is."""
    for _ in range(MOST_TABS):
        if target.evaluate("one => one === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{target} is not reached by the keyboard")


def key(page: Page, target: Locator) -> None:
    """Get there and press it, without a mouse."""
    tab_to(page, target)
    page.keyboard.press("Enter")


def sign_out(page: Page) -> None:
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()


def set_up(page: Page, code: str, name: str, password: str, title: str, *, pools: dict[str, tuple[int, int]] | None = None) -> None:
    """The whole wizard, to the page on which seeds are built. `pools` is, per class, (buffer, maximum)."""
    page.goto("/")
    page.get_by_label("Setup code").fill(code)
    page.get_by_role("button", name="Begin").click()
    page.get_by_label("Name to sign in with").fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_label("The same password again").fill(password)
    next_step(page, "Appliance")
    page.get_by_label("Name of the appliance").fill(title)
    next_step(page, "Pools")
    for class_name, (buffer, maximum) in (pools or {}).items():
        page.locator(f"#f-buffer-{class_name}").fill(str(buffer))
        page.locator(f"#f-maximum-{class_name}").fill(str(maximum))
    next_step(page, "Directory")
    next_step(page, "Hardware")
    next_step(page, "Review")
    page.get_by_role("button", name="Finish and build").click()
    expect(page).to_have_url(f"{page.url.split('/setup')[0]}/setup/progress")


def next_step(page: Page, heading: str) -> None:
    page.get_by_role("button", name="Next").last.click()
    expect(page.get_by_role("heading", name=heading)).to_be_visible()


def add_account(page: Page, name: str, password: str) -> None:
    """An admin makes an account and hands over the link, by which its person chooses the password: here in the admin's own browser."""
    page.goto("/admin/accounts/new")
    page.get_by_label("Name to sign in with").fill(name)
    page.get_by_role("button", name="Create account").click()
    set_password(page, page.get_by_label("The link", exact=True).input_value(), name, password)


def set_password(page: Page, link: str, name: str, password: str) -> None:
    """Open the link that one was given, and choose a password."""
    page.goto(link)
    expect(page.get_by_label("Name to sign in with")).to_have_value(name)
    page.get_by_label("New password").fill(password)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_text("Your password is set.")).to_be_visible()


def offer(page: Page, class_name: str) -> Locator:
    """The card of a class on the portal."""
    return page.locator(f"#offer-{class_name}")


def get_machine(page: Page, class_name: str) -> None:
    """Press the big button of a class."""
    offer(page, class_name).locator("button.get").click()


def held(page: Page) -> Locator:
    """The cards of the machines that the person holds."""
    return page.locator("article.held")


def open_address(card: Locator) -> str:
    """Where the Open button of a held machine leads, as soon as it can be pressed."""
    link = card.get_by_role("link", name="Open")
    expect(link).to_be_visible(timeout=600_000)
    address = link.get_attribute("href")
    assert address
    return address


def give_back(page: Page, card: Locator) -> None:
    """Give a machine back, through the question whether one is sure."""
    card.get_by_role("button", name="Give back").click()
    page.locator("dialog#confirm").get_by_role("button", name="Destroy it").click()
