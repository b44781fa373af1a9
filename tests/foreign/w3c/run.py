"""
Run W3C's trace-context suite against both services: `python -m tests.foreign.w3c.run DIRECTORY`.

The directory is a checkout of the suite. It is run once for each way to make a call, at both levels of strictness and
at both levels of the Recommendation, and all its tests have to pass.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Dict, Optional, Tuple

from tests.foreign.w3c.serve import serving_all

PUBLISHED = "github.com/w3c/trace-context"
DEADLINE = 120  # seconds, for one run of some 40 tests
# How many tests there were when this was written, at any level; fewer mean that it was not the suite that has run.
LEAST_TESTS = 41


def find_suite(directory: str) -> Path:
    """Return the suite's script in a checkout, or exit and say where there is one."""
    for script in (Path(directory, "test", "test.py"), Path(directory, "test.py")):
        if script.is_file() and (script.parent / "tracecontext").is_dir():
            return script.resolve()
    sys.exit(f"expected a checkout of W3C's trace-context suite in {directory!r}, found none; it is at {PUBLISHED}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run(script: Path, address: str, levels: Dict[str, str]) -> Tuple[Optional[int], int, str]:
    """Return how many tests have passed, how many the level leaves out, and the output; None if any has failed."""
    done = subprocess.run(
        [sys.executable, str(script), address],
        cwd=script.parent,
        env={**os.environ, **levels, "HARNESS_PORT": str(free_port()), "HARNESS_DEBUG": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    found = re.search(r"^Ran (\d+) tests? in .*\s+^OK(?: \(skipped=(\d+)\))?$", output, re.MULTILINE)
    if done.returncode or found is None or int(found[1]) < LEAST_TESTS:
        return None, 0, output
    skipped = int(found[2] or 0)
    return int(found[1]) - skipped, skipped, output


def main(directory: str) -> int:
    script = find_suite(directory)
    failures = 0
    with serving_all() as addresses:
        for (name, address), strict, spec in product(addresses.items(), "12", "12"):
            passed, skipped, output = run(script, address, {"STRICT_LEVEL": strict, "SPEC_LEVEL": spec})
            what = f"{name}, strictness {strict}, level {spec}"
            if passed is None:
                failures += 1
                print(f"{what}: FAILED", output, sep="\n", flush=True)
            else:
                print(f"{what}: {passed} passed, {skipped} left out by the level", flush=True)
    print("some have failed" if failures else "all have passed")
    return failures


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"expected the directory of a checkout of W3C's trace-context suite, which is at {PUBLISHED}")
    sys.exit(min(main(sys.argv[1]), 1))
