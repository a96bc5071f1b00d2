"""Which reverse proxies are trusted, from the page Server. The file is root's: who has taken over the web process can at most ask, and is recorded."""

from appliance.access import proxies
from appliance.catalog import Actor, EventKind
from appliance.host.interface import access
from appliance.host.rpc.registry import Host, implements
from appliance.host.rpc.verb import Nothing
from appliance.host.system import events


@implements(access.PROXIES)
def get(args: Nothing, host: Host) -> list[str]:
    """The proxies that are trusted."""
    return proxies.trusted(host.settings)


@implements(access.SET_PROXIES)
def set_trusted(args: access.Proxies, host: Host) -> list[str]:
    """Trust these and no others. Raises BadInput with the line that is wrong; nothing is changed then."""
    after, before = proxies.check_proxies(args.proxies, host.settings), proxies.trusted(host.settings)
    if after != before:
        proxies.trust(host.settings, after)
        said = f"{host.by or 'Somebody'} had the page trust {', '.join(after) if after else 'no reverse proxy'}."
        events.record_event(host.settings, EventKind.PROXIES_CHANGED, said, actor=Actor(host.by or "dpe-host"))
    return after
