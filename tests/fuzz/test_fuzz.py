"""Damaged inputs: whatever a file contains, a command ends with exit code 0 to 3, and one line if it fails.

DATASETKIT_FUZZ_CASES is the number of cases, with seeds from 0; ``python -m tests.fuzz`` runs any of them.
"""

from __future__ import annotations

import os

import pytest

from tests.fuzz.running import Fuzzer

CASES = int(os.environ.get("DATASETKIT_FUZZ_CASES", "60"))


@pytest.mark.slow
def test_commands_bear_whatever_files_hold() -> None:
    with Fuzzer() as fuzzer:
        failures = list(fuzzer.run(range(CASES)))
        codes = fuzzer.codes
    assert not failures, "\n\n".join(map(str, failures))
    # Files are spoilt so that most commands still work with them, and many do not.
    assert codes[0] > CASES / 3
    assert codes[1] > CASES / 10
