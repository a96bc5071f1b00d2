"""`python -m appliance.balance`: write HAProxy's configuration, before it is started. Without a catalog it has no services, and comes up."""

import sys

from appliance import catalog
from appliance.balance import haproxy, wanted
from appliance.catalog import replicas
from appliance.errors import DpeError
from appliance.settings import load as load_settings

if __name__ == "__main__":
    settings = load_settings()
    try:
        catalog.attach(settings.catalog)
        classes = replicas.classes()
        haproxy.write_configuration(settings, wanted.services(classes), wanted.members(classes, settings))
    except DpeError as error:
        print(f"haproxy: {error}", file=sys.stderr)
        haproxy.write_configuration(settings, [], {})
