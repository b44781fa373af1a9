"""
What one call may say in ``langsmith_extra=``, the parameter `run_tree`, and calls that are never recorded.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from functools import partial, wraps
from types import SimpleNamespace
from typing import Any, AsyncIterator, Callable, Dict, Iterator, List, Optional
from uuid import UUID

import pytest

import clew
from clew.errors import ArgumentTypeError, ArgumentValueError

RUN_ID = UUID("01a20137-b201-7e4c-9aba-ed1cbb092982")


def function(n: int, run_tree: Optional[clew.RunTree] = None) -> Any:
    return run_tree


async def coroutine(n: int, *, run_tree: clew.RunTree) -> Any:
    return run_tree


def generator(n: int, run_tree: Any = None) -> Iterator[Any]:
    yield run_tree


async def async_generator(run_tree: Any, n: int = 1) -> AsyncIterator[Any]:
    yield run_tree


async def only_item_of(stream: Any) -> Any:
    (item,) = [item async for item in stream]
    return item


def call_function(**options: Any) -> Any:
    return clew.traceable(**options.pop("traced", {}))(function)(n=1, **options)


def call_coroutine(**options: Any) -> Any:
    return asyncio.run(clew.traceable(**options.pop("traced", {}))(coroutine)(n=1, **options))


def call_generator(**options: Any) -> Any:
    (item,) = clew.traceable(**options.pop("traced", {}))(generator)(n=1, **options)
    return item


def call_async_generator(**options: Any) -> Any:
    return asyncio.run(only_item_of(clew.traceable(**options.pop("traced", {}))(async_generator)(n=1, **options)))


CALLS = [call_function, call_coroutine, call_generator, call_async_generator]
every_kind = pytest.mark.parametrize("call", CALLS)
Call = Callable[..., Any]


@every_kind
def test_run_tree_is_the_run_of_the_call(runs: clew.Recording, call: Call) -> None:
    run = call()
    found = runs.roots[0]
    assert (run.id, run.name, found.inputs) == (found.id, found.name, {"n": 1})
    assert run.trace_id == found.trace_id


@every_kind
def test_run_tree_of_the_caller_wins(runs: clew.Recording, call: Call) -> None:
    own = clew.RunTree("own")
    assert call(run_tree=own) is own
    assert runs.roots[0].inputs == {"n": 1}


@every_kind
def test_run_tree_is_never_none(call: Call) -> None:
    run = call()
    assert isinstance(run, clew.RunTree)
    assert run.dotted_order.endswith(str(run.id))
    run.add_outputs({"a": 1})
    run.end()


def test_run_tree_that_is_passed_by_position_wins(runs: clew.Recording) -> None:
    own = clew.RunTree("own")
    assert clew.traceable(function)(1, own) is own

    class Shop:
        @clew.traceable
        def method(self, n: int, run_tree: Any = None) -> Any:
            return run_tree

        def plain(self, run_tree: Any = None) -> Any:
            return run_tree

    assert Shop().method(1, own) is own
    assert Shop().method(1).name == "method"
    assert clew.traceable(Shop().plain)().name == "plain"
    assert clew.traceable(Shop().plain)(own) is own
    assert clew.traceable(partial(function, 1))().name == "function"
    assert clew.traceable(partial(function, 1, own))() is own
    assert clew.traceable(partial(function, run_tree=own))(1) is own


def test_run_tree_is_filled_in_where_it_can_be_named(runs: clew.Recording) -> None:
    def retried(fn: Any) -> Any:
        @wraps(fn)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return wrapper

    class Shelf:
        def __call__(self, n: int, run_tree: Any) -> Any:
            return run_tree

    def positional(n: int, run_tree: Any = None, /, **rest: Any) -> Any:
        return run_tree, rest

    assert clew.traceable(retried(function))(1).name == "function"
    assert clew.traceable(Shelf())(1).name == "Shelf"
    assert clew.traceable(positional)(1) == (None, {})


def test_start_of_a_generator_that_has_its_run_is_that_of_its_call(runs: clew.Recording) -> None:
    stream = clew.traceable(generator)(1)
    (run,) = stream
    assert run.dotted_order == runs.find(name="generator").dotted_order


@every_kind
def test_call_says_who_it_is(runs: clew.Recording, call: Call) -> None:
    ended: List[clew.RunTree] = []
    extra: Dict[str, Any] = {
        "name": "named",
        "run_id": RUN_ID,
        "tags": ["call"],
        "metadata": {"k": "call", "c": 1},
        "project_name": "of the call",
        "on_end": ended.append,
    }
    decorated = {"name": "decorated", "tags": ["decorator"], "metadata": {"k": "decorator", "d": 1}}
    with clew.tracing_context(tags=["around"], metadata={"k": "around", "a": 1}, project_name="around"):
        call(langsmith_extra=extra, traced=decorated)
    (found,) = runs.roots
    assert (found.name, found.id, found.project_name) == ("named", RUN_ID, "of the call")
    assert found.tags == ("around", "decorator", "call")
    assert found.metadata == {"k": "call", "a": 1, "d": 1, "c": 1}
    assert [(run.id, run.status) for run in ended] == [(RUN_ID, "success")]


@every_kind
def test_parent_of_a_call_may_be_any(runs: clew.Recording, call: Call) -> None:
    with clew.trace("parent") as parent:
        pass
    for given in (parent, parent.to_headers(), parent.dotted_order, runs.roots[0]):
        with clew.trace("around"):
            call(langsmith_extra={"parent": given})
    with clew.trace("around"):
        call(langsmith_extra={"parent": "ignore"})
    by_name = {root.name: root for root in runs.roots}
    assert len(by_name["parent"].children) == 4
    assert len(runs.roots) == 1 + 5 + 1


class LangChainTracer:
    """Be called as the tracer that sends LangChain's runs to LangSmith."""

    def __init__(self, run_map: Any) -> None:
        self.run_map = run_map


