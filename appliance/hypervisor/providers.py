"""Which provider runs the machines: the one that the setting `provider` names among the entry points of the group `dpe.providers`."""

from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, cast

from appliance.errors import BadInput
from appliance.hypervisor.provider import Provider, Service
from appliance.settings import Settings

GROUP = "dpe.providers"
SHIPPED = {  # there, too, where the appliance was copied and not installed
    "libvirt": "appliance.hypervisor.libvirt",
}


class Plugin(Protocol):
    """What an entry point names: a module, as a rule."""

    def connect(self, settings: Settings) -> Provider: ...

    def service(self, settings: Settings) -> Service | None:
        """The process that the provider needs beside the engine; None when it needs none."""


def open_provider(settings: Settings) -> Provider:
    """The provider that the settings name. Raises BadInput when there is none of that name, or when it cannot be loaded."""
    return _plugin(settings).connect(settings)


def provider_service(settings: Settings) -> Service | None:
    """The process which that provider needs. Raises BadInput as `open_provider` does."""
    return _plugin(settings).service(settings)


def _plugin(settings: Settings) -> Plugin:
    shipped = (EntryPoint(name, module, GROUP) for name, module in SHIPPED.items())
    known = {point.name: point for point in (*shipped, *entry_points(group=GROUP))}
    if settings.provider not in known:
        raise BadInput(f"There is no provider {settings.provider!r}.", f"Set DPE_PROVIDER to one of these: {', '.join(sorted(known))}.")
    try:
        return cast(Plugin, known[settings.provider].load())
    except (ImportError, AttributeError) as error:
        raise BadInput(
            f"The provider {settings.provider} cannot be loaded: {error}", "Repair or remove the package that brings it."
        ) from error
