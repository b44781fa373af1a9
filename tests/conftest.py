from __future__ import annotations

import gc
import signal
from typing import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the cyclic collector off, so that only what has no cycle and no owner goes away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Have Python's own handler for Ctrl-C, which a process that was started in the background has not."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
