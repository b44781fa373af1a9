"""
An interrupt at any instruction of clew's blocks and functions leaves nothing current, and nothing half done.

The steps of streams are in `test_stream_steps`.
"""

from __future__ import annotations

import functools
import threading
from contextvars import Context, ContextVar
from itertools import count
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import pytest

import clew
from clew.executors import installation
from clew.runs._tree import hooks
from tests._interrupting import Interrupting
from tests.edges._threads import DEADLINE
from tests.property._generators import IS_COUNTED

pytestmark = [
    pytest.mark.skipif(not IS_COUNTED, reason="it is CPython's instructions that are counted"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),  # the interrupt comes before
]

user: ContextVar[str] = ContextVar("user", default="nobody")
HEADERS = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "baggage": "key=value"}


def captured_elsewhere() -> clew.Snapshot:
    def inside() -> clew.Snapshot:
        user.set("ada")
        with clew.trace("elsewhere"), clew.baggage(tenant="acme"):
            return clew.capture()

    return Context().run(inside)


@clew.traceable
def call(value: object = 1) -> object:
    return value


@clew.traceable
async def call_async(value: object = 1) -> object:
    return value


@clew.traceable
def items() -> Iterator[int]:
    yield 1


def entering(make: Callable[[], Any]) -> Callable[[], Callable[[], None]]:
    def prepare() -> Callable[[], None]:
        block = make()

        def enter_and_leave() -> None:
            with block:
                pass

        return enter_and_leave

    return prepare


def awaited() -> None:
    with pytest.raises(StopIteration):
        call_async().send(None)


USES: Dict[str, Callable[[], Callable[[], object]]] = {
    "trace": entering(lambda: clew.trace("block")),
    "trace under headers": entering(lambda: clew.trace("block", parent=HEADERS, inputs={"a": [1]})),
    "trace as a root": entering(lambda: clew.trace("block", parent="ignore")),
    "tracing_context": entering(lambda: clew.tracing_context(tags=["t"], metadata={"m": 1})),
    "tracing_context under headers": entering(lambda: clew.tracing_context(parent=HEADERS)),
    "tracing_context as a root": entering(lambda: clew.tracing_context(parent=False)),
    "tracing_context without runs": entering(lambda: clew.tracing_context(enabled=False)),
    "detached": entering(clew.detached),
    "detached without a link": entering(lambda: clew.detached(link=False)),
    "attached": entering(lambda: captured_elsewhere().attached()),
    "attached as a link": entering(lambda: captured_elsewhere().attached(link=True)),
    "baggage": entering(lambda: clew.baggage(tenant="acme")),
    "record": entering(clew.record),
    "installed": entering(clew.installed),
    "a traced call": lambda: call,
    "a traced call under headers": lambda: lambda: call(langsmith_extra={"parent": HEADERS}),
    "a traced call of a coroutine function": lambda: awaited,
    "a call of a traced generator function": lambda: lambda: items(langsmith_extra={"parent": HEADERS}),
}


def state() -> Tuple[object, ...]:
    """
    Return what the blocks that apply to the whole process change.
    """
    held = len(installation._holders), len(installation._patches)
    return len(hooks.start_hooks), len(hooks.end_hooks), len(hooks._watchers), threading.Thread.start, held


SURROUNDINGS: Dict[str, Callable[[], Any]] = {
    "nothing": lambda: None,
    "a run and options": lambda: clew.trace("outside", parent=HEADERS, tags=["outside"]),
}


@pytest.mark.parametrize(
    ("use", "surroundings"),
    [*((use, "a run and options") for use in USES), *((use, "nothing") for use in USES if not use.startswith("a "))],
)
def test_interrupt_after_any_instruction_leaves_nothing_current(
    runs: clew.Recording, use: str, surroundings: str
) -> None:
    usual = Context()
    wrong: List[str] = []
    for after in count(1):
        fn, context = USES[use](), Context()
        around = SURROUNDINGS[surroundings]()
        if around is not None:
            context.run(around.__enter__)
        expected, expected_state = context.copy(), state()
        interrupting = Interrupting(after)
        came = interrupting.came(fn, context)
        for variable in {*expected, *context}:
            if not (variable is user or variable.name.startswith("clew")):
                continue  # another tracer's, to which it may be nothing or an empty object
            found = context.run(variable.get, None)
            if found is not expected.get(variable, usual.run(variable.get, None)):
                wrong.append(f"{after}, {interrupting.place}: {variable.name} is {found!r}")
        if state() != expected_state:
            wrong.append(f"{after}, {interrupting.place}: {expected_state} became {state()}")
        if around is not None:
            context.run(around.__exit__, None, None, None)
        if not came:
            break
    assert not wrong, f"{len(wrong)} after {after} interrupts: {wrong[:3]}"
    assert after > 20
    assert {run.status for run in runs if run.name == "block"} <= {"success", "error"}


class Collecting:
    """An exporter that says when it has got runs."""

    def __init__(self) -> None:
        self.names: List[str] = []
        self.has_got = threading.Event()

    def export(self, runs: Sequence[clew.Run]) -> None:
        self.names += [run.name for run in runs]
        self.has_got.set()

    def shutdown(self, timeout: float) -> None:
        pass


def test_interrupt_of_configure_leaves_one_exporter_and_loses_no_run() -> None:
    for after in count(1):
        first, second = Collecting(), Collecting()
        clew.configure(exporter=first)
        with clew.trace("before"):
            pass
        before = state()
        change = functools.partial(clew.configure, exporter=second, project_name="shop")
        came = Interrupting(after).came(change, Context())
        assert state() == before, after
        with clew.trace("after"):
            pass
        assert clew.flush(DEADLINE)
        assert first.has_got.wait(DEADLINE)  # an exporter that was replaced may get its last runs later
        assert sorted(first.names + second.names) == ["after", "before"], after
        if not came:
            break
    clew.configure(exporter=None, project_name=None)
    assert after > 100


def test_interrupt_of_submit_leaves_the_pool_usable_and_nothing_current() -> None:
    def is_counted(frame: Any) -> bool:
        # It holds the pool's locks as the stdlib's `submit` does, where an interrupt while a `with` block releases them
        # leaves them locked, too. From 3.11 on, CPython looks for no signals there.
        return bool(frame.f_code.co_name != "_enqueue")

    for after in count(1):
        context = Context()
        with clew.ContextThreadPoolExecutor(1) as pool:
            came = Interrupting(after, is_counted=is_counted).came(lambda pool=pool: pool.submit(int), context)
            context.run(user.set, "ada")
            assert context.run(pool.submit, user.get).result(10.0) == "ada"
        assert dict(context) == {user: "ada"}
        if not came:
            break
    assert after > 20
