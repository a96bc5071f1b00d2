"""What axe-core finds on a page: https://github.com/dequelabs/axe-core, of which a release lies beside this as it was published."""

from functools import cache
from pathlib import Path

from playwright.sync_api import Page

[FOLDER] = Path(__file__).parent.glob("axe-core-*")

RUN = """async only => {
  const found = await axe.run(document, { resultTypes: ['violations'], ...(only.length && { runOnly: only }) });
  return found.violations.flatMap(rule => rule.nodes.map(node => `axe ${rule.impact} ${rule.id}: ${node.target.join(' ')}`));
}"""
COLOURS = ("color-contrast", "link-in-text-block")  # the rules that a page may keep in the one light and break in the other


@cache
def _source() -> str:
    return (FOLDER / "axe.min.js").read_text()


def findings(page: Page, *only: str) -> list[str]:
    """What is wrong with a page as it is now, of any impact: by all rules, or by those that are named."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_source())
    found: list[str] = page.evaluate(RUN, list(only))
    return found
