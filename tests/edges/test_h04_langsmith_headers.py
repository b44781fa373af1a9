"""
LangSmith's headers as servers, gateways and frameworks give them: names in any case, values alone and in lists (H04).

What the SDKs themselves send is in `tests/foreign/test_langsmith_headers.py` and `tests/javascript`.
"""

from __future__ import annotations

from email.message import Message
from typing import Any, Callable, Dict, List, Optional, Tuple

import flask
import httpx
import pytest
from starlette.requests import Request

import clew
from tests.edges._threads import in_empty_context
from tests.foreign._http import answering, answering_wsgi, ask, serving, serving_wsgi
from tests.foreign._tracers import NEEDS_LANGSMITH

Found = Optional[List[Any]]
Read = Callable[[Any], Found]
Pairs = List[Tuple[str, str]]

ROOT = "01a20137-b201-7e4c-9aba-ed1cbb092982"
CALLER = "01a20137-b202-7e28-aff0-bd2d13e79ae8"
ORDER = f"20261122T030556993893Z{ROOT}.20261122T030556994884Z{CALLER}"
METADATA, TAGS, NAME = "langsmith-metadata=%7B%22k%22%3A%201%7D", "langsmith-tags=a%2Cb", "langsmith-project=shop"
BAGGAGE = f"{METADATA},{TAGS},{NAME}"
ALL = [CALLER, ["a", "b"], {"k": 1}, "shop"]
# Of the baggage: nothing, and what is before a space.
NONE = [CALLER, [], {}, None]
NO_MORE = [CALLER, [], {"k": 1}, None]


def by_clew(headers: Any) -> Found:
    run = clew.RunTree.from_headers(headers)
    return None if run is None else [str(run.id), run.tags, run.metadata, run.project_name]


def by_langsmith(headers: Any) -> Found:
    from langsmith.run_trees import RunTree

    run = RunTree.from_headers(headers)
    if run is None:
        return None
    name = None if run.session_name == "default" else run.session_name
    return [str(run.id), run.tags, run.metadata, name]


# What a server, and a framework over it, has of a request.


def asgi(read: Read) -> Any:
    return serving(answering(lambda scope: read(scope["headers"])))


def asgi_as_dict(read: Read) -> Any:
    return serving(answering(lambda scope: read(dict(scope["headers"]))))


def starlette(read: Read) -> Any:
    return serving(answering(lambda scope: read(Request(scope).headers)))


def wsgi(read: Read) -> Any:
    return serving_wsgi(answering_wsgi(read))


def in_flask(read: Read) -> Any:
    return serving_wsgi(answering_wsgi(lambda environ: read(flask.Request(environ).headers)))


# What may be on the wire for what LangSmith's SDK writes: clients, proxies and other tracers have their own ways.
SENT: Dict[str, Pairs] = {
    "lower": [("langsmith-trace", ORDER), ("baggage", BAGGAGE)],
    "Title": [("Langsmith-Trace", ORDER), ("Baggage", BAGGAGE)],
    "UPPER": [("LANGSMITH-TRACE", ORDER), ("BAGGAGE", BAGGAGE)],
    "spaces": [("langsmith-trace", f"  {ORDER} "), ("baggage", BAGGAGE.replace(",", " , "))],
    "two baggages": [("baggage", "user=ada;ttl=60"), ("langsmith-trace", ORDER), ("baggage", BAGGAGE)],
    "three baggages": [("Baggage", METADATA), ("Baggage", TAGS), ("Baggage", NAME), ("Langsmith-Trace", ORDER)],
    "foreign members": [("langsmith-trace", ORDER), ("baggage", f"flag,,=,user=ada;ttl=60,{BAGGAGE},")],
}


def titled(values: Callable[[str], object]) -> Dict[str, object]:
    return {"Langsmith-Trace": values(ORDER), "Baggage": values(BAGGAGE)}


def message() -> Message:
    made = Message()
    for name, value in SENT["three baggages"]:
        made[name] = value
    return made


