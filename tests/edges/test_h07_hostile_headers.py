"""
H07: headers that nobody should send, from callers that anybody may be: a new trace or a link, and never an exception.
"""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

import clew
from tests.edges._threads import in_empty_context
from tests.foreign._tracers import NEEDS_LANGSMITH
from tests.foreign.w3c._services import Services, serving_both
from tests.propagation._grammars import (
    CHILD_RUN,
    PARENT,
    ROOT_RUN,
    SPAN,
    TRACE,
    is_baggage,
    is_dotted_order,
    is_traceparent,
    is_tracestate,
)

MEGABYTE = 1 << 20
MOST_OF_A_LINE = 60_000
Headers = List[Tuple[str, str]]

IDS = f"{TRACE}-{SPAN}"
ZEROS = "0" * 32
STAMP, ROOT_ID = ROOT_RUN[:22], ROOT_RUN[22:]
LATER = f"{ROOT_RUN}.{CHILD_RUN}"

# What names no parent, by what counts it.
NO_PARENT: Dict[str, Tuple[str, List[str]]] = {
    "traceparent_refused": (
        "traceparent",
        [
            "garbage",
            "-",
            "x" * 55,
            "x" * MEGABYTE,
            PARENT + "0" * MEGABYTE,
            f"cc-{IDS}-01-" + "x" * MEGABYTE,
            "-" * MEGABYTE,
            PARENT.upper(),
            f"00-{TRACE.upper()}-{SPAN}-01",
            f"00-{IDS}-0A",
            f"00-{ZEROS}-{SPAN}-01",
            f"00-{TRACE}-{ZEROS[:16]}-01",
            f"ff-{IDS}-01",
            f"cc-{IDS}-01.",
            f"00-{IDS}-01-00",
            f"{PARENT}\u00e9",
            f"\u00e9{PARENT[1:]}",
            f"00-{TRACE[:-1]}\u00b2-{SPAN}-01",
        ],
    ),
    "langsmith_trace_refused": (
        "langsmith-trace",
        [
            "garbage",
            ".",
            "." * MEGABYTE,
            "x" * MEGABYTE,
            f"{ROOT_RUN}.",
            f".{ROOT_RUN}",
            f"{ROOT_RUN}..{CHILD_RUN}",
            ".".join([ROOT_RUN] * (MEGABYTE // 59)),
            ROOT_RUN.replace("0102T", "0230T"),
            ROOT_RUN.replace("0102T", "1301T"),
            ROOT_RUN.replace("0102T", "0229T"),
            ROOT_RUN.replace("0102T", "0000T"),
            ROOT_RUN.replace("T03", "T24"),
            ROOT_RUN.replace("2026", "0000"),
            ROOT_RUN.replace("2026", "1969"),
            ROOT_RUN.replace("Z", "z"),
            ROOT_RUN.replace("Z", ""),
            STAMP,
            ROOT_ID,
            f"{STAMP}{ROOT_ID[:-1]}",
            f"{STAMP}{ROOT_ID}0",
            f"{STAMP}{ROOT_ID[:-1]}g",
            f"{STAMP}{ROOT_ID.replace('-', '')}",
            f"{STAMP}{{{ROOT_ID}}}",
            f"\u00b2{ROOT_RUN[1:]}",
            f"{ROOT_RUN}\u00e9",
        ],
    ),
}

# What goes with a parent that is valid, and is not taken, in part or as a whole.
BESIDE_A_PARENT: Dict[str, Tuple[str, List[str]]] = {
    "tracestate_refused": (
        "tracestate",
        [
            "garbage",
            "=" * MEGABYTE,
            "," * MEGABYTE + "x",
            "a=" + "x" * MEGABYTE,
            ",".join(f"k{number}=1" for number in range(5_000)),
            "a=1,\u00e9=2",
            "a=\u00e9",
            "A=1",
            "a=1" + "," * 31 + "b=2" + ",c=3" * 40,
        ],
    ),
    "baggage_refused": ("baggage", ["k=" + "x" * MEGABYTE, "," * MEGABYTE, ";" * MEGABYTE, "%" * MEGABYTE]),
    "baggage_members_refused": (
        "baggage",
        [
            "garbage",
            "=1",
            "k=1,\u00e9=2",
            "a b=1",
            ",".join(f"k{number}=1" for number in range(2_000)),
            ",".join(["langsmith-tags=a"] * 800),
        ],
    ),
    "langsmith_metadata_refused": (
        "baggage",
        [f"langsmith-metadata={value}" for value in ("garbage", "%5B1%5D", "[" * 8_000, "%7B%22k%22:1", "%ff%fe")],
    ),
}

CASES: List[Tuple[str, Headers]] = [
    *[(kind, [(name, text)]) for kind, (name, texts) in NO_PARENT.items() for text in texts],
    ("traceparent_refused", [("traceparent", PARENT), ("traceparent", PARENT)]),
    ("traceparent_refused", [("traceparent", PARENT)] * 5_000),
    ("langsmith_trace_refused", [("langsmith-trace", ROOT_RUN), ("Langsmith-Trace", LATER)]),
]
BESIDE: List[Tuple[str, Headers]] = [
    (kind, [(name, text)]) for kind, (name, texts) in BESIDE_A_PARENT.items() for text in texts
]
# What a client or a server does not let through to the application.
ONLY_IN_PROCESS: List[Tuple[str, Headers]] = [
    *[("traceparent_refused", [("traceparent", text)]) for text in ("\0", f"{PARENT}\0", f"{PARENT}\u00a0", "\ud800")],
    *[("traceparent_refused", [("traceparent", text)]) for text in (f"{PARENT}\n", PARENT.replace("0", "\u0660"))],
    *[("langsmith_trace_refused", [("langsmith-trace", text)]) for text in ("\0", f"{ROOT_RUN}\0", f"{ROOT_RUN}\n")],
    *[("langsmith_trace_refused", [("langsmith-trace", ROOT_RUN.replace("0", "\u0660"))])],
]
ONLY_BESIDE_IN_PROCESS: List[Tuple[str, Headers]] = [
    *[("tracestate_refused", [("tracestate", text)]) for text in ("a=\0", "a=1\n,b=2", "a=\ud800")],
    *[("baggage_members_refused", [("baggage", text)]) for text in ("\0=1", "k\ud800=1")],
]


def names_of(cases: List[Tuple[str, Headers]]) -> List[str]:
    return [ascii(f"{headers[0][0]} {headers[0][1][:30]}") for _, headers in cases]


def of(cases: List[Tuple[str, Headers]]) -> Any:
    return pytest.mark.parametrize(("kind", "headers"), cases, ids=names_of(cases))


class Seen(NamedTuple):
    """Hold what came of a request."""

    run: Any
    sent: Dict[str, str]


def by_from_headers(headers: Any) -> Seen:
    parent = clew.RunTree.from_headers(headers)
    run = clew.RunTree("serve") if parent is None else parent.create_child("serve")
    run.post()
    run.end()
    return Seen(run, run.to_headers())


def by_context(headers: Any) -> Seen:
    with clew.tracing_context(parent=headers), clew.trace("serve") as run:
        return Seen(run, clew.get_current_headers())


@clew.traceable
def serve() -> Seen:
    return Seen(clew.get_current_run_tree(), clew.get_current_headers())


def by_call(headers: Any) -> Seen:
    seen: Seen = serve(langsmith_extra={"parent": headers})  # type: ignore[call-arg]
    return seen


def in_environ(headers: Headers) -> Dict[str, Any]:
    """Return them as a WSGI server does, which joins those of one name."""
    environ: Dict[str, Any] = {"wsgi.version": (1, 0)}
    for name, value in headers:
        key = f"HTTP_{name.upper().replace('-', '_')}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ


def in_bytes(headers: Headers) -> List[Tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode("utf-8", "surrogatepass")) for name, value in headers]


WAYS = [by_from_headers, by_context, by_call]
SHAPES = [list, in_bytes, in_environ]
ways = pytest.mark.parametrize("way", WAYS)
shapes = pytest.mark.parametrize("shape", SHAPES)
# One function reads headers of every shape for every way, so not every pair is needed.
readings = pytest.mark.parametrize(
    ("way", "shape"), [(way, shape) for way in WAYS for shape in SHAPES if way is by_context or shape is list]
)


def counted(kind: str) -> int:
    return clew.stats().get(kind, 0)


def check_sent(sent: Dict[str, str]) -> None:
    """Check that what is sent on is what the specifications allow, whatever came."""
    assert is_traceparent(sent["traceparent"])
    assert is_dotted_order(sent["langsmith-trace"])
    assert "tracestate" not in sent or is_tracestate(sent["tracestate"])
    assert "baggage" not in sent or is_baggage(sent["baggage"])


@readings
@of(CASES + ONLY_IN_PROCESS)
def test_parent_that_is_none_is_for_a_new_trace(
    way: Callable[[Any], Seen], shape: Callable[[Headers], Any], kind: str, headers: Headers
) -> None:
    before = counted(kind)
    with clew.record() as runs:
        run, sent = in_empty_context(way, shape([*headers, ("tracestate", "a=1")]))
    assert (run.parent_span_id, run.links, run.tags) == (None, (), [])
    assert len(runs) == 1
    assert counted(kind) == before + 1
    check_sent(sent)
    assert sent["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-03"
    assert "tracestate" not in sent


@readings
@of(BESIDE + ONLY_BESIDE_IN_PROCESS)
def test_what_goes_with_a_parent_may_be_anything(
    way: Callable[[Any], Seen], shape: Callable[[Headers], Any], kind: str, headers: Headers
) -> None:
    before = counted(kind)
    with clew.record() as runs:
        run, sent = in_empty_context(way, shape([("traceparent", PARENT), *headers]))
    assert (run.trace_id.hex, run.parent_span_id, run.metadata) == (TRACE, SPAN, {})
    assert len(runs) == 1
    assert counted(kind) == before + 1
    check_sent(sent)


def telling(cases: List[Tuple[str, Headers]]) -> List[Tuple[str, Headers]]:
    """
    Return what a server may handle in its own way, of each kind: the shortest and longest value, one that is not ASCII,
    and a header that comes twice. Every value is read without a server, above.
    """
    found: Dict[Tuple[str, str], Tuple[str, Headers]] = {}
    for case in sorted((case for case in cases if len(case[1]) < 3), key=lambda case: len(case[1][0][1])):
        kind, headers = case
        found.setdefault((kind, "shortest"), case)
        found[kind, "longest"] = case
        if len(headers) == 2:
            found[kind, "twice"] = case
        if not headers[0][1].isascii():
            found[kind, "not ASCII"] = case
    return [case for case in cases if case in found.values()]


@pytest.mark.parametrize("kind_of_service", ["ASGI", "WSGI"])
@of(telling(CASES + BESIDE))
def test_hostile_headers_stop_no_service(services: Services, kind_of_service: str, kind: str, headers: Headers) -> None:
    before = counted(kind)
    parent = [] if (kind, headers) in CASES else [("traceparent", PARENT)]
    if kind_of_service == "WSGI":  # the server of the stdlib reads no line that is longer
        headers = [(name, value[:MOST_OF_A_LINE]) for name, value in headers]
    sent = services.hop(kind_of_service, [*parent, *headers])
    check_sent(sent)
    assert sent["traceparent"].startswith(f"00-{TRACE}-") is bool(parent)
    # Metadata is read when somebody asks for it.
    assert counted(kind) == before + (kind != "langsmith_metadata_refused")


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with serving_both(clew.record) as both:
        yield both


@pytest.fixture(scope="module")
def untrusting() -> Iterator[Services]:
    with serving_both(clew.record, trusted=False) as both:
        yield both


@pytest.mark.parametrize("kind_of_service", ["ASGI", "WSGI"])
@pytest.mark.parametrize("nul", ["traceparent", "langsmith-trace", "tracestate", "baggage"])
def test_nul_comes_to_no_next_service(services: Services, kind_of_service: str, nul: str) -> None:
    status, sent = services.answer(
        kind_of_service, [("traceparent", PARENT), (nul, "k=\0")], "plain", [services.call()]
    )
    if kind_of_service == "ASGI":
        assert (status, sent) == (400, [])  # the server lets no NUL through
        return
    assert status == 200
    check_sent(sent[0])


def test_headers_of_thousands_are_read_in_part() -> None:
    headers = [(f"x-{number}", "1") for number in range(50_000)] + [("traceparent", PARENT)]
    assert clew.RunTree.from_headers(headers) is None
    assert clew.RunTree.from_headers(headers[-1:]) is not None


class Raising(str):
    """Be a text that fails at all that one may do with it."""

    __slots__ = ()

    def _fail(self, *_: object) -> Any:
        raise RuntimeError("asked")

    strip = lower = encode = split = partition = count = __contains__ = __iter__ = __getitem__ = _fail


class Endless(Dict[str, str]):
    """Be a dict that has always one more."""

    def items(self) -> Any:
        while True:
            yield "traceparent", PARENT


COLLECTIONS: List[Any] = [
    [None],
    [()],
    [(1, 2)],
    [("traceparent",)],
    [("traceparent", PARENT, 1)],
    [(None, None), ("traceparent", None)],
    [("traceparent", [PARENT, PARENT])],
    [("traceparent", object())],
    {"traceparent": 7},
    {7: PARENT},
    {b"\xff" * 11: b"\xff"},
    {"traceparent": b"\xff" * 55},
    [("traceparent", Raising("garbage"))],
    [(Raising("Traceparent"), PARENT)],
    Endless(),
]


def without_addresses(text: str) -> str:
    """Return a text that is the same in each worker of xdist."""
    return re.sub(" at 0x[0-9A-Fa-f]+", "", text)


@pytest.mark.parametrize("way", [by_context, by_call])
def test_headers_that_can_be_read_once_are_read_once(way: Callable[[Any], Seen]) -> None:
    with clew.record():
        _, sent = in_empty_context(way, iter([("baggage", "k=1"), ("traceparent", "garbage")]))
    assert sent["baggage"] == "k=1"


@ways
@pytest.mark.parametrize("headers", COLLECTIONS, ids=lambda each: without_addresses(ascii(each))[:40])
def test_collection_of_anything_is_for_a_new_trace(way: Callable[[Any], Seen], headers: Any) -> None:
    with clew.record() as runs:
        run, sent = in_empty_context(way, headers)
    assert (run.parent_span_id, run.links, len(runs)) == (None, (), 1)
    check_sent(sent)


@pytest.mark.parametrize("text", NO_PARENT["langsmith_trace_refused"][1], ids=lambda text: ascii(text[:40]))
def test_dotted_order_that_is_none_is_for_a_new_trace(text: str) -> None:
    assert clew.RunTree.from_dotted_order(text) is None
    for way in (by_context, by_call):
        before = counted("langsmith_trace_refused")
        with clew.record() as runs:
            run, _ = in_empty_context(way, text)
        assert (run.parent_span_id, run.links, len(runs)) == (None, (), 1)
        assert counted("langsmith_trace_refused") == before + 1


@NEEDS_LANGSMITH
@pytest.mark.parametrize(
    "text", ["garbage", f"{ROOT_RUN}.", ROOT_RUN.replace("0102T", "0230T"), f"{STAMP}{ROOT_ID[:-1]}"]
)
def test_langsmith_raises(text: str) -> None:
    from langsmith import tracing_context
    from langsmith.run_trees import RunTree

    def enter() -> None:
        with tracing_context(parent={"langsmith-trace": text}):
            pass

    for use in (enter, lambda: RunTree.from_headers({"langsmith-trace": text})):
        with pytest.raises(ValueError, match=r"time data|day .*range|hexadecimal|UUID"):
            in_empty_context(use)


LANGSMITHS = {
    "langsmith-trace": LATER,
    "baggage": "langsmith-project=theirs,langsmith-tags=theirs,langsmith-metadata=%7B%22k%22%3A1%7D,user=eve;p",
}
W3CS = {"traceparent": PARENT, "tracestate": "theirs=1", "baggage": LANGSMITHS["baggage"]}
UNSAMPLED = {**W3CS, "traceparent": f"00-{IDS}-00"}
LINK = (TRACE, SPAN)
LINK_OF_LANGSMITHS = (ROOT_ID.replace("-", ""), CHILD_RUN[-17:].replace("-", ""))

UNTRUSTED: Dict[str, Tuple[Dict[str, str], Optional[Tuple[str, str]]]] = {
    "W3C": (W3CS, LINK),
    "not sampled": (UNSAMPLED, LINK),
    "LangSmith": (LANGSMITHS, LINK_OF_LANGSMITHS),
    "both": ({**W3CS, **LANGSMITHS}, LINK_OF_LANGSMITHS),
    "baggage alone": ({"baggage": LANGSMITHS["baggage"]}, None),
    "garbage": ({"traceparent": "garbage", "langsmith-trace": "garbage", "baggage": LANGSMITHS["baggage"]}, None),
}
untrusted = pytest.mark.parametrize(("headers", "link"), UNTRUSTED.values(), ids=UNTRUSTED)


@untrusted
@shapes
def test_caller_who_is_not_trusted_can_only_link(
    headers: Dict[str, str], link: Optional[Tuple[str, str]], shape: Callable[[Headers], Any]
) -> None:
    def request() -> Any:
        with clew.tracing_context(parent=shape([*headers.items()]), trusted=False), clew.trace("serve") as run:
            return run, clew.get_current_headers(), clew.get_baggage()

    with clew.record() as runs:
        run, sent, baggage = in_empty_context(request)
    assert len(runs) == 1
    assert [(each.trace_id.hex, each.span_id) for each in run.links] == ([] if link is None else [link])
    assert (run.parent_id, run.parent_span_id) == (None, None)
    assert (run.project_name, run.tags, run.metadata, baggage) == (None, [], {}, {})
    assert sent == {
        "traceparent": f"00-{run.trace_id.hex}-{run.span_id}-03",
        "langsmith-trace": run.dotted_order,
    }


@untrusted
def test_caller_who_is_not_trusted_changes_nothing_of_what_is_said_around(
    headers: Dict[str, str], link: Optional[Tuple[str, str]]
) -> None:
    def request() -> Any:
        ours = clew.tracing_context(project_name="ours", tags=["ours"], metadata={"k": "ours"})
        with ours, clew.tracing_context(parent=headers, trusted=False), clew.trace("serve") as run:
            return run

    with clew.record() as runs:
        run = in_empty_context(request)
    assert (run.project_name, run.tags, run.metadata, len(runs)) == ("ours", ["ours"], {"k": "ours"}, 1)


@untrusted
def test_caller_who_is_not_trusted_switches_no_recording_on(
    headers: Dict[str, str], link: Optional[Tuple[str, str]]
) -> None:
    def request() -> Dict[str, str]:
        off = clew.tracing_context(enabled=False)
        with off, clew.tracing_context(parent=headers, trusted=False), clew.trace("serve"):
            return clew.get_current_headers()

    with clew.record() as runs:
        assert in_empty_context(request) == {}
    assert len(runs) == 0


@untrusted
@pytest.mark.parametrize("kind", ["ASGI", "WSGI"])
def test_caller_who_is_not_trusted_is_not_heard_of_at_the_next_service(
    untrusting: Services, headers: Dict[str, str], link: Optional[Tuple[str, str]], kind: str
) -> None:
    sent = untrusting.hop(kind, [*headers.items()])
    assert set(sent) == {"traceparent", "langsmith-trace"}
    assert TRACE not in sent["traceparent"]
    assert sent["traceparent"].endswith("-03")
    assert ROOT_ID not in sent["langsmith-trace"]


@untrusted
def test_run_that_is_read_from_one_who_is_not_trusted_says_no_more_than_who_it_is(
    headers: Dict[str, str], link: Optional[Tuple[str, str]]
) -> None:
    parent = clew.RunTree.from_headers(headers, trusted=False)
    if link is None:
        assert parent is None
        return
    assert parent is not None
    assert (parent.trace_id.hex, parent.span_id) == link
    assert (parent.project_name, parent.tags, parent.metadata) == (None, [], {})
