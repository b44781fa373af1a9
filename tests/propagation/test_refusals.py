"""
What readers and writers refuse or drop: it is counted, it never raises, it costs little, and nobody logs it all.
"""

from __future__ import annotations

import gc
import logging
import sys
from typing import Any, Callable, Dict, List, Optional
from uuid import UUID

import pytest

from clew._shared import incidents
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import Fields, all_values
from clew.propagation.langsmith import DottedOrder, LangSmithBaggage
from clew.propagation.traceparent import TraceParent
from clew.propagation.tracestate import TraceState
from tests.propagation._counting import counting
from tests.propagation._grammars import CHILD_RUN, PARENT, ROOT_RUN, SPAN, TRACE

MEGABYTE = 1 << 20
SECRET = "hunter2"


class RaisingAtAll:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisingText(str):
    """A str that raises in every method that a reader could call."""

    __slots__ = ()

    def _raise(self, *args: Any) -> Any:
        raise RuntimeError

    __len__ = __iter__ = __getitem__ = __contains__ = __bool__ = __str__ = __repr__ = __format__ = _raise
    strip = split = partition = lower = count = startswith = translate = isspace = isascii = _raise


READERS: Dict[str, Callable[[Any], Any]] = {
    "traceparent_refused": TraceParent.from_header,
    "tracestate_refused": TraceState.from_header,
    "baggage_refused": Baggage.from_header,
    "langsmith_trace_refused": DottedOrder.from_header,
    "baggage_members_refused": BaggageMember.from_text,
}
VALID = {
    "traceparent_refused": PARENT,
    "tracestate_refused": "a=1",
    "baggage_refused": "a=1",
    "langsmith_trace_refused": f"{ROOT_RUN}.{CHILD_RUN}",
    "baggage_members_refused": "a=1;p",
}


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    "value",
    [b"a=1", 0, 1.5, [PARENT], object(), RaisingAtAll, TraceParent, "x" * MEGABYTE, "," * MEGABYTE, " " * MEGABYTE],
    ids=lambda value: ascii(value)[:12],
)
def test_what_is_no_text_or_too_long_is_counted_and_yields_nothing(kind: str, value: Any) -> None:
    with counting() as counted:
        assert not READERS[kind](RaisingAtAll() if value is RaisingAtAll else value)
    assert counted == {kind: 1}


@pytest.mark.parametrize("kind", READERS)
def test_what_is_absent_or_valid_is_not_counted(kind: str) -> None:
    with counting() as counted:
        assert not READERS[kind](None)
        assert not READERS[kind]("")
        assert not READERS[kind](" \t ")
        assert READERS[kind](VALID[kind])
        assert READERS[kind](f" {VALID[kind]}\t") == READERS[kind](VALID[kind])
    assert counted == {}


@pytest.mark.parametrize("kind", READERS)
def test_text_of_a_class_that_raises_is_read_as_the_text_that_it_is(kind: str) -> None:
    with counting() as counted:
        assert READERS[kind](RaisingText(VALID[kind])) == READERS[kind](VALID[kind])
    assert counted == {}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("traceparent_refused", "garbage"),
        ("traceparent_refused", f"ff-{TRACE}-{SPAN}-01"),
        ("traceparent_refused", f"cc-{TRACE}-{SPAN}-01-{'x' * 8192}"),
        ("tracestate_refused", "a=1,B=2"),
        ("tracestate_refused", ",".join(f"a{number}=1" for number in range(33))),
        ("langsmith_trace_refused", "garbage"),
        ("langsmith_trace_refused", ROOT_RUN.replace("0102T", "0229T")),
    ],
    ids=lambda value: value[:30],
)
def test_header_that_is_not_valid_is_counted(kind: str, text: str) -> None:
    with counting() as counted:
        assert not READERS[kind](text)
    assert counted == {kind: 1}


@pytest.mark.parametrize("text", ["a=1,b", "a b=1,a=1,=", "a=1;p,b c=1", ",".join(["a=1"] * 129), "," * 128 + "a=1"])
def test_members_of_a_baggage_that_are_refused_are_counted_once(text: str) -> None:
    with counting() as counted:
        Baggage.from_header(text)
    assert counted == {"baggage_members_refused": 1}


@pytest.mark.parametrize("text", ["a=1,", ",a=1", "a=1,, \t ,b=2", ",".join(["a=1"] * 128), ","])
def test_empty_members_of_a_baggage_are_not_counted(text: str) -> None:
    with counting() as counted:
        Baggage.from_header(text)
    assert counted == {}


def test_second_parent_is_counted_and_a_second_list_is_not() -> None:
    with counting() as counted:
        Fields.from_headers([("baggage", "a=1"), ("Baggage", "b=2"), ("tracestate", "a=1"), ("tracestate", "b=2")])
    assert counted == {}
    with counting() as counted:
        Fields.from_headers([("traceparent", PARENT)] * 3 + [("langsmith-trace", ROOT_RUN)] * 2)
    assert counted == {"traceparent_refused": 1, "langsmith_trace_refused": 1}


class Unspeakable:
    def __str__(self) -> str:
        raise KeyError("nothing to say")


ROOT_ID = UUID(int=1)
FULL = [(f"bar{number:02}", "1") for number in range(32)]


