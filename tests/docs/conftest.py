"""
What the examples set for the whole process, put back after each.
"""

from __future__ import annotations

import logging
from typing import Iterator

import pytest

from clew.runs.sampling import settings


@pytest.fixture(autouse=True)
def process_as_it_was() -> Iterator[None]:
    """Put back what is said of all runs, and which handlers there are."""
    said = {name: getattr(settings, name) for name in ("project_name", "sampler", "service")}
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    for name, value in said.items():
        setattr(settings, name, value)
    for handler in logging.root.handlers:
        if handler not in handlers:
            handler.close()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