# And what others hand over, such as a gateway to a function that it calls.
GIVEN: Dict[str, Any] = {
    "dict, Title": titled(str),
    "dict, UPPER": {name.upper(): value for name, value in titled(str).items()},
    "dict of bytes, Title": {b"Langsmith-Trace": ORDER.encode(), b"Baggage": BAGGAGE.encode()},
    "dict of lists": {"langsmith-trace": [ORDER], "baggage": [METADATA, TAGS, NAME]},
    "dict of lists, Title": titled(lambda value: [value]),
    "pairs": SENT["two baggages"],
    "pairs of bytes": [(name.encode(), value.encode()) for name, value in SENT["three baggages"]],
    "httpx, two baggages": httpx.Headers(SENT["two baggages"]),
    "message, three baggages": message(),
}


def outcome(read: Read, headers: Any) -> object:
    try:
        return in_empty_context(read, headers)
    except Exception as error:
        return type(error)


@NEEDS_LANGSMITH
@pytest.mark.parametrize(
    ("server", "found"),
    [
        (asgi_as_dict, {"lower": ALL}),
        (starlette, {"lower": ALL, "spaces": NO_MORE, "foreign members": NONE, "two baggages": NONE}),
        (in_flask, {"UPPER": ALL, "spaces": NO_MORE, "foreign members": NONE}),
        (wsgi, {"lower": None}),
    ],
)
def test_langsmith_loses_what_a_server_gives_it(server: Any, found: Dict[str, Found]) -> None:
    with server(by_langsmith) as address:
        assert {name: ask(address, SENT[name]) for name in found} == found


@NEEDS_LANGSMITH
@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("dict, Title", None),
        ("dict, UPPER", None),
        ("dict of bytes, Title", None),
        ("dict of lists", AttributeError),
        ("dict of lists, Title", None),
        ("pairs", AttributeError),
        ("pairs of bytes", AttributeError),
        ("message, three baggages", NO_MORE),
    ],
)
def test_langsmith_loses_what_is_in_another_shape(given: str, found: object) -> None:
    assert outcome(by_langsmith, GIVEN[given]) == found


@pytest.mark.parametrize("server", [asgi, starlette, wsgi, in_flask])
def test_everything_is_found_in_the_headers_of_a_server(server: Any) -> None:
    with server(by_clew) as address:
        assert {name: ask(address, sent) for name, sent in SENT.items()} == dict.fromkeys(SENT, ALL)


@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_everything_is_found_in_headers_of_any_shape(given: Any) -> None:
    assert by_clew(given) == ALL


@NEEDS_LANGSMITH
@pytest.mark.parametrize("server", [asgi_as_dict, starlette, in_flask])
def test_langsmith_finds_everything_in_headers_of_ours(server: Any) -> None:
    def send(address: str) -> Tuple[Any, clew.RunTree]:
        said = clew.tracing_context(tags=["a", "b"], metadata={"k": 1}, project_name="shop")
        with clew.record(), said, clew.baggage(user="ada, of course"), clew.trace("call") as run:
            return ask(address, run.to_headers()), run

    with server(by_langsmith) as address:
        answer, run = in_empty_context(send, address)
    assert answer == [str(run.id), *ALL[1:]]


MALFORMED = ["garbage", ORDER + ".", ORDER.replace("Z", "", 1), ORDER[:-1], ORDER.replace("1122T", "1232T", 1)]


@NEEDS_LANGSMITH
@pytest.mark.parametrize("order", MALFORMED)
def test_langsmith_raises_at_a_malformed_trace(order: str) -> None:
    assert outcome(by_langsmith, {"langsmith-trace": order}) is ValueError


@pytest.mark.parametrize("server", [asgi, wsgi])
def test_a_malformed_trace_is_for_a_new_trace(server: Any) -> None:
    def serve(headers: Any) -> List[Any]:
        with clew.tracing_context(parent=headers), clew.trace("serve") as run:
            return [run.parent_id, run.trace_id == run.id, len(run.links), run.project_name, clew.get_baggage()]

    refused = clew.stats().get("langsmith_trace_refused", 0)
    with clew.record(), server(serve) as address:
        for order in MALFORMED:
            answer = ask(address, [("langsmith-trace", order), ("baggage", f"user=ada,{BAGGAGE}")])
            assert answer == [None, True, 0, None, {"user": "ada"}]
    assert clew.stats()["langsmith_trace_refused"] == refused + len(MALFORMED)
