from __future__ import annotations

from typing import Iterator

import pytest

import clew
from clew.runs import sampling as run_module
from tests.runs._watching import Watching


@pytest.fixture
def watching() -> Iterator[Watching]:
    watching = Watching()
    on_start, on_end = watching.on_start, watching.on_end  # the very objects that are removed again
    run_module.add_start_hook(on_start)
    run_module.add_end_hook(on_end)
    yield watching
    run_module.remove_start_hook(on_start)
    run_module.remove_end_hook(on_end)
    assert clew.get_current_run_tree() is None


@pytest.fixture
def runs() -> Iterator[clew.Recording]:
    with clew.record() as recording:
        yield recording
    assert clew.get_current_run_tree() is None
