"""What all tiers share: options of the command line, that files are made for others to read, whatever the shell that started them wants,
that what hypothesis tries may take as long as the machine needs, and that what was collected is looked through for garbage once."""

import gc
import os

import hypothesis
import pytest

os.umask(0o022)
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew instead of comparing with them")


def pytest_collection_finish() -> None:
    """Thousands of tests are kept to the end: what looks for garbage need not go through them again and again."""
    gc.collect()
    gc.freeze()
