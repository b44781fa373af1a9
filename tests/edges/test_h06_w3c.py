"""
H06: W3C's headers from one service to the next, over a socket, as the Recommendations want them.

The suite that W3C has for `traceparent` and `tracestate` is run by the session `w3c` of `noxfile.py`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

import pytest

import clew
from tests.edges._threads import in_empty_context
from tests.foreign.w3c._services import ASGI_WAYS, WSGI_WAYS, Services, serving_both
from tests.propagation._grammars import PARENT, ROOT_RUN, SPAN, TRACE, is_traceparent
from tests.propagation._opentelemetry import extract, inject, read_baggage, read_parent

OTHER_PARENT = f"00-{TRACE[::-1]}-{SPAN}-01"
IDS = f"{TRACE}-{SPAN}"

kinds = pytest.mark.parametrize("kind", ["ASGI", "WSGI"])
ways = pytest.mark.parametrize(
    ("kind", "way"), [*[("ASGI", way) for way in ASGI_WAYS], *[("WSGI", way) for way in WSGI_WAYS]]
)


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serving_both(clew.record) as both:
        yield both


@pytest.fixture(scope="module")
def unrecorded() -> Iterator[Services]:
    with serving_both(nullcontext) as both:
        yield both


def by_opentelemetry(headers: Iterable[Tuple[str, str]]) -> Dict[str, str]:
    """Return what a service sends on that does it with OpenTelemetry's propagators."""
    return inject(extract(grouped(headers)))


def grouped(headers: Iterable[Tuple[str, str]]) -> Dict[str, List[str]]:
    """Return the values of each name, as OpenTelemetry's integrations hand them to the propagators."""
    found: Dict[str, List[str]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def parts(headers: Dict[str, str]) -> Tuple[str, str, str]:
    assert is_traceparent(headers["traceparent"]), headers
    _, trace_id, span_id, flags = headers["traceparent"].split("-")
    return trace_id, span_id, flags


# What is a parent, and the flags that are sent on: the ones that are defined, in the version that is.
CONTINUED = {
    f"00-{IDS}-01": "01",
    f"00-{IDS}-03": "03",
    f"00-{IDS}-ff": "03",
    f"00-{IDS}-fd": "01",
    f"01-{IDS}-01": "01",
    f"cc-{IDS}-01": "01",
    f"cc-{IDS}-03": "01",
    f"cc-{IDS}-01-": "01",
    f"fe-{IDS}-01-what-the-future-will-be-like": "01",
}


@kinds
@pytest.mark.parametrize("header", CONTINUED)
def test_trace_goes_on_under_a_new_parent(services: Services, kind: str, header: str) -> None:
    trace_id, span_id, flags = parts(services.hop(kind, [("traceparent", header)]))
    assert (trace_id, flags) == (TRACE, CONTINUED[header])
    assert span_id != SPAN


@kinds
@pytest.mark.parametrize("flags", ["00", "02"])
def test_trace_that_is_not_sampled_goes_on_under_a_new_parent(services: Services, kind: str, flags: str) -> None:
    sent = services.hop(kind, [("traceparent", f"00-{IDS}-{flags}")])
    assert parts(sent)[::2] == (TRACE, flags)
    assert parts(sent)[1] != SPAN
    assert "langsmith-trace" not in sent


@ways
def test_each_call_is_a_parent_of_its_own_wherever_it_is_made(services: Services, kind: str, way: str) -> None:
    headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("baggage", "k=1;p")]
    sent = services.hops(kind, headers, way, number=3)
    assert {parts(each)[0] for each in sent} == {TRACE}
    assert len({parts(each)[1] for each in sent} | {SPAN}) == 4
    assert [(each["tracestate"], each["baggage"]) for each in sent] == [("a=1", "k=1;p")] * 3


