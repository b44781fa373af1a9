"""
`trio.lowlevel.TrioToken.run_sync_soon`, from everywhere (R04).
"""

from __future__ import annotations

import signal
from contextvars import Context
from typing import Any, Callable, List

import pytest
import trio
import trio.testing

import clew
from clew.tasks.trio import run_sync_soon
from tests.context._coroutines import in_thread
from tests.edges._generators import Watched, as_user, current_name
from tests.edges._groups import innermost, run_on_trio
from tests.edges._threads import look, reset_inside, user

Soon = Callable[..., Any]


def bare(fn: Any, *args: Any, idempotent: bool = False, trio_token: Any = None) -> None:
    token = trio_token or trio.lowlevel.current_trio_token()
    token.run_sync_soon(fn, *args, idempotent=idempotent)


def found_by(main: Callable[[List[Any]], Any]) -> List[Any]:
    """Return what is found when trio has nothing more to do, started as "runner"."""

    async def settled() -> None:
        await main(found)
        await trio.testing.wait_all_tasks_blocked()

    found: List[Any] = []
    as_user("runner").run(run_on_trio, settled)
    return found


async def in_task(soon: Soon, found: List[Any]) -> None:
    user.set("ada")
    soon(lambda: found.append(reset_inside()))
    user.set("later")


async def in_other_thread(soon: Soon, found: List[Any]) -> None:
    token = trio.lowlevel.current_trio_token()
    ada = as_user("ada")
    in_thread(ada.run, lambda: soon(lambda: found.append(reset_inside()), trio_token=token))


async def in_thread_of_trio(soon: Soon, found: List[Any]) -> None:
    token = trio.lowlevel.current_trio_token()
    user.set("ada")
    await trio.to_thread.run_sync(lambda: soon(lambda: found.append(reset_inside()), trio_token=token))


async def in_callback(soon: Soon, found: List[Any]) -> None:
    """From a function that is itself called soon."""
    as_user("ada").run(run_sync_soon, lambda: soon(lambda: found.append(reset_inside())))


async def in_signal_handler(soon: Soon, found: List[Any]) -> None:
    token = trio.lowlevel.current_trio_token()

    def handle(*_: object) -> None:
        soon(lambda: found.append(reset_inside()), trio_token=token)

    user.set("ada")
    before = signal.signal(signal.SIGINT, handle)
    try:
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("call", [in_task, in_other_thread, in_thread_of_trio, in_callback, in_signal_handler])
def test_bare_call_has_the_values_of_the_run_and_clews_those_of_its_caller(call: Callable[..., Any]) -> None:
    assert found_by(lambda found: call(bare, found)) == ["runner"]
    assert found_by(lambda found: call(run_sync_soon, found)) == ["ada"]


def test_each_call_has_its_own_copy_and_nothing_comes_back() -> None:
    async def main(found: List[Any]) -> None:
        def visit(number: int) -> None:
            found.append((number, user.get()))
            user.set("changed")

        user.set("ada")
        for number in range(3):
            run_sync_soon(visit, number)
        await trio.testing.wait_all_tasks_blocked()
        found.append(user.get())

    assert found_by(main) == [(0, "ada"), (1, "ada"), (2, "ada"), "ada"]


def test_runs_nest_in_the_one_of_the_caller() -> None:
    def step() -> None:
        with clew.trace("step"):
            pass

    async def main(found: List[Any]) -> None:
        with clew.trace("request"):
            bare(step)
            run_sync_soon(step)
            with clew.detached():
                run_sync_soon(step)
            await trio.testing.wait_all_tasks_blocked()
            found.append(current_name())

    with clew.record() as runs:
        assert found_by(main) == ["request"]
    runs.assert_tree(
        """
        request
          step
        step
        step
        """
    )


def test_idempotent_calls_that_are_equal_are_made_once_with_the_first_context() -> None:
    class Job:
        def __init__(self, name: str, found: List[Any]) -> None:
            self.name = name
            self.found = found

        def run(self, *args: object) -> None:
            self.found.append((self.name, args, user.get()))

    async def main(soon: Soon, found: List[Any]) -> None:
        one, other = Job("one", found), Job("other", found)
        for name in ("ada", "grace"):
            user.set(name)
            # A bound method is a new object each time.
            soon(one.run, idempotent=True)
            soon(other.run, idempotent=True)
            soon(one.run, 1, idempotent=True)
        await trio.testing.wait_all_tasks_blocked()
        soon(one.run, idempotent=True)

    def names(found: List[Any]) -> List[Any]:
        return sorted(each[:2] for each in found)

    found = found_by(lambda found: main(run_sync_soon, found))
    assert [each[2] for each in found] == ["ada"] * 3 + ["grace"]
    assert names(found) == names(found_by(lambda found: main(bare, found)))


def test_calls_that_are_not_idempotent_are_all_made() -> None:
    async def main(found: List[Any]) -> None:
        for name in ("ada", "grace"):
            user.set(name)
            run_sync_soon(lambda: found.append(look()))
            run_sync_soon(lambda: found.append(look()), idempotent=False)

    assert found_by(main) == ["ada", "ada", "grace", "grace"]


def test_idempotent_call_is_not_taken_for_a_bare_one() -> None:
    async def main(found: List[Any]) -> None:
        def note() -> None:
            found.append(user.get())

        user.set("ada")
        bare(note, idempotent=True)
        run_sync_soon(note, idempotent=True)

    assert sorted(found_by(main)) == ["ada", "runner"]


@pytest.mark.parametrize("soon", [bare, run_sync_soon])
def test_call_without_trio_is_refused_in_trios_words(soon: Soon) -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        soon(look)


@pytest.mark.parametrize("soon", [bare, run_sync_soon])
def test_call_after_the_end_is_refused_in_trios_words(soon: Soon) -> None:
    async def main() -> Any:
        return trio.lowlevel.current_trio_token()

    token = trio.run(main)
    with pytest.raises(trio.RunFinishedError):
        soon(look, trio_token=token)


@pytest.mark.parametrize("soon", [bare, run_sync_soon])
def test_what_the_function_raises_crashes_trio(soon: Soon) -> None:
    def fail() -> None:
        raise KeyError("job")

    async def main() -> None:
        soon(fail)
        await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError) as caught:
        run_on_trio(main)
    assert repr(innermost(caught.value.__cause__)) == "KeyError('job')"


@pytest.mark.usefixtures("no_collector")
def test_nothing_of_a_call_is_alive_after_it() -> None:
    def start(watched: Watched) -> None:
        user.set(watched.make())
        run_sync_soon(look)
        run_sync_soon(look, idempotent=True)

    async def main(found: List[Any]) -> None:
        watched = Watched()
        Context().run(start, watched)
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked()
        found.append(watched.is_gone())

    assert found_by(main) == [True]