class ChildOfTracer(LangChainTracer):
    pass


def test_config_of_langchain_is_read_without_it(runs: clew.Recording) -> None:
    with clew.trace("chain") as parent:
        pass
    known = {str(parent.id): SimpleNamespace(dotted_order=parent.dotted_order)}
    strangers = {str(parent.id): SimpleNamespace(dotted_order=clew.RunTree("nobody's").dotted_order)}
    handlers = [object(), SimpleNamespace(run_map=strangers), ChildOfTracer(known)]
    callbacks = SimpleNamespace(parent_run_id=parent.id, handlers=handlers)
    config = {"tags": ["t"], "metadata": {"k": 1}, "run_name": "step", "callbacks": callbacks, "recursion_limit": 5}
    call_function(langsmith_extra={"config": config})
    call_function(langsmith_extra={"config": {"callbacks": [object()], "tags": None}, "name": "other"})
    step = runs.find(name="step")
    assert (step.parent_id, step.tags, step.metadata) == (parent.id, ("t",), {"k": 1})
    assert runs.find(name="other").parent_id is None


@pytest.mark.parametrize("callbacks", [SimpleNamespace(handlers=None), SimpleNamespace(handlers=5), 5])
@every_kind
def test_callbacks_that_cannot_be_read_name_no_parent(runs: clew.Recording, call: Call, callbacks: Any) -> None:
    for each in (callbacks, SimpleNamespace(parent_run_id="1", handlers=[LangChainTracer(None)])):
        call(langsmith_extra={"config": {"callbacks": each, "tags": ["t"]}})
    assert [(root.parent_id, root.tags) for root in runs.roots] == [(None, ("t",))] * 2


def forwards(fn: Any) -> Any:
    @functools.wraps(fn)
    def forward(*args: Any, **kwargs: Any) -> Any:
        kept = kwargs.pop("config", None)
        return fn(*args, **kwargs), kept

    return forward