@ways
def test_services_that_call_each_other_are_one_tree(services: Services, kind: str, way: str) -> None:
    with clew.record() as runs:
        status, sent = services.answer(kind, [("traceparent", PARENT)], way, [services.call("WSGI", "ASGI")])
    assert status == 200
    runs.assert_tree(
        """
        serve
          call
            serve
              call
                serve
                  call
        """
    )
    first, *_, last = runs
    assert first.parent_span_id == SPAN
    assert [parts(each)[:2] for each in sent] == [(TRACE, last.span_id)]


REFUSED = [
    f"00-{IDS}-01.",
    f"00-{IDS}-01-what-the-future-will-be-like",
    f"00-{IDS}-01-",
    f"cc-{IDS}-01.what-the-future-will-be-like",
    f"cc-{IDS}-012",
    f"ff-{IDS}-01",
    f".0-{IDS}-01",
    f"0-{IDS}-01",
    f"000-{IDS}-01",
    f"00-{TRACE}0-{SPAN}-01",
    f"00-{TRACE[1:]}-{SPAN}-01",
    f"00-{TRACE}-{SPAN}0-01",
    f"00-{TRACE}-{SPAN[1:]}-01",
    f"00-{IDS}-1",
    f"00-{IDS}-001",
    f"00-{IDS}-.0",
    f"00-{IDS}",
    f"00-{TRACE[:-1]}.-{SPAN}-01",
    f"00-{TRACE}-{SPAN[:-1]}.-01",
    f"00-{IDS}-01".upper(),
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"{PARENT},{PARENT}",
    "",
]


@kinds
@pytest.mark.parametrize("header", REFUSED)
def test_traceparent_that_is_not_valid_is_for_a_new_trace(services: Services, kind: str, header: str) -> None:
    sent = services.hop(kind, [("traceparent", header), ("tracestate", "a=1")])
    trace_id, _, flags = parts(sent)
    assert trace_id != TRACE
    assert flags == "03"  # the id is ours, and random
    assert "tracestate" not in sent


def test_second_traceparent_is_accepted_by_opentelemetry() -> None:
    assert parts(by_opentelemetry([("traceparent", PARENT), ("traceparent", OTHER_PARENT)]))[0] == TRACE


@kinds
@pytest.mark.parametrize("second", [OTHER_PARENT, PARENT, "garbage"])
def test_second_traceparent_is_for_a_new_trace(services: Services, kind: str, second: str) -> None:
    sent = services.hop(kind, [("traceparent", PARENT), ("TraceParent", second), ("tracestate", "a=1")])
    assert parts(sent)[0] not in (TRACE, TRACE[::-1])
    assert "tracestate" not in sent


@kinds
@pytest.mark.parametrize("change", [str.upper, str.title, lambda name: name[:5].upper() + name[5:]])
def test_names_may_be_in_any_case(services: Services, kind: str, change: Callable[[str], str]) -> None:
    headers = {"traceparent": PARENT, "tracestate": "a=1", "baggage": "k=1"}
    sent = services.hop(kind, [(change(name), value) for name, value in headers.items()])
    assert (parts(sent)[0], sent["tracestate"], sent["baggage"]) == (TRACE, "a=1", "k=1")


@kinds
@pytest.mark.parametrize("name", ["trace-parent", "trace.parent", "x-traceparent"])
def test_other_names_are_other_headers(services: Services, kind: str, name: str) -> None:
    assert parts(services.hop(kind, [(name, PARENT)]))[0] != TRACE


MEMBERS = [f"bar{number:02}={number:02}" for number in range(1, 34)]
LONG = "z" * 256
EVERY_CHAR = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")

