"""
What only trio's nurseries have: their class, their tasks with names and contexts, and the options of `open_nursery`.

What they share with anyio's task groups is in `test_groups`.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import weakref
from contextvars import Context, copy_context
from functools import partial
from itertools import product
from typing import Any, Callable, Dict, List

import pytest
import trio
import trio.testing

import clew
import clew.tasks.trio
from clew.errors import ContextInUseError
from clew.tasks.trio import Nursery, open_nursery, spawn_system_task
from tests.edges._generators import Watched, as_user, complaints
from tests.edges._groups import KINDS, innermost, run_on_trio
from tests.edges._threads import DEADLINE, in_empty_context, in_use_by_a_thread, is_gone, user
from tests.tasks._scenarios import Options, Trace, described, ending, options, trace_of

TRIO = KINDS["trio"]


async def function(*args: Any, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
    task_status.started()
    await trio.lowlevel.checkpoint()
    args[0].append(trio.lowlevel.current_task().name)


class Callables:
    async def method(self, *args: Any, **options: Any) -> None:
        await function(*args, **options)

    async def __call__(self, *args: Any, **options: Any) -> None:
        await function(*args, **options)

    def __repr__(self) -> str:
        return "<callable>"


FUNCTIONS: Dict[str, Callable[..., Any]] = {
    "function": function,
    "lambda": lambda *args, **options: function(*args, **options),
    "method": Callables().method,
    "partial": partial(function),
    "partial of a partial": partial(partial(function)),
    "callable object": Callables(),
    "partial of a callable object": partial(Callables()),
}
NAMED: List[Dict[str, Any]] = [{}, {"name": "named"}, {"name": Context}]


@options
def test_task_has_the_name_that_trio_gives_it(options: Options) -> None:
    async def scenario(open_it: Any, options: Options, trace: Trace) -> None:
        for fn, named in product(FUNCTIONS.values(), NAMED):
            async with open_it() as nursery:
                nursery.start_soon(fn, trace, **named, **options())
                await nursery.start(fn, trace, **named, **options())

    expected = trace_of(TRIO, trio.open_nursery, scenario)
    assert len(expected) == 2 * len(FUNCTIONS) * len(NAMED)
    assert trace_of(TRIO, open_nursery, scenario, options) == expected


@options
def test_nursery_is_trios_own(options: Options) -> None:
    async def main() -> None:
        async with open_nursery() as nursery:
            assert isinstance(nursery, trio.Nursery)
            assert type(nursery) is Nursery is trio.Nursery
            assert nursery in trio.lowlevel.current_task().child_nurseries
            assert nursery.parent_task is trio.lowlevel.current_task()
            nursery.start_soon(trio.sleep_forever, **options())
            [task] = nursery.child_tasks
            assert task.parent_nursery is nursery
            await trio.testing.wait_all_tasks_blocked()
            assert next(frame.f_code.co_name for frame, _ in task.iter_await_frames()) == "sleep_forever"
            nursery.cancel_scope.cancel()
        assert not nursery.child_tasks

    run_on_trio(main)


def test_shared_context_is_that_of_the_task() -> None:
    async def child() -> None:
        found.append(trio.lowlevel.current_task().context is context)
        await trio.lowlevel.checkpoint()
        found.append(trio.lowlevel.current_task().context is context)

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child, context=context)

    found: List[bool] = []
    context = Context()
    run_on_trio(main)
    assert found == [True, True]


async def raises_one(nursery: Any) -> None:
    async def fail() -> None:
        raise KeyError("child")

    nursery.start_soon(fail)


@pytest.mark.parametrize("given", [((), {}), ((True,), {}), ((False,), {}), ((), {"strict_exception_groups": False})])
@pytest.mark.parametrize("is_strict_run", [True, False])
@pytest.mark.filterwarnings("ignore::trio.TrioDeprecationWarning")  # which is said of strict_exception_groups=False
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_strict_exception_groups_is_passed_on(given: Any, is_strict_run: bool) -> None:
    async def main(open_it: Any) -> Any:
        args, kwargs = given
        try:
            async with open_it(*args, **kwargs) as nursery:
                await raises_one(nursery)
        except Exception as error:
            return described(error)

    def of(open_it: Any) -> Any:
        return trio.run(main, open_it, strict_exception_groups=is_strict_run)

    assert of(open_nursery) == of(trio.open_nursery)


@pytest.mark.parametrize("wrong", ["nobody", None, True])
def test_other_inherit_from_is_refused(wrong: Any) -> None:
    with pytest.raises(clew.ClewError, match=r"expected inherit_from='spawner' or .*, got") as caught:
        open_nursery(inherit_from=wrong)
    assert isinstance(caught.value, ValueError)


def test_plain_with_is_refused_in_trios_words() -> None:
    async def scenario(open_it: Any, options: Options, trace: Trace) -> None:
        with ending(trace), open_it():
            trace.append("entered")

    expected = trace_of(TRIO, trio.open_nursery, scenario)
    assert "use 'async with open_nursery" in str(expected)
    assert trace_of(TRIO, open_nursery, scenario) == expected


def test_nursery_on_asyncio_is_refused_in_trios_words() -> None:
    async def refusals(*calls: Callable[[], Any]) -> List[Any]:
        found = []
        for call in calls:
            try:
                async with call():
                    pass
            except Exception as error:
                found.append(described(error))
        return found

    with complaints() as found:
        bare = asyncio.run(refusals(trio.open_nursery, lambda: trio.lowlevel.spawn_system_task(trio.sleep_forever)))
        assert len(bare) == 2
        assert asyncio.run(refusals(open_nursery, lambda: spawn_system_task(trio.sleep_forever))) == bare
    assert found == []


@options
def test_method_that_outlives_its_nursery_refuses_in_trios_words(options: Options) -> None:
    async def keep() -> Any:
        async with open_nursery() as nursery:
            return nursery.start_soon, nursery.start

    async def main() -> None:
        start_soon, start = await keep()
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            start_soon(trio.sleep_forever, **options())
        with pytest.raises(RuntimeError, match="Nursery is closed to new arrivals"):
            await start(function, **options())

    with complaints() as found:
        run_on_trio(main)
    assert found == []


@options
@pytest.mark.usefixtures("interruptible")
def test_keyboard_interrupt_of_the_terminal_comes_out_of_the_task_that_it_meets(options: Options) -> None:
    async def child() -> None:
        assert not trio.lowlevel.currently_ki_protected()
        await trio.lowlevel.checkpoint()
        assert not trio.lowlevel.currently_ki_protected()
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            met.append("child")
            raise

    async def main() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child, **options())

    met: List[str] = []
    with pytest.raises(BaseException) as caught:
        run_on_trio(main)
    assert isinstance(innermost(caught.value), KeyboardInterrupt)
    assert met == ["child"]


def test_keyboard_interrupt_waits_until_a_nursery_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def copies() -> Context:
        found.append(trio.lowlevel.currently_ki_protected())
        return copy_context()

    async def main() -> None:
        found.append(trio.lowlevel.currently_ki_protected())
        async with open_nursery(inherit_from="opener"):
            found.append(trio.lowlevel.currently_ki_protected())

    found: List[bool] = []
    # What is called once the nursery is there, and before the block has it.
    monkeypatch.setattr(clew.tasks.trio, "copy_context", copies)
    run_on_trio(main)
    assert found == [False, True, False]


@pytest.mark.usefixtures("no_collector")
def test_task_that_is_refused_for_its_context_keeps_nothing_alive() -> None:
    async def child(_: object) -> None:
        raise AssertionError("expected a task whose context is in use not to begin")

    async def refused(context: Context) -> object:
        watched = Watched()
        references.append(weakref.ref(watched))
        try:
            async with open_nursery() as nursery:
                nursery.start_soon(child, watched, context=context)
        except BaseException as error:
            return type(innermost(error))
        return None

    async def main() -> None:
        context = Context()
        with in_use_by_a_thread(context):
            assert await refused(context) is ContextInUseError
        for _ in range(3):
            await trio.lowlevel.checkpoint()

    references: List[Any] = []
    run_on_trio(main)
    assert is_gone(references[0])


def test_context_that_comes_into_use_between_two_steps_does_not_crash_trio() -> None:
    async def child() -> None:
        user.set("child")
        await may_go_on.wait()
        user.set("never")

    async def main() -> None:
        nonlocal may_go_on
        may_go_on = trio.Event()
        async with open_nursery() as nursery:
            nursery.start_soon(child, context=context)
            await trio.testing.wait_all_tasks_blocked()
            with in_use_by_a_thread(context):
                may_go_on.set()
                with trio.CancelScope(shield=True):
                    await trio.testing.wait_all_tasks_blocked()

    may_go_on: Any = None
    context = as_user("ada")
    with complaints() as found:
        with pytest.raises(BaseException) as caught:
            run_on_trio(main)
        assert not isinstance(caught.value, trio.TrioInternalError)
        assert isinstance(innermost(caught.value), RuntimeError)
        assert "enter" in str(innermost(caught.value)) or isinstance(innermost(caught.value), clew.ClewError)
    assert (found, context[user]) == ([], "child")


@pytest.mark.parametrize("is_shared", [True, False])
def test_context_in_use_elsewhere_by_another_task_of_trio_is_never_found(is_shared: bool) -> None:
    """Tasks take turns, so that none is in its context while another one has its step; nor is a callback."""

    async def child(number: int) -> None:
        for _ in range(3):
            trio.lowlevel.current_trio_token().run_sync_soon(lambda: None)
            await trio.lowlevel.checkpoint()
            found.append(number)

    async def main() -> None:
        async with open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(child, number, context=context)

    found: List[int] = []
    context: Any = Context() if is_shared else clew.capture()
    in_empty_context(run_on_trio, main)
    assert sorted(found) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


async def is_cancelled_by_its_nursery(open_it: Any, options: Options, trace: Trace) -> None:
    async def child(*, task_status: Any) -> None:
        with trio.CancelScope(shield=True) as scope:
            task_status.started(scope)
            with ending(trace):
                await trio.sleep_forever()

    async with open_it() as nursery:
        scope = await nursery.start(child, **options())
        nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        trace.append("shielded")
        scope.cancel()


@options
def test_shielded_task_is_cancelled_by_the_scope_that_it_has_handed_out(options: Options) -> None:
    expected = trace_of(TRIO, trio.open_nursery, is_cancelled_by_its_nursery)
    assert trace_of(TRIO, open_nursery, is_cancelled_by_its_nursery, options) == expected


def test_module_says_what_to_install_where_there_is_no_trio() -> None:
    program = "import sys; sys.modules['trio'] = None; import clew.tasks.trio"
    ran = subprocess.run([sys.executable, "-c", program], stderr=subprocess.PIPE, timeout=DEADLINE, check=False)
    assert ran.returncode == 1
    assert "run: pip install 'clew[trio]'" in ran.stderr.decode()
