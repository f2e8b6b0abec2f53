"""Run cases by hand: ``python -m tests.fuzz 17`` for one, ``python -m tests.fuzz 0-2000`` for many, and print each.

``--keep FOLDER`` leaves the files of a single case in a folder.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from tests.fuzz.running import Fuzzer


def main() -> None:
    """Run the requested cases; the exit code is 1 if a case fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("cases", help="a number, or FIRST-END")
    parser.add_argument("--keep", type=Path, help="an empty folder for the files of the one case")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios whose name holds a text")
    options = parser.parse_args()
    first, _, end = options.cases.partition("-")
    seeds = range(int(first), int(end or int(first) + 1))
    failed = 0
    with Fuzzer(only=options.only, keep=options.keep) as fuzzer:
        for failure in fuzzer.run(seeds):
            failed += 1
            print(f"{failure}\n", flush=True)  # noqa: T201
        for name, seconds in sorted(fuzzer.seconds.items(), key=lambda item: -statistics.mean(item[1])):
            print(f"{statistics.mean(seconds):6.2f} s x {len(seconds):4} {name}")  # noqa: T201
    print(f"{failed} of {len(seeds)} cases failed; exit codes {fuzzer.codes}")  # noqa: T201
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
