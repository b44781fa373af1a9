"""
LangSmith's own `traceable` through the executor: the real SDK, and a client that keeps what it would send.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterator, List, Type

import pytest

if sys.version_info >= (3, 15) or sys.implementation.name == "pypy":
    pytest.skip("needs langsmith, whose own needs have no release for 3.15 and PyPy yet", allow_module_level=True)

import langsmith
from langsmith import traceable, utils
from langsmith.run_helpers import get_current_run_tree

from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, in_empty_context, settle


class KeepingClient(langsmith.Client):
    """Be LangSmith's client up to the point where it would send."""

    def __init__(self) -> None:
        super().__init__(api_url="http://127.0.0.1:9", api_key="none", auto_batch_tracing=False, info={})
        self.created: List[Dict[str, Any]] = []

    def create_run(self, name: str, inputs: Any, run_type: Any, **fields: Any) -> None:
        self.created.append({"name": name, **fields})

    def update_run(self, run_id: Any, **fields: Any) -> None:
        pass


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[KeepingClient]:
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    utils.get_env_var.cache_clear()
    yield KeepingClient()
    monkeypatch.undo()
    utils.get_env_var.cache_clear()


def submit(pool: Executor, step: Callable[[int], int]) -> None:
    assert [pool.submit(step, number).result(DEADLINE) for number in range(3)] == [1, 2, 3]


def map_(pool: Executor, step: Callable[[int], int]) -> None:
    assert list(pool.map(step, range(3))) == [1, 2, 3]


def callback(pool: Executor, step: Callable[[int], int]) -> None:
    go = threading.Event()
    for number in range(3):
        pool.submit(go.wait, DEADLINE).add_done_callback(lambda _, number=number: step(number))
    go.set()


def run_request(pool_class: Type[Executor], client: KeepingClient, use: Callable[..., None]) -> None:
    @traceable(name="step", client=client)
    def step(number: int) -> int:
        assert get_current_run_tree() is not None
        return number + 1

    @traceable(name="request", client=client)
    def request() -> None:
        with pool_class(1) as pool:  # type: ignore[call-arg]
            settle(pool)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
            use(pool, step)

    in_empty_context(request)


WAYS = pytest.mark.parametrize("use", [submit, map_, callback])


@WAYS
def test_bare_pool_splits_langsmiths_trace(client: KeepingClient, use: Callable[..., None]) -> None:
    run_request(ThreadPoolExecutor, client, use)
    assert len(client.created) == 4
    assert len({run["trace_id"] for run in client.created}) == 4


@WAYS
def test_pool_keeps_langsmiths_trace_whole(client: KeepingClient, use: Callable[..., None]) -> None:
    run_request(ContextThreadPoolExecutor, client, use)
    root, *steps = client.created
    assert root["name"] == "request"
    assert [step["name"] for step in steps] == ["step"] * 3
    for step in steps:
        assert step["trace_id"] == root["trace_id"]
        assert step["parent_run_id"] == root["id"]
        assert step["dotted_order"].startswith(root["dotted_order"] + ".")
