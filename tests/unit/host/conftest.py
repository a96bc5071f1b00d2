"""Fixtures of dpe-host's unit tests."""

from tests.fake_rauc import fake_host

__all__ = ["fake_host"]
