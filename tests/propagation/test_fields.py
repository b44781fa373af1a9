"""
`Fields`: one reader for every shape that headers come in, made by the libraries that have it.
"""

from __future__ import annotations

import email
import http.client
import os
from email.message import Message
from itertools import chain, count, repeat
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Tuple
from wsgiref.headers import Headers as WsgiHeaders
from wsgiref.util import setup_testing_defaults

import django.conf
import django.core.handlers.wsgi
import django.http.request
import flask
import httpx
import multidict
import pytest
import requests
import starlette.datastructures
import starlette.requests
import urllib3
import werkzeug.datastructures

import clew
from clew.propagation.fields import Fields, all_values
from tests.propagation._counting import counting
from tests.propagation._grammars import CHILD_RUN, PARENT, ROOT_RUN, SPAN, TRACE
from tests.propagation._opentelemetry import read_parent

Pairs = List[Tuple[str, str]]

OTHER_PARENT = f"00-{TRACE[::-1]}-{SPAN}-01"

REPEATED: Pairs = [
    ("Host", "example.org"),
    ("TraceParent", PARENT),
    ("tracestate", "a=1"),
    ("TraceState", "b=2,c=3"),
    ("Accept", "*/*"),
    ("BAGGAGE", "k=1;p"),
    ("User-Agent", "x" * 11),
    # An empty header counts as no header.
    ("baggage", ""),
    ("traceparent", " \t "),
    ("Baggage", "l=%32"),
    ("LangSmith-Trace", ROOT_RUN),
    ("Content-Type", "text/plain"),
]
READ_REPEATED = Fields(PARENT, "a=1,b=2,c=3", "k=1;p,l=%32", ROOT_RUN)

SINGLE: Pairs = [
    ("Host", "example.org"),
    ("TRACEPARENT", PARENT),
    ("Tracestate", "a=1,b=2"),
    ("baggage", "k=1;p,l=%32"),
    ("Langsmith-Trace", f"{ROOT_RUN}.{CHILD_RUN}"),
]
READ_SINGLE = Fields(PARENT, "a=1,b=2", "k=1;p,l=%32", f"{ROOT_RUN}.{CHILD_RUN}")


def in_bytes(pairs: Pairs) -> List[Tuple[bytes, bytes]]:
    """Return the headers in the form of ASGI."""
    return [(key.lower().encode(), value.encode()) for key, value in pairs]


def by_name(pairs: Pairs) -> Dict[str, List[str]]:
    values: Dict[str, List[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    return values


def added_to(headers: Any) -> Callable[[Pairs], Any]:
    def add(pairs: Pairs) -> Any:
        for key, value in pairs:
            headers.add(key, value)
        return headers

    return add


def message(kind: Any) -> Callable[[Pairs], Any]:
    def make(pairs: Pairs) -> Message:
        lines = "".join(f"{key}: {value}\r\n" for key, value in pairs)
        return email.message_from_string(f"{lines}\r\n", _class=kind)

    return make


@pytest.mark.parametrize(
    "shape",
    [
        list,
        tuple,
        iter,
        lambda pairs: map(list, pairs),
        in_bytes,
        lambda pairs: [(bytearray(key), memoryview(value)) for key, value in in_bytes(pairs)],
        by_name,
        lambda pairs: {key: tuple(values) for key, values in by_name(pairs).items()},
        httpx.Headers,
        lambda pairs: httpx.Headers(in_bytes(pairs)),
        lambda pairs: httpx.Request("GET", "http://example.org", headers=pairs).headers,
        lambda pairs: starlette.datastructures.Headers(raw=in_bytes(pairs)),
        lambda pairs: starlette.datastructures.MutableHeaders(raw=in_bytes(pairs)),
        lambda pairs: starlette.requests.Request({"type": "http", "headers": in_bytes(pairs)}).headers,
        werkzeug.datastructures.Headers,
        WsgiHeaders,
        message(Message),
        message(http.client.HTTPMessage),
        lambda pairs: added_to(urllib3.HTTPHeaderDict())(pairs),
        # The headers of aiohttp, in its clients and servers.
        multidict.CIMultiDict,
        lambda pairs: multidict.CIMultiDictProxy(multidict.CIMultiDict(pairs)),
    ],
)
def test_repeated_headers_are_read_from_every_shape(shape: Callable[[Pairs], Any]) -> None:
    assert Fields.from_headers(shape(REPEATED)) == READ_REPEATED
    assert Fields.from_headers(shape(SINGLE)) == READ_SINGLE
    twice = Fields.from_headers(shape([*REPEATED, ("tRACEPARENT", OTHER_PARENT), ("langsmith-trace", CHILD_RUN)]))
    assert twice == READ_REPEATED._replace(traceparent=None, langsmith_trace=None)
    assert Fields.from_headers(shape([])) == Fields()


def environ_of(pairs: Pairs) -> Dict[str, Any]:
    """Return the headers in the form of WSGI, which joins repeated ones."""
    environ: Dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.update({f"HTTP_{key.upper().replace('-', '_')}": value for key, value in pairs})
    return environ


def flask_headers(pairs: Pairs) -> Any:
    with flask.Flask("shapes").test_request_context(headers=pairs):
        return flask.request.headers


def django_request(pairs: Pairs) -> Any:
    if not django.conf.settings.configured:
        django.conf.settings.configure()
    return django.core.handlers.wsgi.WSGIRequest({**environ_of(pairs), "SCRIPT_NAME": "/"})


@pytest.mark.parametrize(
    "shape",
    [
        dict,
        lambda pairs: dict(in_bytes(pairs)),
        lambda pairs: MappingProxyType(dict(pairs)),
        environ_of,
        lambda pairs: MappingProxyType(environ_of(pairs)),
        lambda pairs: starlette.datastructures.Headers(dict(pairs)),
        flask_headers,
        lambda pairs: django_request(pairs).headers,
        lambda pairs: django_request(pairs).META,
        lambda pairs: django.http.request.HttpHeaders(environ_of(pairs)),
        lambda pairs: werkzeug.datastructures.EnvironHeaders(environ_of(pairs)),
        requests.structures.CaseInsensitiveDict,
        lambda pairs: requests.Request("GET", "http://example.org", headers=dict(pairs)).prepare().headers,
    ],
)
def test_headers_are_read_from_every_shape_that_repeats_none(shape: Callable[[Pairs], Any]) -> None:
    assert Fields.from_headers(shape(SINGLE)) == READ_SINGLE
    assert Fields.from_headers(shape(SINGLE[:2])) == Fields(PARENT)
    assert Fields.from_headers(shape([])) == Fields()


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.swapcase])
def test_name_is_read_in_any_letter_case(change: Callable[[str], str]) -> None:
    assert Fields.from_headers({change(key): value for key, value in SINGLE}) == READ_SINGLE
    assert Fields.from_headers([(change(key).encode(), value) for key, value in SINGLE]) == READ_SINGLE


