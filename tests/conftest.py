from __future__ import annotations

import gc
from typing import Iterator

import pytest


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Switch the cyclic collector off, so that only what has no cycle and no owner goes away."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
