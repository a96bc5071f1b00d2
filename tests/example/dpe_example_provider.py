"""dpe.providers: what runs the machines, when the setting `provider` is `example`. This one stands before libvirt; another would implement
`hypervisor.provider.Provider` and inherit the tests in tests/unit/hypervisor/conformance.py."""

from dataclasses import replace

from appliance.hypervisor import providers
from appliance.hypervisor.provider import Provider, Service
from appliance.settings import Settings


def _libvirt(settings: Settings) -> Settings:
    return replace(settings, provider="libvirt")


def connect(settings: Settings) -> Provider:
    return providers.open_provider(_libvirt(settings))


def service(settings: Settings) -> Service | None:
    return providers.provider_service(_libvirt(settings))
