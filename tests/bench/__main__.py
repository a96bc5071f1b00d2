"""`python -m tests.bench [--smallest] [NAME]`: run the benchmarks, or one, and print one JSON object a line.

A benchmark is a module of this folder with a function `run()` that yields dictionaries: name, value, unit,
baseline, baseline_value and ratio, which says how many times better the value is than the baseline's,
both measured in this run. Times are in seconds. Its SMALLEST are the module's constants at the smallest size that still
shows what a result looks like: `test_shape.py` runs each so, as the figures of a busy machine say nothing.
"""

import importlib
import json
import sys
from pathlib import Path

NAMES = sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py") if not file.stem.startswith("test_"))
KEYS = ("name", "value", "unit", "baseline", "baseline_value", "ratio")


def main() -> None:
    smallest = "--smallest" in sys.argv
    asked = [name for name in sys.argv[1:] if name != "--smallest"] or NAMES
    if unknown := set(asked) - set(NAMES):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. There are: {', '.join(NAMES)}.")
    for name in asked:
        module = importlib.import_module(f"tests.bench.{name}")
        if smallest:
            vars(module).update(module.SMALLEST)
        for result in module.run():
            print(json.dumps({key: result[key] for key in KEYS}), flush=True)


if __name__ == "__main__":
    main()
