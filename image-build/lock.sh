#!/bin/sh
# Resolves the Python packages anew, for every Python from 3.11 on, with the hash of each file.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { .venv/bin/python -m pip install --quiet uv && PATH="$PWD/.venv/bin:$PATH"; }
compile() { uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --python-version 3.11 "$@"; }
export UV_CUSTOM_COMMAND="make lock"
compile pyproject.toml -o requirements.lock
compile --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
echo 'setuptools>=77' | compile - -o requirements-build.lock
