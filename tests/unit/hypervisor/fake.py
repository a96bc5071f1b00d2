"""What stands for libvirt where its own test driver has no such verb."""

import libvirt


def libvirt_error(code: int, message: str, domain: int = libvirt.VIR_FROM_QEMU) -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, None, None, None, 0, 0)
    return error


class FakeDomain:
    def __init__(self, name: str, xml: str = "<domain/>") -> None:
        self._name, self._xml = name, xml

    def name(self) -> str:
        return self._name

    def XMLDesc(self) -> str:
        return self._xml