@pytest.mark.parametrize(
    ("kind", "write", "written"),
    [
        ("traceparent_dropped", lambda: TraceParent("", SPAN, 0).to_header(), None),
        ("traceparent_dropped", lambda: TraceParent(TRACE, SPAN, "01").to_header(), None),
        ("langsmith_trace_dropped", lambda: DottedOrder([(-1, ROOT_ID)]).to_header(), None),
        ("tracestate_members_dropped", lambda: TraceState([("a", "1"), ("a", "2")]).to_header(), "a=1"),
        ("tracestate_members_dropped", lambda: TraceState([("a", "1")]).updated("B", "2").to_header(), "a=1"),
        ("tracestate_members_dropped", lambda: len(TraceState(FULL).updated("new", "1").items()), 32),
        ("baggage_members_dropped", lambda: Baggage().updated("a b", "1").updated("c", "2").to_header(), "c=2"),
        ("baggage_members_dropped", lambda: Baggage().updated("a", Unspeakable()).to_header(), None),
        (
            "baggage_members_dropped",
            lambda: Baggage.from_header(",".join(["a=1"] * 65)).to_header(),
            ",".join(["a=1"] * 64),
        ),
        ("baggage_members_dropped", lambda: Baggage.from_header(f"a=1,b={'x' * 8192}").to_header(), "a=1"),
        (
            "langsmith_metadata_dropped",
            lambda: LangSmithBaggage({"k": Unspeakable()}, ("a",)).added_to(Baggage()).to_header(),
            "langsmith-tags=a",
        ),
        (
            "langsmith_tags_dropped",
            lambda: LangSmithBaggage({}, (Unspeakable(),)).added_to(Baggage()).to_header(),
            None,
        ),
        ("langsmith_tags_dropped", lambda: LangSmithBaggage({}, 5).added_to(Baggage()).to_header(), None),
        (
            "langsmith_metadata_refused",
            lambda: LangSmithBaggage.from_baggage(Baggage.from_header("langsmith-metadata=[1]")).project_name,
            None,
        ),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_is_not_written_is_counted(kind: str, write: Callable[[], Any], written: Any) -> None:
    with counting() as counted:
        assert write() == written
    assert counted == {kind: 1}


def test_what_one_baggage_drops_is_counted_once_however_often_it_is_written() -> None:
    baggage = Baggage().updated("a b", "1")
    with counting() as counted:
        assert [baggage.to_header() for _ in range(3)] == [None] * 3
    assert counted == {"baggage_members_dropped": 1}


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Callable[[], List[str]]:
    """Log each kind of incident once more. Return a function that returns the messages."""
    monkeypatch.setattr(incidents, "_logged", {})
    caplog.set_level(logging.WARNING, "clew")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("kind", [*READERS, None])
@pytest.mark.parametrize("start", ["x", "\ud800\r\n", "\u20ac", "a=1,"])
@pytest.mark.parametrize("fill", ["x", "a=1,", "\U0001f642"])
def test_log_shows_the_start_of_what_is_refused_and_no_more(
    kind: Optional[str], start: str, fill: str, messages: Callable[[], List[str]]
) -> None:
    text = f"{start}{fill * 40}{SECRET}{fill * MEGABYTE}"
    if kind is None:
        Fields.from_headers([("traceparent", text)] * 2)
        READERS["baggage_refused"](f"b c{text[:1000]}")
    else:
        READERS[kind](text)
        READERS[kind](text[:500])
        READERS[kind](text.encode("utf-8", "replace"))
    assert 1 <= len(messages()) <= 2
    for message in messages():
        assert message.isascii()
        assert message.isprintable()
        assert len(message) < 600
        assert SECRET not in message


def work_of(function: Callable[[], object]) -> int:
    """Return the number of calls of Python and C functions plus the number of executed Python lines."""
    count = 0

    def on_event(*_: Any) -> Any:
        nonlocal count
        count += 1
        return on_event

    before = sys.getprofile(), sys.gettrace()
    gc.disable()  # somebody may have asked to be told of each collection
    sys.setprofile(on_event)
    sys.settrace(on_event)
    try:
        function()
    finally:
        sys.setprofile(before[0])
        sys.settrace(before[1])
        gc.enable()
    return count


LONG = {
    "traceparent_refused": f"cc-{TRACE}-{SPAN}-01-{{}}",
    "tracestate_refused": "{}",
    "baggage_refused": "{}",
    "langsmith_trace_refused": "{}",
    "baggage_members_refused": "a=1{}",
}
FILLS = ["x", " ", ",", "a=1,", "a b,", "%41", ";p=%41", f"{ROOT_RUN}.", "\u20ac"]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("fill", FILLS, ids=ascii)
def test_work_grows_with_the_text_only_and_not_at_all_beyond_the_limits(kind: str, fill: str) -> None:
    def work(chars: int) -> int:
        text = LONG[kind].format(fill * (chars // len(fill)))
        return work_of(lambda: written_again(READERS[kind](text)))

    def written_again(read: Any) -> None:
        for write in ("to_header", "to_text"):
            if hasattr(read, write):
                getattr(read, write)()

    for chars in (1000, MEGABYTE):  # whatever is made at a first call, the line in the log included
        work(chars)
    small, large = work(1000), work(4000)
    assert large <= 4.5 * small + 100
    assert work(MEGABYTE) == work(MEGABYTE // 8) < 150


@pytest.mark.parametrize("name", ["traceparent", "baggage", "x-other"])
def test_work_on_a_collection_grows_with_it_up_to_a_limit(name: str) -> None:
    def work(number: int) -> int:
        return work_of(lambda: (Fields.from_headers([(name, "a=1")] * number), all_values({name: ["a=1"]})))

    work(10)
    assert work(2000) <= 2.2 * work(1000) + 50
    assert work(40_000) <= 1.01 * work(20_000)  # PyPy's collector works along
