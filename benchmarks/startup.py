"""Start-up time of the command line, compared with an empty interpreter.

python -m benchmarks.startup [--rounds 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CASES = {
    "python -c pass": "pass",
    "import datasetkit": "import datasetkit",
    "datasetkit --help": "import sys; sys.argv = ['datasetkit', '--help']; from datasetkit.cli import main; main()",
}


def seconds(code: str) -> float:
    """Run one new interpreter and return its wall time."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Run the cases in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    times = [{name: seconds(code) for name, code in CASES.items()} for _ in range(rounds + 1)][1:]
    print(f"median of {rounds} rounds after one warm-up")
    for name in CASES:
        median = statistics.median(row[name] for row in times)
        ratio = statistics.median(row[name] / row["python -c pass"] for row in times)
        print(f"{name:20} {median:6.3f} s   {ratio:5.1f} times an empty interpreter")


if __name__ == "__main__":
    main()
