"""
What the tests that run somebody else's suite share: what to do without one, and its surroundings.
"""

from __future__ import annotations

import os
from typing import Dict, NoReturn

import pytest


def go_without(what: str) -> NoReturn:
    if os.environ.get("CLEW_REQUIRE_FOREIGN_SUITES") == "1":
        pytest.fail(f"{what}; CLEW_REQUIRE_FOREIGN_SUITES=1 allows nothing to be missing")
    pytest.skip(what)


def untraced_environment() -> Dict[str, str]:
    """Return the environment without coverage: a tracer in the suite's interpreters would write to their output."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
