"""
`inject` and `extract`: the headers of the current run into a request, and out of one.
"""

from __future__ import annotations

import pickle

import pytest

import clew
from clew.runs.headers import extract, inject

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_inject_adds_the_headers_of_the_current_run(runs: clew.Recording) -> None:
    carrier = {"accept": "*/*", "traceparent": "stale"}
    with clew.trace("call"), clew.baggage(tenant="acme"):
        inject(carrier)
        assert carrier == {"accept": "*/*", **clew.get_current_headers()}
    assert sorted(carrier) == ["accept", "baggage", "langsmith-trace", "traceparent"]


def test_inject_adds_nothing_outside_of_a_run() -> None:
    carrier = {"accept": "*/*"}
    inject(carrier)
    assert carrier == {"accept": "*/*"}


@pytest.mark.parametrize(
    "headers",
    [
        {"Traceparent": f"00-{TRACE}-{SPAN}-01", "Accept": "*/*", "Baggage": "tenant=acme"},
        [(b"traceparent", f"00-{TRACE}-{SPAN}-01".encode()), (b"baggage", b"tenant=acme")],
        {"wsgi.version": (1, 0), "HTTP_TRACEPARENT": f"00-{TRACE}-{SPAN}-01", "HTTP_BAGGAGE": "tenant=acme"},
    ],
)
def test_extract_keeps_the_headers_that_carry_a_trace(runs: clew.Recording, headers: object) -> None:
    extracted = extract(headers)
    assert extracted == {"traceparent": f"00-{TRACE}-{SPAN}-01", "baggage": "tenant=acme"}
    with clew.tracing_context(parent=pickle.loads(pickle.dumps(extracted))), clew.trace("serve") as run:
        assert (run.parent_span_id, run.trace_id.hex) == (SPAN, TRACE)
        assert clew.get_baggage("tenant") == "acme"


def test_extract_of_a_run_of_this_library_names_that_run(runs: clew.Recording) -> None:
    with clew.trace("call", tags=["inherited"]) as caller:
        extracted = extract({name.upper(): value for name, value in clew.get_current_headers().items()})
    with clew.tracing_context(parent=extracted), clew.trace("serve") as run:
        assert run.parent_id == caller.id
        assert run.tags == ["inherited"]
    runs.assert_tree("call\n  serve")


@pytest.mark.parametrize("headers", [{}, None, {"traceparent": "garbage"}, [("x", "y")]])
def test_extract_of_headers_without_a_trace_begins_a_new_one(runs: clew.Recording, headers: object) -> None:
    assert extract(headers) == {}
    with clew.tracing_context(parent=extract(headers)), clew.trace("serve") as run:
        assert run.parent_id is None
