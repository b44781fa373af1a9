"""
The program's own baggage: what it sends along with its requests.
"""

from __future__ import annotations

import enum
from contextvars import Context, copy_context
from typing import Any, Iterator

import pytest

import clew
from clew.errors import AlreadyEnteredError, ArgumentTypeError, ArgumentValueError
from clew.propagation.traceparent import TraceParent
from clew.propagation.tracestate import TraceState
from tests.edges._threads import DEADLINE, in_empty_context


def test_baggage_is_of_the_context() -> None:
    def outer() -> None:
        clew.set_baggage("user", "Amélie")
        clew.set_baggage("tenant", "acme")
        inner = copy_context()
        inner.run(clew.set_baggage, "user", "grace")
        assert clew.get_baggage("user") == "Amélie"
        assert inner.run(clew.get_baggage) == {"user": "grace", "tenant": "acme"}
        assert clew.get_current_headers() == {"baggage": "user=Am%C3%A9lie,tenant=acme"}
        clew.set_baggage("user", None)
        assert clew.get_baggage() == {"tenant": "acme"}
        assert clew.get_baggage("user") is None

    in_empty_context(outer)
    assert clew.get_baggage() == {}


def test_block_sets_it_and_sets_it_back() -> None:
    def handle() -> None:
        with clew.baggage({"user-id": "7"}, tenant="acme"):
            block = clew.baggage(tenant="other", plan="free")
            with block:
                assert clew.get_baggage() == {"user-id": "7", "tenant": "other", "plan": "free"}
                with pytest.raises(AlreadyEnteredError, match="write a new one for each block"):
                    block.__enter__()
            block.__exit__(None, None, None)  # does no more
            with clew.baggage(tenant=None):
                assert clew.get_baggage() == {"user-id": "7"}
            assert clew.get_baggage() == {"user-id": "7", "tenant": "acme"}
        assert clew.get_baggage() == {}

    in_empty_context(handle)


def test_parent_by_a_dotted_order_says_nothing_of_it() -> None:
    order = "20260102T030405000006Z018f0000-0000-7000-8000-000000000001"
    for parent in (order, clew.RunTree.from_dotted_order(order)):
        with clew.baggage(user="ada"), clew.tracing_context(parent=parent):
            assert clew.get_baggage() == {"user": "ada"}
    with clew.baggage(user="ada"), clew.tracing_context(parent={"langsmith-trace": order}):
        assert clew.get_baggage() == {}


def test_properties_of_members_that_came_stay() -> None:
    with clew.tracing_context(parent={"baggage": "user=ada;role=admin;seen, plan=a%20b+c"}), clew.baggage(
        tenant="acme"
    ):
        assert clew.get_current_headers()["baggage"] == "user=ada;role=admin;seen,plan=a%20b+c,tenant=acme"
        assert clew.get_baggage("plan") == "a b+c"


def test_jobs_and_generators_have_it() -> None:
    @clew.context_generator
    def stream() -> Iterator[Any]:
        clew.set_baggage("plan", "of the body")
        yield clew.get_baggage()

    def handle() -> None:
        with clew.baggage(user="ada"):
            assert next(stream()) == {"user": "ada", "plan": "of the body"}
            assert pool.submit(clew.get_baggage).result(DEADLINE) == {"user": "ada"}
            assert clew.get_baggage() == {"user": "ada"}

    with clew.ContextThreadPoolExecutor(1) as pool:
        in_empty_context(handle)


@pytest.mark.parametrize("key", ["", "a b", "é", "a=b", "a,b", "a;b", 'a"', 1])
def test_key_that_no_header_may_have_is_refused(key: Any) -> None:
    with pytest.raises(ArgumentValueError, match="expected a key of ASCII letters"):
        clew.set_baggage(key, "x")
    with pytest.raises(ArgumentValueError), clew.baggage({key: "x"}):
        pass


@pytest.mark.parametrize("key", ["langsmith-tags", "langsmith-project", "langsmith-metadata", "langsmith-replicas"])
def test_key_of_langsmiths_is_refused(key: str) -> None:
    with pytest.raises(ArgumentValueError, match="which is LangSmith's; pass tags, metadata and project_name"):
        clew.set_baggage(key, "x")


@pytest.mark.parametrize("value", [1, b"x", ["x"]])
def test_value_that_is_no_string_is_refused(value: Any) -> None:
    with pytest.raises(ArgumentTypeError, match=r"the baggage as a string, got .*; pass str\(...\) of it"):
        clew.set_baggage("key", value)
    assert clew.get_baggage() == {}


def test_what_does_not_fit_is_counted_and_langsmiths_does() -> None:
    def handle() -> None:
        before = clew.stats().get("baggage_members_dropped", 0)
        clew.set_baggage("big", "x" * 9_000)
        clew.set_baggage("small", "x")
        with clew.record(), clew.trace("call", tags=["t"]) as run:
            assert run.to_headers()["baggage"] == "langsmith-tags=t,small=x"
        assert clew.stats()["baggage_members_dropped"] == before + 1

    in_empty_context(handle)


def test_block_left_in_another_context_is_counted() -> None:
    def counted() -> int:
        stats = clew.stats()
        return stats.get("blocks_left_in_another_context", 0) + stats.get("blocks_left_out_of_order", 0)

    block = clew.baggage(user="ada")
    Context().run(block.__enter__)
    before = counted()
    block.__exit__(None, None, None)
    assert counted() == before + 1
    assert clew.get_baggage() == {}


def test_block_left_before_one_inside_it_is_counted() -> None:
    def handle() -> None:
        outer, inner = clew.baggage(user="ada"), clew.baggage(user="grace")
        outer.__enter__()
        inner.__enter__()
        before = clew.stats().get("blocks_left_out_of_order", 0)
        outer.__exit__(None, None, None)
        assert clew.get_baggage() == {"user": "grace"}
        assert clew.stats()["blocks_left_out_of_order"] == before + 1

    in_empty_context(handle)


class Key(str, enum.Enum):
    USER = "user"


class Liar(str):
    """A str whose methods return another text."""

    __slots__ = ()

    def __format__(self, spec: str) -> str:
        return "x\r\nSet-Cookie: y"

    __str__ = __repr__ = lambda self: "x\r\n"

    def isascii(self) -> bool:
        return True

    def replace(self, *args: Any) -> str:  # type: ignore[override]
        return "x\r\n"


def test_strings_of_a_class_of_their_own_are_written_as_what_they_hold() -> None:
    with clew.baggage({Key.USER: Liar("a,b")}):
        assert clew.get_baggage("user") == "a,b"
        assert clew.get_current_headers() == {"baggage": "user=a%2Cb"}
    parent = TraceParent(Liar("4bf92f3577b34da6a3ce929d0e0e4736"), Liar("00f067aa0ba902b7"), 1)
    assert parent.to_header() == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert TraceState([(Key.USER, Liar("v"))]).to_header() == "user=v"
    with clew.record(), clew.trace("call", project_name=Liar("shop"), tags=[Liar("t")]) as run:
        assert run.to_headers()["baggage"] == "langsmith-project=shop,langsmith-tags=t"
