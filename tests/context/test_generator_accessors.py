"""
Accessors and generators: each step sees the value that the last step left, and restores the thread's own value.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Iterator, List

import pytest

import clew

local = threading.local()


@pytest.fixture(autouse=True)
def tenant() -> Iterator[None]:
    """Register an accessor for the attribute `tenant`, and set it to "ada" on this thread."""
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    local.tenant = "ada"
    yield
    unregister()
    local.__dict__.clear()


def seen() -> object:
    return getattr(local, "tenant", "nobody")


def body() -> Iterator[object]:
    """Yield the tenant, then twice the tenant that the body has set."""
    yield seen()
    local.tenant = "body's"
    yield seen()
    yield seen()


def taken(generator: Any, consumers: List[str]) -> List[object]:
    """Return the items. Check that each consumer still has its own tenant after taking one."""
    found = []
    for name in consumers:
        local.tenant = name
        found.append(next(generator))
        assert seen() == name
    return found


def test_value_of_the_call_is_there_at_every_step_and_the_consumers_stays() -> None:
    assert taken(clew.wrap_generator(body()), ["bob", "eve", "zoe"]) == ["ada", "body's", "body's"]


def test_bound_generator_function_has_the_value_of_when_it_was_bound() -> None:
    bound = clew.bind(body)
    assert taken(bound(), ["bob", "eve", "zoe"]) == taken(bound(), ["bob", "eve", "zoe"]) == ["ada", "body's", "body's"]


def test_live_body_sees_its_consumers_value_until_it_has_one_of_its_own() -> None:
    assert taken(clew.wrap_generator(body(), inherit="live"), ["bob", "eve", "zoe"]) == ["bob", "body's", "body's"]


def test_isolating_body_shares_the_thread_as_a_plain_one_does() -> None:
    generator = clew.wrap_generator(body(), isolate=[])
    local.tenant = "bob"
    assert next(generator) == "bob"
    assert next(generator) == seen() == "body's"


def test_value_travels_to_whichever_thread_takes_the_next_item() -> None:
    generator = clew.wrap_generator(body())
    with ThreadPoolExecutor(1) as pool:
        assert [pool.submit(next, generator).result() for _ in range(2)] == ["ada", "body's"]
        assert pool.submit(seen).result() == "nobody"
    assert next(generator) == "body's"


def test_async_body_has_its_value_at_every_step() -> None:
    async def agen() -> Any:
        for item in body():
            yield item

    generator: Any = clew.wrap_async_generator(agen())
    local.tenant = "bob"
    for expected in ("ada", "body's", "body's"):
        with pytest.raises(StopIteration) as end:
            generator.__anext__().send(None)
        assert end.value.value == expected
        assert seen() == "bob"


class Failing:
    """An accessor whose first `get` raises."""

    def __init__(self) -> None:
        self.value: object = "consumer's"
        self.fails = True

    def get(self) -> object:
        if self.fails:
            self.fails = False
            raise LookupError("once")
        return self.value

    def set(self, value: object) -> None:
        self.value = value

    restore = set  # noqa: A003  an accessor's names

    def clear(self) -> None:
        self.value = None


def test_value_that_cannot_be_read_is_left_alone_in_a_live_body() -> None:
    accessor = Failing()
    generator = clew.wrap_generator(body(), inherit="live")
    unregister = clew.register_accessor("failing", accessor)
    try:
        next(generator)
    finally:
        unregister()
    assert accessor.value == "consumer's"