STATES: List[Tuple[List[str], Optional[str]]] = [
    (["foo=1"], "foo=1"),
    (["foo=1,bar=2", "baz=3"], "foo=1,bar=2,baz=3"),
    (["foo=1 \t , \t bar=2", "\tbaz=3 "], "foo=1,bar=2,baz=3"),
    (["", "foo=1", " ", "bar=2", ""], "foo=1,bar=2"),
    (["foo=1,,bar=2, ,"], "foo=1,bar=2"),
    (["", ","], None),
    (["foo=1 2"], "foo=1 2"),
    (["foo=1,foo=2,bar=3"], "foo=1,bar=3"),
    (["foo=1,bar=2", "foo=3"], "foo=1,bar=2"),
    (["foo@=1,foo@@bar=2,0@bar@baz=3"], "foo@=1,foo@@bar=2,0@bar@baz=3"),
    (
        [f"abcdefghijklmnopqrstuvwxyz0123456789_-*/={EVERY_CHAR}"],
        f"abcdefghijklmnopqrstuvwxyz0123456789_-*/={EVERY_CHAR}",
    ),
    (["foo=1", f"{LONG}=1"], f"foo=1,{LONG}=1"),
    (["foo=1", f"{LONG}z=1"], None),
    ([f"foo={LONG}"], f"foo={LONG}"),
    ([f"foo={LONG}z,bar=1"], None),
    ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:32])], ",".join(MEMBERS[:32])),
    ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:33])], None),
    (
        [",".join(f"{number:0256}={LONG}" for number in range(32))],
        ",".join(f"{number:0256}={LONG}" for number in range(32)),
    ),
    (["foo =1,bar=2"], None),
    (["FOO=1"], None),
    (["foo.bar=1"], None),
    (["@foo=1,bar=2"], None),
    (["foo=bar=baz"], None),
    (["foo=,bar=3"], None),
    (["foo"], None),
    (["=1"], None),
]


@kinds
@pytest.mark.parametrize(("values", "expected"), STATES, ids=[repr(values)[:40] for values, _ in STATES])
def test_tracestate_is_sent_on_as_a_whole_or_not_at_all(
    services: Services, kind: str, values: List[str], expected: Optional[str]
) -> None:
    sent = services.hop(kind, [("traceparent", PARENT), *[("tracestate", value) for value in values]])
    assert parts(sent)[0] == TRACE
    assert sent.get("tracestate") == expected


@kinds
def test_tracestate_alone_is_not_sent_on(services: Services, kind: str) -> None:
    sent = services.hop(kind, [("tracestate", "foo=1")])
    assert parts(sent)[0] != TRACE
    assert "tracestate" not in sent


@kinds
def test_trace_that_begins_here_is_random_and_sampled(services: Services, kind: str) -> None:
    first, second = services.hop(kind, []), services.hop(kind, [])
    assert parts(first)[0] != parts(second)[0]
    assert (parts(first)[2], set(first)) == ("03", {"traceparent", "langsmith-trace"})


SIXTY_FOUR = [f"k{number}={number};p" for number in range(64)]
LARGEST = f"k={'v' * 8190}"

BAGGAGES: List[Tuple[List[str], str]] = [
    (["k=a+b%2Bc"], "k=a+b%2Bc"),
    (["k=%20%e9%E2%82%ac%25"], "k=%20%e9%E2%82%ac%25"),
    (["k=a=b/c?d:e@f[]{}!#$&'()*-.^_`|~<>"], "k=a=b/c?d:e@f[]{}!#$&'()*-.^_`|~<>"),
    (["k=1;seen;ttl=30;x=%2C", "l="], "k=1;seen;ttl=30;x=%2C,l="),
    (["k=1", "l=2;p,m=3", "K=4"], "k=1,l=2;p,m=3,K=4"),
    (["k \t= 1 ; p\t=  2 ; q", "\tl=2 "], "k=1;p=2;q,l=2"),
    (["", "k=1,,l=2, ,", ""], "k=1,l=2"),
    (["k=1,k=2"], "k=1,k=2"),
    (["a%20b=1"], "a%20b=1"),
    (["!#$%&'*+-.^_`|~09azAZ=1"], "!#$%&'*+-.^_`|~09azAZ=1"),
    (["garbage,k=1,=2,a b=3,k\u00e9=4"], "k=1"),
    (['k=a b"c\\d'], "k=a%20b%22c%5Cd"),
    (["k=100%,l=2"], "k=100%25,l=2"),
    ([",".join(SIXTY_FOUR[:32]), ",".join(SIXTY_FOUR[32:])], ",".join(SIXTY_FOUR)),
    ([",".join(SIXTY_FOUR), "one-more=1"], ",".join(SIXTY_FOUR)),
    ([LARGEST], LARGEST),
    ([f"first=1,{LARGEST}", "last=2"], "first=1,last=2"),
]


