from __future__ import annotations

from typing import Iterator

import pytest

import clew
from clew.runs._tree import hooks
from tests.runs._watching import Watching


@pytest.fixture
def watching() -> Iterator[Watching]:
    watching = Watching()
    on_start, on_end = watching.on_start, watching.on_end  # the very objects that are removed again
    hooks.add_start_hook(on_start)
    hooks.add_end_hook(on_end)
    yield watching
    hooks.remove_start_hook(on_start)
    hooks.remove_end_hook(on_end)
    assert clew.get_current_run_tree() is None


@pytest.fixture
def runs() -> Iterator[clew.Recording]:
    with clew.record() as recording:
        yield recording
    assert clew.get_current_run_tree() is None
