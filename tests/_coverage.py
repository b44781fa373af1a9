"""
Measure coverage in the workers of pytest-xdist, which `coverage run` does not reach: `pytest -p tests._coverage`.

pytest loads this before any plugin that imports clew.
"""

from __future__ import annotations

import coverage
import pytest

measured = coverage.Coverage()
measured.start()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    measured.stop()
    measured.save()
