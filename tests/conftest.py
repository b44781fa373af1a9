from __future__ import annotations

import gc
import logging
import logging.handlers
import queue
import signal
from typing import Iterator

import pytest

from clew.runs._tree.hooks import is_enabled, set_enabled
from clew.runs._tree.kept.hiding import hiding
from clew.runs._tree.settings import settings

# Other people's suites run when they are named: `pytest tests/suites`, or the nox session `suites`.
collect_ignore = ["suites"]


@pytest.fixture(autouse=True, scope="module")
def collector_of_what_is_new() -> Iterator[None]:
    """Have the collector look at what a file's tests make: with all that is imported by now, it takes seconds."""
    if not hasattr(gc, "freeze"):  # PyPy
        yield
        return
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True, scope="session")
def nothing_to_say_at_exit() -> Iterator[None]:
    """
    Collect everything that the tests have left, and fail if asyncio has to log something about it.

    Without this, asyncio would log it when the interpreter exits, below pytest's last line.
    """
    yield
    if hasattr(gc, "unfreeze"):
        gc.unfreeze()
    handler = logging.handlers.QueueHandler(queue.SimpleQueue())
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    try:
        gc.collect()
    finally:
        logger.removeHandler(handler)
    assert handler.queue.empty(), handler.queue.get().getMessage()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the cyclic collector off, so that only what has no cycle and no owner goes away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def settings_as_they_were() -> Iterator[None]:
    """Put back what was said of all runs of the process."""
    before, was_enabled = {name: getattr(settings, name) for name in ("resource", "sampler")}, is_enabled()
    hidden = {name: getattr(hiding, name) for name in ("names", "inputs", "outputs", "metadata", "redact")}
    yield
    hiding.change(hidden)
    for name, value in before.items():
        setattr(settings, name, value)
    set_enabled(was_enabled)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have Python's own handler for Ctrl-C, which a process that was started in the background has not."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
