"""`python -m tests.bench [NAME]`: run the benchmarks, or one, and print one JSON object a line.

A benchmark is a module of this folder with a function `run()` that yields dictionaries: name, value, unit,
baseline, baseline_value and ratio, which says how many times better the value is than the baseline's,
both measured in this run. Times are in seconds.
"""

import importlib
import json
import sys
from pathlib import Path

NAMES = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))
KEYS = ("name", "value", "unit", "baseline", "baseline_value", "ratio")


def main() -> None:
    asked = sys.argv[1:] or NAMES
    if unknown := set(asked) - set(NAMES):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
    for name in asked:
        for result in importlib.import_module(f"tests.bench.{name}").run():
            print(json.dumps({key: result[key] for key in KEYS}), flush=True)


if __name__ == "__main__":
    main()
