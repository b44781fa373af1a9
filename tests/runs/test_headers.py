"""
The run tree as headers, and headers as the parent of a run.
"""

from __future__ import annotations

import itertools
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, Iterator, Mapping, Optional
from uuid import UUID

import pytest

import clew
from clew.propagation.baggage import Baggage
from clew.propagation.formats import add_format, remove_format
from clew.propagation.langsmith import DottedOrder
from clew.runs.headers import extract, inject
from tests.edges._threads import DEADLINE, in_empty_context

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
W3C = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "rojo=1,congo=2"}
ROOT = "01a20137-b201-7e4c-9aba-ed1cbb092982"
CALLER = "01a20137-b202-7e28-aff0-bd2d13e79ae8"
ORDER = f"20261122T030556993893Z{ROOT}.20261122T030556994884Z{CALLER}"
LANGSMITH = {
    "langsmith-trace": ORDER,
    "baggage": "langsmith-metadata=%7B%22k%22%3A%201%7D,langsmith-tags=a%2Cb,langsmith-project=shop,user=ada;p=1",
}
SAME_RUN = {**LANGSMITH, "traceparent": f"00-{TRACE}-{CALLER[-17:].replace('-', '')}-03", "tracestate": "rojo=1"}
OTHER_SPAN = {**LANGSMITH, **W3C}
OTHER_SPAN_OF_THE_TRACE = {**OTHER_SPAN, "traceparent": f"00-{ROOT.replace('-', '')}-{SPAN}-01"}
UNSAMPLED = {**W3C, "traceparent": f"00-{TRACE}-{SPAN}-00"}


@pytest.fixture
def recording() -> Iterator[clew.Recording]:
    with clew.record() as runs:
        yield runs


def serve(headers: Any, **options: Any) -> clew.RunTree:
    """Return the run of a request that came with those headers."""

    def handle() -> clew.RunTree:
        with clew.tracing_context(parent=headers, **options), clew.trace("serve") as run:
            return run

    return in_empty_context(handle)


def counted(kind: str) -> int:
    return clew.stats().get(kind, 0)


def test_headers_of_a_run_name_it(recording: clew.Recording) -> None:
    with clew.trace("root"), clew.trace("call") as run:
        headers = clew.get_current_headers()
    assert headers == {
        "traceparent": f"00-{run.trace_id.hex}-{run.span_id}-03",
        "langsmith-trace": run.dotted_order,
    }
    assert run.to_headers() == headers
    assert in_empty_context(clew.get_current_headers) == {}


def test_what_a_run_hands_down_goes_along(recording: clew.Recording) -> None:
    root = clew.trace("root", tags=["a,b", "c"], metadata={"k": [1, "é"]}, project_name="shop")
    with root, clew.trace("call", tags=["d"]) as run, clew.baggage(user="ada"):
        run.add_tags("its own")
        headers = run.to_headers()
    child = serve(headers)
    assert (child.tags, child.metadata, child.project_name) == (["a", "b", "c", "d"], {"k": [1, "é"]}, "shop")
    assert Baggage.from_header(headers["baggage"]).get("user") == "ada"


def test_a_run_and_the_one_that_its_headers_lead_to_are_one_tree(recording: clew.Recording) -> None:
    with clew.trace("call") as run:
        child = serve(run.to_headers())
    assert (child.trace_id, child.parent_id, child.parent_span_id) == (run.trace_id, run.id, run.span_id)
    assert child.dotted_order.startswith(f"{run.dotted_order}.")
    recording.assert_tree("call\n  serve")


def test_run_under_a_w3c_parent_is_of_its_trace(recording: clew.Recording) -> None:
    run = serve(W3C)
    assert (run.trace_id, run.parent_span_id, run.parent_id) == (UUID(TRACE), SPAN, UUID(int=int(SPAN, 16)))
    assert run.links == ()
    # The parent is no run in LangSmith, and its trace id is not known to be random.
    assert run.dotted_order.count(".") == 0
    assert run.to_headers() == {
        "traceparent": f"00-{TRACE}-{run.span_id}-01",
        "tracestate": W3C["tracestate"],
        "langsmith-trace": run.dotted_order,
    }