@pytest.mark.parametrize(
    "fn",
    [
        functools.partial(lambda given, config=None: (given, config), config={"mine": 1}),
        forwards(lambda given: given),
        lambda given, **kwargs: (given, kwargs["config"]),
    ],
)
@pytest.mark.parametrize("config", [{"region": "north"}, 5])
def test_config_that_is_the_functions_own_is_left_to_it(runs: clew.Recording, fn: Any, config: Any) -> None:
    assert clew.traceable(name="traced")(fn)(1, config=config) == (1, config)
    assert runs.roots[0].tags == ()


def test_run_tree_of_a_call_outside_of_all_runs_is_no_parent(runs: clew.Recording) -> None:
    @clew.traceable
    def child() -> None:
        pass

    @clew.traceable(enabled=False)
    def fan(run_tree: clew.RunTree) -> None:
        child(langsmith_extra={"parent": run_tree})  # type: ignore[call-arg]
        with clew.tracing_context(enabled=False):
            child(langsmith_extra={"parent": run_tree})  # type: ignore[call-arg]

    fan()  # type: ignore[call-arg]
    runs.assert_tree("child")


@every_kind
def test_parent_of_a_call_that_is_not_enabled_is_that_of_its_body(runs: clew.Recording, call: Call) -> None:
    with clew.trace("parent") as parent:
        pass
    assert call(traced={"enabled": False}, langsmith_extra={"parent": parent}).id == parent.id


def test_end_hook_that_fails_is_counted(runs: clew.Recording) -> None:
    def fails(_: clew.RunTree) -> None:
        raise LookupError("no")

    before = clew.stats().get("end_hooks_failed", 0)
    call_function(langsmith_extra={"on_end": fails})
    assert clew.stats()["end_hooks_failed"] == before + 1
    assert runs.roots[0].status == "success"


def test_end_hook_hears_of_an_error(runs: clew.Recording) -> None:
    @clew.traceable
    def fails() -> None:
        raise KeyError("here")

    ended: List[Optional[str]] = []
    with pytest.raises(KeyError):
        fails(langsmith_extra={"on_end": lambda run: ended.append(run.error)})  # type: ignore[call-arg]
    assert ended[0] is not None
    assert ended[0].rstrip().endswith("KeyError: 'here'")


@pytest.mark.parametrize(
    ("extra", "error", "said"),
    [
        ({"run_id": "no"}, ArgumentValueError, "expected the id of a run as a UUID or its text, got 'no'"),
        ({"on_end": 5}, ArgumentTypeError, "expected on_end in langsmith_extra= as a plain function, got 5"),
        ({"config": 5}, ArgumentTypeError, "expected the config in langsmith_extra= as a dict, got 5"),
        ({"parent": 5}, ArgumentTypeError, "expected parent= as a RunTree, headers, a dotted order or False, got int"),
        ({"name": 5}, ArgumentTypeError, "expected the name of a run as a string, got 5"),
    ],
)
@every_kind
def test_wrong_option_is_refused(call: Call, extra: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        call(langsmith_extra=extra)


@every_kind
def test_call_that_is_not_enabled_is_not_recorded(runs: clew.Recording, call: Call) -> None:
    with clew.trace("caller") as caller:
        assert call(traced={"enabled": False}) is caller
        assert call(traced={"enabled": False}, langsmith_extra={"name": "x"}) is caller
        call(traced={"enabled": True})
    assert [len(root.children) for root in runs.roots] == [1]


@pytest.mark.parametrize("fn", [function, coroutine, generator, async_generator])
def test_kind_and_signature_stay(fn: Any) -> None:
    for traced in (clew.traceable(fn), clew.traceable(enabled=False)(fn)):
        assert inspect.signature(traced) == inspect.signature(fn)
        for is_kind in (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
            assert is_kind(traced) == is_kind(fn)
