"""
Sync generators that are stepped from other threads and contexts (G03), or closed or collected there (G04).
"""

from __future__ import annotations

from contextvars import copy_context
from textwrap import indent
from typing import Any, Callable, Dict, Iterator, List

import anyio
import anyio.to_thread
import pytest

import clew
from tests.context._coroutines import in_thread, let_finalizers_run
from tests.edges._generators import KEEPS, Keep, Watched, as_user, bare, complaints, current_name, keeps, keeps_runs
from tests.edges._threads import DEADLINE, in_empty_context, user

Elsewhere = Callable[..., Any]

ELSEWHERE: Dict[str, Elsewhere] = {
    "thread": in_thread,
    "copied context": lambda fn, *args: copy_context().run(fn, *args),
    "someone else's context": lambda fn, *args: as_user("someone else").run(fn, *args),
    "thread and context": lambda fn, *args: in_thread(as_user("someone else").run, fn, *args),
}
elsewhere = pytest.mark.parametrize("step", ELSEWHERE.values(), ids=ELSEWHERE)


def resets(seen: List[object]) -> Iterator[object]:
    token = user.set("body")
    try:
        for _ in range(3):
            yield user.get()
    finally:
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


def stepped(keep: Keep, step: Elsewhere) -> List[object]:
    """Return what the body sees at each step and at its end, every step elsewhere."""

    def ada() -> Any:
        user.set("ada")
        return keep(resets)(seen)

    seen: List[object] = []
    generator = ada()
    found = [step(next, generator) for _ in range(3)]
    assert step(next, generator, "end") == "end"
    assert user.get() == "ada"
    return [*found, *seen]


@elsewhere
def test_bare_generator_loses_its_value_at_the_second_step(step: Elsewhere) -> None:
    def scenario() -> object:
        generator = resets([])
        return [step(next, generator) for _ in range(3)]

    with complaints():  # it cannot reset, either
        first, *others = in_empty_context(scenario)
    assert first == "body"
    assert "body" not in others


@pytest.mark.parametrize("step", [ELSEWHERE["copied context"], ELSEWHERE["someone else's context"]])
def test_bare_generator_cannot_reset_elsewhere(step: Elsewhere) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(stepped, bare, step)


@keeps
@elsewhere
def test_generator_has_its_values_wherever_it_is_stepped(keep: Keep, step: Elsewhere) -> None:
    *found, last = in_empty_context(stepped, keep, step)
    assert found == ["body"] * 4
    # With `live`, the value after the reset is that of whoever takes the step.
    assert last == (as_user("ada").run(step, user.get) if keep is KEEPS["live"] else "ada")


def traced() -> Iterator[object]:
    with clew.trace("body"):
        for number in range(2):
            with clew.trace(f"child {number}"):
                pass
            yield current_name()


def runs_elsewhere(keep: Keep, step: Elsewhere) -> Any:
    with clew.record() as runs, clew.trace("request"):
        generator = keep(traced)()
        found = [step(next, generator, "end") for _ in range(3)]
        with clew.trace("after"):
            pass
    return found, runs


def test_bare_generators_run_is_lost_at_the_second_step() -> None:
    found, runs = in_empty_context(runs_elsewhere, bare, in_thread)
    assert found == ["body", None, "end"]
    assert len(runs.roots) > 1


BODY = "body\n  child 0\n  child 1\n"


@keeps_runs
@elsewhere
def test_generators_run_is_whole_wherever_it_is_stepped(keep: Keep, step: Elsewhere) -> None:
    before = clew.stats()
    found, runs = in_empty_context(runs_elsewhere, keep, step)
    assert found == ["body", "body", "end"]
    # With `live`, the run nests where its consumer is, and elsewhere there may be no run.
    is_under_request = keep is KEEPS["creation"] or step is ELSEWHERE["copied context"]
    runs.assert_tree("request\n" + indent(BODY, "  ") + "  after" if is_under_request else f"request\n  after\n{BODY}")
    assert clew.stats() == before


def streamed(keep: Keep, backend: str) -> List[object]:
    """Do what web frameworks do with the body of a response: take each item in a worker thread."""

    async def main() -> List[object]:
        with anyio.fail_after(DEADLINE):
            user.set("ada")
            seen: List[object] = []
            generator = keep(resets)(seen)
            found = []
            while (item := await anyio.to_thread.run_sync(next, generator, None)) is not None:
                found.append(item)
            return [*found, *seen, user.get()]

    return anyio.run(main, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_bare_generator_stepped_by_worker_threads_fails(backend: str) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(streamed, bare, backend)


@keeps
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_generator_stepped_by_worker_threads_is_whole(keep: Keep, backend: str) -> None:
    assert in_empty_context(streamed, keep, backend) == [*["body"] * 4, "ada", "ada"]


def close(box: List[Any]) -> None:
    box.pop().close()


def drop(box: List[Any]) -> None:
    box.clear()
    let_finalizers_run()


def ended_elsewhere(keep: Keep, end: Callable[[List[Any]], None], step: Elsewhere) -> List[object]:
    """Return what the body sees in its `finally`, and the consumer that has taken one item after that."""
    seen: List[object] = []
    box = [keep(resets)(seen)]
    next(box[0])
    step(end, box)
    return [*seen, user.get()]


def test_bare_generator_closed_in_another_context_cannot_reset() -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(ended_elsewhere, bare, close, ELSEWHERE["someone else's context"])


@elsewhere
def test_bare_generator_collected_elsewhere_cannot_reset_and_leaves_its_value(step: Elsewhere) -> None:
    with complaints() as found:
        seen = in_empty_context(ended_elsewhere, bare, drop, step)
    assert seen[-1] == "body"
    assert len(found) == 1
    assert "was created in a different Context" in found[0]


@keeps
@elsewhere
@pytest.mark.parametrize("end", [close, drop])
def test_generator_ended_elsewhere_resets_and_leaves_nothing(
    keep: Keep, step: Elsewhere, end: Callable[[List[Any]], None]
) -> None:
    with complaints() as found:
        assert in_empty_context(ended_elsewhere, keep, end, step) == ["body", "nobody", "nobody"]
    assert found == []


def run_left_behind(keep: Keep, end: Callable[[List[Any]], None]) -> object:
    """Return the run that is current after the generator has ended in a copied context."""
    with clew.record():
        box = [keep(traced)()]
        next(box[0])
        copy_context().run(end, box)
        return current_name()


@keeps_runs
@pytest.mark.parametrize("end", [close, drop])
def test_ended_run_stays_current_bare_and_does_not_with_clew(keep: Keep, end: Callable[[List[Any]], None]) -> None:
    assert in_empty_context(run_left_behind, bare, end) == "body"
    before = clew.stats()
    assert in_empty_context(run_left_behind, keep, end) is None
    assert clew.stats() == before


@keeps
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", [close, drop])
def test_value_is_gone_with_a_generator_that_ended_elsewhere(keep: Keep, end: Callable[[List[Any]], None]) -> None:
    def holds() -> Iterator[None]:
        token = user.set(watched.make())
        try:
            yield
        finally:
            user.reset(token)

    def scenario() -> None:
        box = [keep(holds)()]
        next(box[0])
        in_thread(end, box)

    watched = Watched()
    in_empty_context(scenario)
    assert watched.is_gone()
