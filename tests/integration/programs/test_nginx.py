""""""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.access import machine_names, nginx, published
from appliance.access.published import Published
from appliance.errors import CommandFailed
from appliance.run import run
from appliance.settings import Settings


@pytest.mark.parametrize("listen", ["127.0.0.1", "::1"])
def test_nginx_itself_takes_it(settings: Settings, listen: str) -> None:
    settings = replace(settings, listen=listen, https_port=17043, app_port=17100)
    published.publish(
        settings, [Published("www.example.org", path, service) for path, service in (("/", "shop"), ("/wiki/", "wiki"), ("/app", "app"))]
    )
    machine_names.serve(settings, "dpe.example.org")
    file = nginx.write_configuration(settings, Path("/house"))
    assert "server_name" in file.read_text()
    run(["nginx", "-t", "-c", file, "-e", "stderr"])
    file.write_text(file.read_text().replace("proxy_redirect off", "proxy_redirekt off"))
    with pytest.raises(CommandFailed, match="proxy_redirekt"):
        run(["nginx", "-t", "-c", file, "-e", "stderr"])


@pytest.mark.cases
def test_a_reload_is_asked_for_when_something_changed_and_only_then(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    house = Path("/house")
    assert nginx.changed(settings, house)
    nginx.write_configuration(settings, house)
    assert not nginx.changed(settings, house)
    assert nginx.changed(replace(settings, listen="127.0.0.1"), house)
    machine_names.serve(settings, "dpe.example.org")
    assert nginx.changed(settings, house)
    machine_names.serve(settings, "")
    assert not nginx.changed(settings, house)
    (settings.tls / "appliance.crt").unlink()  # another is made in its place
    assert nginx.changed(settings, house)
    nginx.write_configuration(settings, house)
    assert not nginx.changed(settings, house)


@pytest.mark.cases
def test_what_is_asked_answers_by_its_status(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nginx, "load_settings", lambda: settings)
    monkeypatch.setattr("sys.argv", ["nginx", "--changed"])
    with pytest.raises(SystemExit) as changed:
        nginx.main()
    monkeypatch.setattr("sys.argv", ["nginx"])
    nginx.main()
    monkeypatch.setattr("sys.argv", ["nginx", "--changed"])
    with pytest.raises(SystemExit) as same:
        nginx.main()
    (settings.tls / "own.crt").write_text("nonsense")
    with pytest.raises(SystemExit) as broken:
        nginx.main()
    # systemd skips the reload for 1 to 254, and takes 255 for a failure.
    assert (changed.value.code, same.value.code, broken.value.code) == (0, 1, 255)
