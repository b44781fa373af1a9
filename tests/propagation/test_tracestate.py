"""
`tracestate`: each rule of W3C Trace Context about it, and what OpenTelemetry makes of it.
"""

from __future__ import annotations

from typing import Any, List, Tuple

import pytest

from clew.propagation.tracestate import TraceState
from tests.propagation._grammars import PARENT, SPAN, STATE_CHARS, STATE_KEY_CHARS, TRACE, is_tracestate
from tests.propagation._opentelemetry import read_parent, written_parent

Pairs = List[Tuple[str, str]]

FULL = [(f"bar{number:02}", f"{number:02}") for number in range(32)]


def text_of(pairs: Pairs) -> str:
    return ",".join(f"{key}={value}" for key, value in pairs)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("foo=1", [("foo", "1")]),
        ("foo=1,bar=2", [("foo", "1"), ("bar", "2")]),
        # White space around a member is removed, but not at the start of a value.
        ("foo=1 \t , \t bar=2, \t baz=3", [("foo", "1"), ("bar", "2"), ("baz", "3")]),
        ("\t foo=1 \t", [("foo", "1")]),
        ("foo= 1 2 ", [("foo", " 1 2")]),
        # Members may be empty, because one of several joined headers may be.
        ("", []),
        (" \t ", []),
        (",,", []),
        ("foo=1,", [("foo", "1")]),
        (",foo=1", [("foo", "1")]),
        ("foo=1,, \t ,bar=2", [("foo", "1"), ("bar", "2")]),
        ("," * 1000 + "foo=1", [("foo", "1")]),
        # If a key is repeated, the first member is kept.
        ("foo=1,foo=1", [("foo", "1")]),
        ("foo=1,bar=2,foo=3", [("foo", "1"), ("bar", "2")]),
        # Members of the greatest length and number.
        (f"{'z' * 256}=1", [("z" * 256, "1")]),
        (f"foo={'v' * 256}", [("foo", "v" * 256)]),
        (text_of(FULL), FULL),
        # Keys of level 2: punctuation is allowed everywhere except at the start.
        ("foo@=1,bar=2", [("foo@", "1"), ("bar", "2")]),
        ("foo@@bar=1", [("foo@@bar", "1")]),
        ("foo@bar@baz=1", [("foo@bar@baz", "1")]),
        (f"{'t' * 242}@v=1", [("t" * 242 + "@v", "1")]),
        (f"t@{'v' * 15}=1", [("t@" + "v" * 15, "1")]),
        ("0foo=1", [("0foo", "1")]),
        (f"{STATE_KEY_CHARS}={STATE_CHARS}", [(STATE_KEY_CHARS, STATE_CHARS)]),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_header_that_is_valid_is_read_and_written(text: str, pairs: Pairs) -> None:
    state = TraceState.from_header(text)
    assert list(state.items()) == pairs
    assert state.to_header() == (text_of(pairs) or None)
    assert bool(state) is bool(pairs)
    assert state.to_header() is None or is_tracestate(text_of(pairs))


@pytest.mark.parametrize(
    "member",
    [
        "bar",
        "=",
        "bar=",
        "bar= ",
        "=1",
        "bar=1=2",
        "bar =1",
        "\tbar\t=1",
        "BAR=1",
        "bar.baz=1",
        "b\u00e4r=1",
        "@bar=1",
        "_bar=1",
        "-bar=1",
        "*bar=1",
        "/bar=1",
        "bar=1\n",
        "bar=1\t2",
        "bar=1\x00",
        "bar=\x7f",
        "bar=\u00e9",
        "bar=\ud800",
        f"{'z' * 257}=1",
        f"bar={'v' * 257}",
        text_of(FULL),
        # Each member counts, also if a key is repeated.
        text_of([("bar", "1")] * 32),
        "x" * (1 << 20),
        "," * (1 << 20),
        "bar=1," * (1 << 18),
    ],
    ids=lambda text: repr(text)[:40],
)
def test_one_member_that_is_not_valid_leaves_out_all(member: str) -> None:
    assert TraceState.from_header(f"foo=1,{member}").items() == ()
    assert TraceState.from_header(f"{member},foo=1").items() == ()


