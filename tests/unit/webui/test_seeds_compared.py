"""Two seeds of a class, compared by what is in them."""

import re

from appliance.catalog import Seed
from tests import world
from tests.unit.webui.conftest import Browser


def test_two_seeds_are_compared_by_their_packages(grace: Browser) -> None:
    first = Seed.get(Seed.machine_class == "notebook", Seed.version == 1)
    second = Seed.get(Seed.machine_class == "notebook", Seed.version == 2)
    assert "The same packages, in the same versions." in grace.get(f"/admin/seeds/{second.id}").text
    packages = {**world.PACKAGES, "git": "1:2.50", "nano": "8.4"}
    del packages["less"]
    newer = world.seed("notebook", 4, manifest={"packages": packages})
    page = grace.get(f"/admin/seeds/{newer.id}").text
    assert "Packages against v2" in page
    table = page.split('id="compare"')[1].split("</section>")[0]
    rows = [re.sub(r"<.*?>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", table)][1:]
    assert rows == [["git", "changed", "1:2.47.3-0", "1:2.50"], ["less", "removed", "668-1", "–"], ["nano", "added", "–", "8.4"]]
    assert "Packages against v1" in grace.get(f"/admin/seeds/{newer.id}?with={first.id}").text
    assert "Packages against v4" in grace.get(f"/admin/seeds/{first.id}?with={newer.id}").text
    studio = Seed.get(Seed.machine_class == "studio", Seed.version == 1)
    assert "Packages against v2" in grace.get(f"/admin/seeds/{newer.id}?with={studio.id}").text, "of another class none is"
    assert "Packages against" not in grace.get(f"/admin/seeds/{studio.id}").text, "there is no other"
