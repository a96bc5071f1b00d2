"""What all tiers share: options of the command line, and that files are made for others to read, whatever the shell that started them wants."""

import os

import pytest

os.umask(0o022)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--regenerate", action="store_true", help="write the golden files anew instead of comparing with them")
