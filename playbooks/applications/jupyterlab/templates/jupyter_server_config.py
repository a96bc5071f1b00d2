import random
import signal
from pathlib import Path


def renew(*_):
    """A fork shares all that was in the memory of its snapshot; fork.d/jupyterlab has this make its own of it."""
    from jupyter_server.serverapp import ServerApp

    app = ServerApp.instance()
    Path(app.cookie_secret_file).unlink(missing_ok=True)
    app.web_app.settings["cookie_secret"] = app.cookie_secret = app._default_cookie_secret()
    random.seed()


signal.signal(signal.SIGUSR2, renew)  # Jupyter uses the other one

# Who may come in is decided before: the machines' network lets only the appliance's front door reach this
# port, and the front door lets only the owner through. A token here would be a second lock with no key.
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = {{ application.port }}
c.ServerApp.port_retries = 0
c.IdentityProvider.token = ""
c.PasswordIdentityProvider.hashed_password = ""
# By default its name has the port in it, and cookies know no ports: each machine would leave one behind for thirty days.
c.IdentityProvider.cookie_name = "jupyter"

# The front door passes Host through, so the browser's Origin equals it, and Jupyter's own check of Origin
# for WebSockets and its XSRF cookie for the rest keep pages of other sites out. Nothing of that is loosened here.
c.ServerApp.allow_remote_access = True
c.ServerApp.trust_xheaders = True

c.ServerApp.root_dir = "/home/{{ spec.user }}"
c.ServerApp.open_browser = False
c.ServerApp.quit_button = False
c.ServerApp.terminals_enabled = {{ application.options.terminal }}
c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", "--login"]}

# There is no network outside: what asks there would only wait.
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.LabApp.news_url = None
c.LabApp.extension_manager = "readonly"
c.ServerApp.jpserver_extensions = {"jupyter_lsp": False}
