"""The REST API, version 1, as JSON. Errors are problem details (RFC 9457).

A program sends `Authorization: Bearer TOKEN`; a browser that is signed in may ask too, and then needs the CSRF token to change anything.
"""

from webui.api import admin as admin  # the calls of these register themselves
from webui.api import described as described
from webui.api import disks as disks
from webui.api import host as host
from webui.api import mine as mine
from webui.api import scenario as scenario
from webui.api import server as server
from webui.api import settings as settings
from webui.api import signins as signins
from webui.api import stream as stream
from webui.api import webhooks as webhooks
from webui.api.operation import SCOPES as SCOPES
from webui.api.operation import blueprint as blueprint