@pytest.mark.parametrize("flags", ["01", "03"])
def test_random_flag_is_passed_on_and_not_made_up(recording: clew.Recording, flags: str) -> None:
    headers = serve({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"}).to_headers()
    assert headers["traceparent"].endswith(f"-{flags}")


def test_run_under_a_parent_of_langsmiths_has_its_place(recording: clew.Recording) -> None:
    run = serve(LANGSMITH)
    assert (run.trace_id, run.parent_id) == (UUID(ROOT), UUID(CALLER))
    assert (run.tags, run.metadata, run.project_name) == (["a", "b"], {"k": 1}, "shop")
    assert run.dotted_order.startswith(f"{ORDER}.")
    headers = run.to_headers()
    assert headers["traceparent"] == f"00-{UUID(ROOT).hex}-{run.span_id}-01"
    assert headers["baggage"].endswith("user=ada;p=1")


@pytest.mark.parametrize(
    ("headers", "trace_id", "tracestate", "links"),
    [
        pytest.param(SAME_RUN, UUID(TRACE), "rojo=1", (), id="of the same run"),
        pytest.param(OTHER_SPAN, UUID(ROOT), None, (clew.Link(UUID(TRACE), SPAN),), id="of another trace"),
        pytest.param(
            OTHER_SPAN_OF_THE_TRACE,
            UUID(ROOT),
            "rojo=1,congo=2",
            (clew.Link(UUID(ROOT), SPAN),),
            id="of another span of the trace",
        ),
    ],
)
def test_langsmiths_parent_goes_before_w3cs(
    recording: clew.Recording,
    headers: Dict[str, str],
    trace_id: UUID,
    tracestate: Optional[str],
    links: Any,
) -> None:
    run = serve(headers)
    assert (run.trace_id, run.parent_id, run.links) == (trace_id, UUID(CALLER), links)
    assert run.create_child("below").links == ()
    assert run.to_headers().get("tracestate") == tracestate


ALL = pytest.mark.parametrize("headers", [W3C, LANGSMITH, SAME_RUN, OTHER_SPAN, OTHER_SPAN_OF_THE_TRACE, UNSAMPLED])


@ALL
def test_trace_passes_through_where_nobody_records(headers: Dict[str, str]) -> None:
    @clew.traceable
    def work() -> Dict[str, str]:
        return clew.get_current_headers()

    def handle() -> None:
        with clew.tracing_context(parent=headers, tags=["of ours"]), clew.trace("serve", tags=["of ours"]) as run:
            for found in (run.to_headers(), clew.get_current_headers(), work()):
                assert Baggage.from_header(found.pop("baggage", None)) == Baggage.from_header(headers.get("baggage"))
                assert found == {name: value for name, value in headers.items() if name != "baggage"}

    in_empty_context(handle)


def test_nothing_is_sent_where_nobody_records_and_nothing_came() -> None:
    with clew.trace("serve", tags=["t"]) as run:
        assert run.to_headers() == {}


def test_nothing_is_recorded_under_a_parent_that_is_not(recording: clew.Recording) -> None:
    @clew.traceable
    def work() -> Dict[str, str]:
        return clew.get_current_headers()

    def handle() -> None:
        with clew.tracing_context(parent=UNSAMPLED), clew.trace("serve") as run:
            run.add_tags("of nobody")
            child = run.create_child("by hand")
            child.post()
            with clew.tracing_context(tags=["t"]):  # which does not name the parent
                sent = [run.to_headers(), child.to_headers(), clew.get_current_headers(), work()]
            # The receiver continues as unsampled, under a span of this process.
            spans = {headers.pop("traceparent").split("-")[2] for headers in sent}
            assert sent == [{"tracestate": UNSAMPLED["tracestate"]}] * 4
            assert len(spans) == 4
            assert spans >= {run.span_id, child.span_id}
            assert SPAN not in spans
            assert run.to_headers()["traceparent"] == f"00-{TRACE}-{run.span_id}-00"
            with clew.tracing_context(parent=False), clew.trace("another trace"):
                pass
            with clew.detached(), clew.trace("of its own"):
                pass

    in_empty_context(handle)
    parent = clew.RunTree.from_headers({**SAME_RUN, "traceparent": f"{SAME_RUN['traceparent'][:-2]}02"})
    assert parent is not None
    child = parent.create_child("by hand, too")
    child.post()
    headers = child.to_headers()
    assert headers["traceparent"] == f"00-{TRACE}-{child.span_id}-02"
    assert "langsmith-trace" not in headers
    recording.assert_tree("another trace\nof its own")


@ALL
def test_caller_who_is_not_trusted_is_linked_to_and_says_no_more(
    recording: clew.Recording, headers: Dict[str, str]
) -> None:
    run = serve(headers, trusted=False)
    by_langsmith = "langsmith-trace" in headers
    assert run.parent_id is None
    assert run.links[0].span_id == (CALLER[-17:].replace("-", "") if by_langsmith else SPAN)
    assert (run.tags, run.metadata, run.project_name) == ([], {}, None)
    assert run.to_headers() == {
        "traceparent": f"00-{run.trace_id.hex}-{run.span_id}-03",
        "langsmith-trace": run.dotted_order,
    }
    assert len(recording) == 1


def test_run_made_by_hand_of_who_is_not_trusted_is_linked_to_it(recording: clew.Recording) -> None:
    parent = clew.RunTree.from_headers({**LANGSMITH, **UNSAMPLED}, trusted=False)
    assert parent is not None
    child = parent.create_child("serve")
    child.post()
    for run in (child, serve(parent)):
        assert (run.parent_id, run.tags, [link.span_id for link in run.links]) == (None, [], [parent.span_id])
        assert {*run.to_headers()} == {"traceparent", "langsmith-trace"}
    assert len(recording) == 2


@pytest.mark.parametrize("headers", [{}, [], {"traceparent": "00-x"}, {"langsmith-trace": "x"}, {"accept": "*/*"}])
def test_headers_that_name_no_parent_are_for_a_new_trace(recording: clew.Recording, headers: Any) -> None:
    with clew.trace("of another request"), clew.tracing_context(parent=headers), clew.trace("serve") as run:
        assert run.parent_id is None
    assert clew.RunTree.from_headers(headers) is None


def test_baggage_is_read_where_there_is_no_parent() -> None:
    with clew.tracing_context(parent={"baggage": "user=ada,langsmith-project=shop"}):
        assert clew.get_baggage() == {"user": "ada"}
        assert clew.get_current_headers() == {"baggage": "user=ada"}


@pytest.mark.parametrize("text", ["", "x", f"{ORDER}.", f"{ORDER}.20261131T030556000000Z{ROOT}"])
def test_dotted_order_that_is_not_valid_is_no_run(text: str) -> None:
    assert clew.RunTree.from_dotted_order(text) is None


def test_dotted_order_is_a_parent(recording: clew.Recording) -> None:
    parent = clew.RunTree.from_dotted_order(ORDER)
    assert parent is not None
    assert (parent.id, parent.trace_id, parent.parent_id) == (UUID(CALLER), UUID(ROOT), UUID(ROOT))
    assert parent.dotted_order == ORDER
    assert parent.to_headers() == {"langsmith-trace": ORDER}
    for run in (parent.create_child("by hand"), serve(ORDER), serve(parent)):
        assert (run.parent_id, run.trace_id) == (UUID(CALLER), UUID(ROOT))
        assert run.dotted_order.startswith(f"{ORDER}.")


def test_child_is_not_before_a_parent_whose_clock_is_ahead(recording: clew.Recording) -> None:
    ahead = f"29991122T030556993893Z{ROOT}"
    run = serve({"langsmith-trace": ahead})
    order = DottedOrder.from_header(run.to_headers()["langsmith-trace"])
    assert order is not None
    assert DottedOrder(order.runs).to_header() == run.dotted_order


def test_trace_stays_whole_where_the_clock_of_the_caller_is_behind_that_of_its_parent(
    recording: clew.Recording,
) -> None:
    behind = f"{ORDER}.19991122T030556993893Z{CALLER}"
    assert serve({"langsmith-trace": behind}).dotted_order.startswith(f"{behind}.")


def test_headers_can_be_had_after_the_end(recording: clew.Recording) -> None:
    with clew.trace("call") as run:
        headers = run.to_headers()
    assert run.to_headers() == headers


def test_headers_of_a_chain_deeper_than_the_stack(recording: clew.Recording) -> None:
    root = run = clew.RunTree("root")
    for number in range(sys.getrecursionlimit() * 5):
        run = run.create_child(f"{number}")
        # Servers take some 8,190 characters of a header.
        assert len(run.dotted_order) < 6_500
    assert run.trace_id == root.id
    headers = run.to_headers()
    assert headers["traceparent"] == f"00-{root.id.hex}-{run.span_id}-03"
    assert headers["langsmith-trace"] == run.dotted_order
    below = clew.RunTree.from_headers(headers).create_child("elsewhere")
    assert (below.parent_id, below.trace_id) == (run.id, root.id)


def test_dotted_order_that_is_too_long_begins_anew_below_a_link(recording: clew.Recording) -> None:
    chain = [clew.RunTree("0")]
    for number in range(1, 150):
        chain.append(chain[-1].create_child(str(number)))
    tops = [run for run in chain if "." not in run.dotted_order]
    assert len(tops) == 2
    above = chain[chain.index(tops[1]) - 1]
    assert [(link.trace_id, link.span_id) for link in tops[1].links] == [(chain[0].id, above.span_id)]
    # W3C's ids go on: the parent and the trace are what they were.
    assert (tops[1].parent_span_id, tops[1].parent_id, tops[1].trace_id) == (above.span_id, above.id, chain[0].id)
    # For LangSmith, all runs below have the new root's id as their trace.
    assert chain[-1].dotted_order.startswith(f"{tops[1].dotted_order}.")


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT"])
def test_names_of_headers_are_in_any_case(name: str) -> None:
    parent = clew.RunTree.from_headers({name: W3C["traceparent"]})
    assert parent is not None
    assert parent.span_id == SPAN


@pytest.mark.parametrize(
    "headers", [{}, {"accept": "*/*"}, W3C, LANGSMITH, SAME_RUN, OTHER_SPAN, OTHER_SPAN_OF_THE_TRACE, UNSAMPLED]
)
def test_extracted_headers_are_the_same_parent(recording: clew.Recording, headers: Dict[str, str]) -> None:
    extracted = extract([(name.title().encode(), value.encode()) for name, value in headers.items()])
    assert all(name.islower() for name in extracted)
    with clew.trace("of another request"):
        seen = []
        for parent in (headers, extracted):
            with clew.tracing_context(parent=parent), clew.trace("serve") as run:
                tree = run.parent_id, run.parent_span_id, run.links, run.tags, run.metadata, run.project_name
                seen.append((tree, clew.get_baggage()))
    assert seen[0] == seen[1]


def test_inject_adds_the_headers_of_the_current_run(recording: clew.Recording) -> None:
    headers = {"accept": "*/*", "traceparent": "old"}
    with clew.trace("call"):
        assert inject(headers) is None
        assert headers == {"accept": "*/*", **clew.get_current_headers()}
    in_empty_context(inject, empty := {})
    assert empty == {}


def test_jobs_and_generators_send_the_headers_of_their_run(recording: clew.Recording) -> None:
    def call() -> Dict[str, str]:
        with clew.trace("call") as run:
            headers = clew.get_current_headers()
            assert headers["traceparent"].split("-")[2] == run.span_id
            return headers

    @clew.context_generator
    def stream() -> Iterator[Dict[str, str]]:
        yield call()

    def handle(pool: Any) -> None:
        with clew.tracing_context(parent=LANGSMITH), clew.trace("serve") as run:
            for headers in (pool.submit(call).result(DEADLINE), next(stream())):
                assert headers["langsmith-trace"].startswith(f"{run.dotted_order}.")
                assert headers["baggage"].endswith("user=ada;p=1")

    with ThreadPoolExecutor(1) as bare, pytest.raises(AssertionError):  # which has lost them
        in_empty_context(handle, bare)
    with clew.ContextThreadPoolExecutor(1) as pool:
        in_empty_context(handle, pool)


class Dashes:
    """A format that has the `traceparent` in a header of its own name."""

    name = "dashes"

    def read(self, headers: Any) -> Optional[Mapping[str, str]]:
        return {"traceparent": headers["dashes"]} if "dashes" in headers else None

    def write(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {"dashes": headers["traceparent"]}


class Failing(Dashes):
    """A format that always raises."""

    def read(self, headers: Any) -> Optional[Mapping[str, str]]:
        raise LookupError("read")

    def write(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        raise LookupError("write")


@pytest.fixture
def use() -> Iterator[Callable[[Any], None]]:
    used = []

    def add(header_format: Any) -> None:
        used.append(header_format)
        add_format(header_format)

    yield add
    for header_format in used:
        remove_format(header_format)


def test_further_format_is_read_where_there_is_no_other(recording: clew.Recording, use: Callable[[Any], None]) -> None:
    theirs = {"dashes": f"00-{TRACE}-{SPAN}-01"}
    assert serve(theirs).parent_id is None
    use(Dashes())
    assert serve(theirs).parent_span_id == SPAN
    assert serve({**theirs, **LANGSMITH}).parent_id == UUID(CALLER)
    run = serve({**theirs, "traceparent": f"00-{TRACE}-1111111111111111-01"})
    assert run.parent_span_id == "1" * 16
    assert run.to_headers()["dashes"] == run.to_headers()["traceparent"]


def test_further_format_that_fails_is_counted(recording: clew.Recording, use: Callable[[Any], None]) -> None:
    use(Failing())
    use(Dashes())
    before = counted("formats_failed")
    run = serve({"dashes": f"00-{TRACE}-{SPAN}-01"})
    assert run.parent_span_id == SPAN
    assert "dashes" in run.to_headers()
    assert counted("formats_failed") == before + 2


def test_variables_of_the_environment_are_a_parent(recording: clew.Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serve(os.environ).parent_id is None
    for name, value in {**W3C, "baggage": "user=ada"}.items():
        monkeypatch.setenv(name.upper(), value)
    run = serve(os.environ)
    assert run.parent_span_id == SPAN
    assert run.to_headers()["tracestate"] == W3C["tracestate"]
    assert run.to_headers()["baggage"] == "user=ada"


def test_nothing_of_ours_is_sent_by_a_run_made_by_hand_where_nobody_records() -> None:
    parent = clew.RunTree.from_headers(SAME_RUN)
    assert parent is not None
    child = parent.create_child("call")
    passed = parent.to_headers()
    assert passed["traceparent"] == SAME_RUN["traceparent"]
    assert child.to_headers() == passed
    child.post()
    assert child.to_headers() == child.create_child("below").to_headers() == passed
    assert clew.RunTree("root").to_headers() == {}


@pytest.mark.parametrize("written", [5, "text", [1], {1: 2}])
@pytest.mark.parametrize("read", [(1,), "abc", (1, 2, 3), {"traceparent": "00-XYZ-12-01"}, {"traceparent": 5}])
def test_further_format_that_gives_anything_is_harmless(
    recording: clew.Recording, use: Callable[[Any], None], read: Any, written: Any
) -> None:
    class Odd:
        name = "odd"

        def read(self, headers: Any) -> Any:
            return read

        def write(self, headers: Mapping[str, str]) -> Any:
            return written

        def __repr__(self) -> str:
            raise LookupError("repr")

    use(Odd())
    run = serve({})
    assert run.parent_id is None
    assert {*run.to_headers()} >= {"traceparent", "langsmith-trace"}


def test_further_format_does_not_write_over_clews_own(recording: clew.Recording, use: Callable[[Any], None]) -> None:
    class Greedy(Dashes):
        def write(self, headers: Mapping[str, str]) -> Mapping[str, str]:
            return {"Baggage": "", "traceparent": "", "dashes": "-"}

    use(Greedy())
    with clew.trace("call", tags=["t"]) as run:
        headers = run.to_headers()
    assert (headers["baggage"], headers["dashes"]) == ("langsmith-tags=t", "-")
    assert headers["traceparent"].split("-")[2] == run.span_id
    assert "Baggage" not in headers


def test_headers_without_an_end_are_read_up_to_a_limit(recording: clew.Recording, use: Callable[[Any], None]) -> None:
    use(Dashes())
    endless = itertools.chain(W3C.items(), itertools.repeat(("accept", "*/*")))
    assert serve(endless).parent_span_id == SPAN


def test_headers_that_can_only_be_looked_through_by_items_are_read(
    recording: clew.Recording, use: Callable[[Any], None]
) -> None:
    from wsgiref.headers import Headers

    assert serve(Headers([*W3C.items()])).parent_span_id == SPAN
    use(Dashes())
    assert serve(Headers([*W3C.items()])).parent_span_id == SPAN


def test_run_joins_one_that_is_far_down_by_headers(recording: clew.Recording) -> None:
    run = clew.RunTree("root")
    for number in range(2_000):
        run = run.create_child(f"{number}")
        run.post()
    with clew.tracing_context(parent={"traceparent": run.to_headers()["traceparent"]}), clew.trace("joined"):
        pass
    *_, last = recording
    assert last.name == "joined"
    assert len(recording.roots) == 1