def test_names_in_several_cases_are_one_name() -> None:
    headers = {"baggage": "a=1", "Baggage": "b=2", "traceparent": PARENT, "Traceparent": PARENT}
    assert Fields.from_headers(headers) == Fields(baggage="a=1,b=2")


@pytest.mark.parametrize(
    "name",
    [
        "trace-parent",
        "trace.parent",
        "trace_parent",
        "traceparent ",
        "traceparent:",
        "traceparen\u0442",
        "xraceparent",
        "HTTP_TRACEPARENT",
        "trace-state",
        "baggages",
        "baggag\u0435",
        "langsmith_trace",
        "",
        "\x00",
    ],
    ids=ascii,
)
def test_other_name_is_another_header(name: str) -> None:
    assert Fields.from_headers([(name, PARENT), ("baggage", "a=1")]) == Fields(baggage="a=1")
    assert Fields.from_headers([(name.encode(), PARENT), ("baggage", "a=1")]) == Fields(baggage="a=1")


def test_environ_has_headers_only_under_its_own_names() -> None:
    environ = environ_of([("baggage", "a=1")])
    environ.update({"traceparent": PARENT, "TRACEPARENT": PARENT, "HTTP_TRACESTATE_": "a=1", 5: 6})
    assert Fields.from_headers(environ) == Fields(baggage="a=1")


def test_text_that_is_not_ascii_is_read_as_http_has_it() -> None:
    assert Fields.from_headers([(b"baggage", b"a=\xe9\xff\x00")]) == Fields(baggage="a=\u00e9\u00ff\x00")


@pytest.mark.parametrize("value", [None, 5, object(), {"a": 1}, {"b"}])
def test_value_that_is_no_text_is_none(value: object) -> None:
    found = Fields.from_headers({"traceparent": value, "baggage": [value, "a=1"], "tracestate": []})
    assert found == Fields(None, None, "a=1")
    assert Fields.from_headers([("traceparent", value), ("traceparent", PARENT)]) == Fields(PARENT)


@pytest.mark.parametrize("empty", ["", " ", " \t ", b"", b" ", [], [""], ["", b" "]])
def test_header_that_is_empty_is_as_good_as_none(empty: Any) -> None:
    names = ("traceparent", "tracestate", "baggage", "langsmith-trace")
    assert Fields.from_headers(dict.fromkeys(names, empty)) == Fields()
    assert Fields.from_headers([(name.encode(), empty) for name in names]) == Fields()
    assert Fields.from_headers([(name, each) for name in names for each in (empty, "x", empty)]) == Fields(*["x"] * 4)