@pytest.mark.parametrize("nothing", [None, b"foo=1", 0, ["foo=1"], {"foo": "1"}, object(), TraceState])
def test_what_is_no_text_has_no_member(nothing: object) -> None:
    assert TraceState.from_header(nothing) == TraceState()


def test_member_that_is_changed_becomes_the_first() -> None:
    state = TraceState.from_header("rojo=1,congo=2,baz=3")
    assert state.updated("congo", "new").to_header() == "congo=new,rojo=1,baz=3"
    assert state.updated("rojo", "new").to_header() == "rojo=new,congo=2,baz=3"
    assert state.updated("more", "new").to_header() == "more=new,rojo=1,congo=2,baz=3"
    assert state.without("congo").to_header() == "rojo=1,baz=3"
    assert state.without("none") == state
    assert state.to_header() == "rojo=1,congo=2,baz=3"


def test_member_that_is_one_too_many_pushes_out_the_last() -> None:
    state = TraceState(FULL)
    assert state.updated("new", "1").items() == (("new", "1"), *FULL[:-1])
    assert state.updated("bar31", "1").items() == (("bar31", "1"), *FULL[:-1])
    assert TraceState([*FULL, ("more", "1")]).items() == tuple(FULL)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("", "1"),
        ("Foo", "1"),
        ("f o", "1"),
        ("foo\n", "1"),
        ("f" * 257, "1"),
        ("foo", ""),
        ("foo", "1 "),
        ("foo", "1,bar=2"),
        ("foo", "a=b"),
        ("foo", "\r\nx: y"),
        ("foo", "\u00e9"),
        ("foo", "v" * 257),
        ("foo", 1),
        (1, "1"),
        (None, None),
        (b"foo", b"1"),
        ([], "1"),
        ("foo", []),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_member_that_a_header_may_not_have_is_left_out(key: Any, value: Any) -> None:
    assert TraceState([(key, value), ("bar", "2")]).to_header() == "bar=2"
    assert TraceState([("bar", "2")]).updated(key, value).to_header() == "bar=2"


def test_state_is_a_value() -> None:
    state = TraceState.from_header("foo=1,bar=2")
    assert state == TraceState([("foo", "1"), ("bar", "2")])
    assert hash(state) == hash(TraceState([("foo", "1"), ("bar", "2")]))
    assert state != TraceState([("bar", "2"), ("foo", "1")])
    assert state != "foo=1,bar=2"
    assert repr(state) == "TraceState([('foo', '1'), ('bar', '2')])"
    assert state.get("bar") == "2"
    assert state.get("baz") is None


def test_opentelemetry_and_clew_read_each_other() -> None:
    pairs = dict(FULL[:-2], **{"foo@bar": " 1 2", "z": "".join(STATE_CHARS)})
    headers = {"traceparent": PARENT, "tracestate": TraceState(pairs.items()).to_header()}
    assert read_parent(headers) == (TRACE, SPAN, 1, pairs)
    assert TraceState.from_header(written_parent(TRACE, SPAN, 1, pairs)["tracestate"]).items() == tuple(pairs.items())


@pytest.mark.parametrize("text", ["foo=1,BAR=2", "foo=1,=2", text_of([*FULL, ("more", "1")])])
def test_state_that_opentelemetry_leaves_out_is_left_out(text: str) -> None:
    assert read_parent({"traceparent": PARENT, "tracestate": text})[3] == {}
    assert not TraceState.from_header(text)


def test_key_that_is_there_twice_loses_the_whole_state_in_opentelemetry_only() -> None:
    text = "foo=1,bar=2,foo=3"
    assert read_parent({"traceparent": PARENT, "tracestate": text})[3] == {}
    assert TraceState.from_header(text).to_header() == "foo=1,bar=2"