@kinds
@pytest.mark.parametrize("parent", [[("traceparent", PARENT)], []], ids=["in a trace", "without one"])
@pytest.mark.parametrize(("values", "expected"), BAGGAGES, ids=[repr(values)[:40] for values, _ in BAGGAGES])
def test_baggage_is_sent_on_to_the_letter(
    services: Services, kind: str, parent: Any, values: List[str], expected: str
) -> None:
    sent = services.hop(kind, [*parent, *[("baggage", value) for value in values]])
    assert sent["baggage"] == expected


@kinds
def test_langsmiths_members_and_others_are_sent_on_but_not_where_to_store_runs(services: Services, kind: str) -> None:
    baggage = "user=ada;p,langsmith-address=here,langsmith-tags=a%2Cb,langsmith-replicas=x,langsmith-project=shop"
    sent = services.hop(kind, [("langsmith-trace", ROOT_RUN), ("baggage", baggage)])
    assert sorted(sent["baggage"].split(",")) == ["langsmith-project=shop", "langsmith-tags=a%2Cb", "user=ada;p"]


@pytest.mark.parametrize(
    ("values", "sent", "seen"),
    [
        pytest.param(["k=a+b"], "k=a+b", {"k": "a b"}, id="a plus is a space"),
        pytest.param(["k=1;p=2"], "k=1%3Bp%3D2", {"k": "1;p=2"}, id="a property is a part of the value"),
        pytest.param(["k=1", "l=2"], "k=1", {"k": "1"}, id="there is only one header"),
        pytest.param(["a%20b=1"], "a+b=1", {"a b": "1"}, id="a key is encoded"),
    ],
)
def test_baggage_is_changed_by_opentelemetry(values: List[str], sent: str, seen: Dict[str, str]) -> None:
    headers = [("baggage", value) for value in values]
    assert (by_opentelemetry(headers)["baggage"], read_baggage(grouped(headers))) == (sent, seen)


def baggage_under(headers: Dict[str, str]) -> Dict[str, str]:
    with clew.tracing_context(parent=headers):
        return clew.get_baggage()


@kinds
def test_values_of_the_program_arrive_through_both_services(services: Services, kind: str) -> None:
    values = {"user-id": '1+1=2 \u00e9\u20ac,;%\\"', "empty": ""}

    def call() -> Tuple[Dict[str, str], int, List[Dict[str, str]]]:
        with clew.record(), clew.trace("start"), clew.baggage(values):
            headers = clew.get_current_headers()
            return (headers, *services.answer(kind, list(headers.items()), "tasks", [services.call("ASGI", "WSGI")]))

    headers, status, [sent] = in_empty_context(call)
    assert status == 200
    assert sent["baggage"] == headers["baggage"] == "user-id=1%2B1%3D2%20%C3%A9%E2%82%AC%2C%3B%25%5C%22,empty="
    assert read_baggage(sent) == values
    assert in_empty_context(baggage_under, sent) == values


@kinds
@pytest.mark.parametrize("flags", ["00", "01"])
def test_trace_passes_through_a_service_that_records_nothing(unrecorded: Services, kind: str, flags: str) -> None:
    headers = {"traceparent": f"00-{IDS}-{flags}", "tracestate": "a=1,b=2", "baggage": "k=a+b;p"}
    for way in ASGI_WAYS:
        assert unrecorded.hop(kind, [*headers.items()], way) == headers
    assert unrecorded.hop(kind, []) == {}


@kinds
def test_what_opentelemetry_reads_of_a_call_is_what_was_sent(services: Services, kind: str) -> None:
    sent = services.hop(kind, [("traceparent", PARENT), ("tracestate", "a=1,b=2")])
    trace_id, span_id, flags = parts(sent)
    assert read_parent(sent) == (trace_id, span_id, int(flags, 16), {"a": "1", "b": "2"})