def test_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRACEPARENT", "TRACESTATE", "BAGGAGE"):
        monkeypatch.delenv(name, raising=False)
    assert Fields.from_headers(os.environ) == Fields()
    monkeypatch.setenv("TRACEPARENT", PARENT)
    monkeypatch.setenv("TRACESTATE", "")
    monkeypatch.setenv("BAGGAGE", "k=1")
    assert Fields.from_headers(os.environ) == Fields(PARENT, None, "k=1")


@pytest.mark.parametrize(
    "shape", [list, iter, in_bytes, by_name, httpx.Headers, multidict.CIMultiDict, message(Message)]
)
def test_all_values_are_there_by_name(shape: Callable[[Pairs], Any]) -> None:
    assert all_values(shape([("X-B3-TraceId", "1"), ("B3", "2"), ("x-b3-traceid", "3")])) == {
        "x-b3-traceid": ["1", "3"],
        "b3": ["2"],
    }


def test_all_values_of_an_environ_are_those_of_its_headers() -> None:
    pairs = [("X-B3-TraceId", "1"), ("B3", "2")]
    headers = {"x-b3-traceid": ["1"], "b3": ["2"]}
    environ = {**environ_of(pairs), 5: 6}
    environ.pop("HTTP_HOST")
    assert all_values(environ) == all_values(MappingProxyType(environ)) == headers


def test_all_values_of_what_cannot_be_read_are_those_before() -> None:
    with counting() as counted:
        assert all_values(None) == all_values("b3") == all_values([(5, "x")]) == {}
    assert counted == {}
    with counting() as counted:
        assert all_values(RaisingAtAll()) == all_values(5) == {}
        assert all_values(breaking_off([("B3", "1")])) == {"b3": ["1"]}
    assert counted == {"headers_unreadable": 3}


class Raising:
    """Raises at every operation."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def items(self) -> Any:
        raise self._error


class RaisingAtAll:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class RaisingMapping(Dict[str, str]):
    def __contains__(self, key: object) -> bool:
        raise RuntimeError(key)


class RaisingText(str):
    __slots__ = ()

    def lower(self) -> str:
        raise RuntimeError


def breaking_off(pairs: Pairs) -> Iterator[Tuple[str, str]]:
    yield from pairs
    raise RuntimeError("no more of them")


@pytest.mark.parametrize(
    "headers",
    [
        5,
        1.5,
        object(),
        dict,
        Raising(RuntimeError("no")),
        Raising(StopIteration()),
        Raising(RecursionError()),
        RaisingAtAll,
        RaisingMapping(baggage="a=1"),
        [(RaisingText("baggage"), "a=1")],
        breaking_off([]),
        [5],
        [()],
        [("baggage",)],
        [("baggage", "a=1", "b=2")],
        count(),
        repeat(count()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_collection_that_cannot_be_read_is_counted_and_has_nothing(headers: Any) -> None:
    before = clew.stats().get("headers_unreadable", 0)
    assert Fields.from_headers(RaisingAtAll() if headers is RaisingAtAll else headers) == Fields()
    assert clew.stats()["headers_unreadable"] == before + 1


@pytest.mark.parametrize(
    "headers",
    [
        None,
        "",
        b"",
        "baggage",
        b"baggage",
        "traceparent: x",
        (),
        {},
        set(),
        {5: "x", None: "y", ("baggage",): "z"},
        [(5, 6), (None, None)],
        [(("baggage",), "a=1")],
        ["ab"],
        {"baggage": []},
    ],
    ids=repr,
)
def test_collection_without_such_headers_has_nothing(headers: Any) -> None:
    before = clew.stats().get("headers_unreadable", 0)
    assert Fields.from_headers(headers) == Fields()
    assert clew.stats().get("headers_unreadable", 0) == before


def test_what_stops_the_program_is_let_through() -> None:
    with pytest.raises(KeyboardInterrupt):
        Fields.from_headers(Raising(KeyboardInterrupt()))


def test_what_was_read_before_a_collection_breaks_off_counts() -> None:
    assert Fields.from_headers(breaking_off([("baggage", "a=1")])) == Fields(baggage="a=1")


def test_collection_without_an_end_is_read_in_part() -> None:
    endless = chain([("traceparent", PARENT)], repeat(("baggage", "a=1")))
    found = Fields.from_headers(endless)
    assert found == Fields(PARENT, None, ",".join(["a=1"] * 9_999))
    assert next(endless) == ("baggage", "a=1")


def test_second_parent_is_refused_by_clew_only() -> None:
    headers = {"traceparent": [PARENT, OTHER_PARENT]}
    assert read_parent(headers)[0] == TRACE
    assert Fields.from_headers(headers) == Fields()
