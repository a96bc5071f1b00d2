"""What a seed's page tells of what is in it: two of a class compared by their packages, and what its machine showed."""

import re

from appliance.catalog import Seed
from appliance.settings import Settings
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


def test_what_the_machine_showed_in_the_test_boot_stands_on_the_page(grace: Browser, opened: Settings) -> None:
    newest = Seed.get(Seed.machine_class == "notebook", Seed.version == 2)
    page = " ".join(re.sub(r"<.*?>", " ", grace.get(f"/admin/seeds/{newest.id}").text.split('id="seen"')[1].split("</section>")[0]).split())
    for words in ("test boot, 2 Mar", "Notebook 8888 /lab", "200 JupyterLab JupyterLab needs JavaScript.", "10.0.0.2:4200 does not answer"):
        assert words in page
    assert grace.get(f"/admin/seeds/{newest.id}/screen").status_code == 404

    hostile = {"title": "<b>x", "port": 80, "path": "/", "status": 500, "name": "<script>", "text": "{{ 6 * 7 }}"}
    drawn = world.seed("notebook", 4, manifest={"seen": {**world.SEEN, "pages": [hostile], "picture": True}})
    assert "/screen" not in grace.get(f"/admin/seeds/{drawn.id}").text, "its file is not there"
    (opened.seeds / "notebook/4").mkdir(parents=True)
    (opened.seeds / "notebook/4/screen.png").write_bytes(b"\x89PNG")
    page = grace.get(f"/admin/seeds/{drawn.id}").text
    assert f'src="/admin/seeds/{drawn.id}/screen"' in page
    assert "&lt;script&gt;" in page
    assert "{{ 6 * 7 }}" in page
    with grace.get(f"/admin/seeds/{drawn.id}/screen") as answer:
        assert (answer.data, answer.mimetype) == (b"\x89PNG", "image/png")
