"""
What the examples set for the whole process, put back after each.
"""

from __future__ import annotations

import logging
from typing import Iterator, List

import pytest

import clew


def loggers() -> List[logging.Logger]:
    return [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]


@pytest.fixture(autouse=True)
def process_as_it_was(settings_as_they_were: None) -> Iterator[None]:
    """Put back the configured exporter, the root logger's handlers and level, and what is disabled or filtered."""
    handlers, level = list(logging.root.handlers), logging.root.level
    before = {logger: (logger.disabled, list(logger.filters)) for logger in loggers()}
    yield
    clew.configure(exporter=None)
    for logger in loggers():
        logger.disabled, logger.filters[:] = before.get(logger, (False, []))
    for handler in logging.root.handlers:
        if handler not in handlers:
            handler.close()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
