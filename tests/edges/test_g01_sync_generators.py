"""
Sync generators between steps: what one sets reaches its consumer (G01), or another one (G02).
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, Iterator, List

import pytest

import clew
from tests.edges._generators import Keep, Watched, bare, current_name, keeps, keeps_runs
from tests.edges._threads import Value, in_empty_context, reset_inside, user


def sets_user(name: object = "body") -> Iterator[object]:
    token = user.set(name)
    try:
        for _ in range(3):
            reset_inside()
            yield user.get()
    finally:
        user.reset(token)


def seen_by_consumer(keep: Keep) -> object:
    """Return what the body sees at each step, and the consumer after it, and at the end."""
    user.set("ada")
    return [(inside, user.get()) for inside in keep(sets_user)()], user.get()


def test_bare_generator_shows_its_value_to_its_consumer() -> None:
    assert in_empty_context(seen_by_consumer, bare) == ([("body", "body")] * 3, "ada")


@keeps
def test_generator_keeps_its_value_to_itself(keep: Keep) -> None:
    assert in_empty_context(seen_by_consumer, keep) == ([("body", "ada")] * 3, "ada")


def left_behind(keep: Keep) -> object:
    def sets_and_stays() -> Iterator[None]:
        user.set("body")
        yield

    for _ in keep(sets_and_stays)():
        pass
    return user.get()


@keeps
def test_value_that_is_not_reset_stays_with_the_bare_consumer_alone(keep: Keep) -> None:
    assert in_empty_context(left_behind, bare) == "body"
    assert in_empty_context(left_behind, keep) == "nobody"


def traced(name: str = "body") -> Iterator[object]:
    with clew.trace(name):
        for number in range(2):
            with clew.trace(f"{name} {number}"):
                pass
            yield current_name()


def tree_of_consumer(keep: Keep) -> Any:
    with clew.record() as runs, clew.trace("consumer"):
        for _ in keep(traced)():
            with clew.trace("between"):
                pass
    return runs


def test_bare_generator_takes_the_runs_of_its_consumer() -> None:
    in_empty_context(tree_of_consumer, bare).assert_tree(
        """
        consumer
          body
            body 0
            between
            body 1
            between
        """
    )


@keeps_runs
def test_generator_has_its_own_runs_and_leaves_the_consumers(keep: Keep) -> None:
    in_empty_context(tree_of_consumer, keep).assert_tree(
        """
        consumer
          body
            body 0
            body 1
          between
          between
        """
    )


def zipped(keep: Keep) -> List[Any]:
    # To the end of both: `zip` would drop the second one before its last step.
    return list(zip_longest(keep(sets_user)("a"), keep(sets_user)("b")))


def seen_in_turns(keep: Keep) -> List[object]:
    def looks() -> Iterator[object]:
        yield user.get()
        yield user.get()

    sets, sees = keep(sets_user)("a"), keep(looks)()
    found = [each for pair in zip(sets, sees) for each in pair]
    sets.close()  # here, and not wherever it is collected
    return found


def test_bare_generators_in_turns_see_each_others_value() -> None:
    assert in_empty_context(seen_in_turns, bare) == ["a", "a", "a", "a"]
    assert in_empty_context(zipped, bare) == [("a", "b"), ("b", "b"), ("b", "b")]


@keeps
def test_generators_in_turns_see_their_own_values(keep: Keep) -> None:
    assert in_empty_context(seen_in_turns, keep) == ["a", "nobody", "a", "nobody"]
    assert in_empty_context(zipped, keep) == [("a", "b")] * 3


def runs_of_two(keep: Keep) -> Any:
    """Return the runs that two generators recorded in turns, and what each saw as the current one."""
    with clew.record() as runs, clew.trace("consumer"):
        found = list(zip_longest(keep(traced)("a"), keep(traced)("b")))
    return found, runs


def test_bare_zipped_generators_nest_in_each_other() -> None:
    found, runs = in_empty_context(runs_of_two, bare)
    assert found == [("a", "b"), ("b", "b")]
    assert "a 1" not in [child.name for child in runs.find(name="a").children]


@keeps_runs
def test_zipped_generators_nest_under_their_consumer_each(keep: Keep) -> None:
    found, runs = in_empty_context(runs_of_two, keep)
    assert found == [("a", "b")] * 2
    runs.assert_tree(
        """
        consumer
          a
            a 0
            a 1
          b
            b 0
            b 1
        """
    )


def holds(value: Value) -> Iterator[None]:
    user.set(value)
    del value
    for _ in range(2):
        yield


@keeps
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["exhausted", "closed", "dropped"])
def test_value_of_the_body_is_gone_with_the_body(keep: Keep, end: str) -> None:
    def scenario(watched: Watched) -> Any:
        generator = keep(holds)(watched.make())
        next(generator)
        assert not watched.is_gone()
        if end == "dropped":
            return None
        if end == "closed":
            generator.close()
        else:
            assert list(generator) == [None]
        return generator

    watched = Watched()
    kept = in_empty_context(scenario, watched)
    assert watched.is_gone()
    del kept


@keeps
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["exhausted", "closed", "dropped", "never started"])
def test_value_of_the_call_is_gone_with_the_body(keep: Keep, end: str) -> None:
    def sees_it() -> Iterator[bool]:
        yield type(user.get()) is Value

    def scenario(watched: Watched) -> Any:
        token = user.set(watched.make())
        generator = keep(sees_it)()
        if end != "never started":
            assert next(generator)
        user.reset(token)
        if end == "exhausted":
            assert list(generator) == []
        elif end == "closed":
            generator.close()
        return generator if end in ("exhausted", "closed") else None

    watched = Watched()
    kept = in_empty_context(scenario, watched)
    assert watched.is_gone()
    del kept
