"""
`read` and `write`: all headers of a trace at once, and which of them names the parent.
"""

from __future__ import annotations

from typing import Dict, Iterator, Mapping, Optional, Tuple

import pytest

from clew.propagation.carrier import read, write
from clew.propagation.formats import add_format, remove_format

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
W3C = {"traceparent": f"00-{TRACE}-{SPAN}-03", "tracestate": "rojo=1,congo=2"}
ROOT = "01a20137-b201-7e4c-9aba-ed1cbb092982"
CALLER = "01a20137-b202-7e28-aff0-bd2d13e79ae8"
LANGSMITH = {"langsmith-trace": f"20261122T030556993893Z{ROOT}.20261122T030556994884Z{CALLER}"}
BAGGAGE = {"baggage": "langsmith-tags=a%2Cb,langsmith-address=evil,user=ada;p=1"}
SAME_RUN = {**W3C, **LANGSMITH, "traceparent": f"00-{TRACE}-{CALLER[-17:].replace('-', '')}-01"}
SAME_TRACE = {**W3C, **LANGSMITH, "traceparent": f"00-{ROOT.replace('-', '')}-{SPAN}-03"}


@pytest.mark.parametrize(
    ("headers", "trace_id", "trace_state", "is_random", "link"),
    [
        pytest.param({}, None, None, False, None, id="nothing"),
        pytest.param(BAGGAGE, None, None, False, None, id="baggage"),
        pytest.param(W3C, TRACE, W3C["tracestate"], True, None, id="W3C"),
        pytest.param(LANGSMITH, ROOT.replace("-", ""), None, False, None, id="LangSmith"),
        pytest.param(SAME_RUN, TRACE, W3C["tracestate"], False, None, id="same run"),
        pytest.param({**W3C, **LANGSMITH}, ROOT.replace("-", ""), None, False, (TRACE, SPAN), id="other trace"),
        pytest.param(
            SAME_TRACE,
            ROOT.replace("-", ""),
            W3C["tracestate"],
            True,
            (ROOT.replace("-", ""), SPAN),
            id="other span of the trace",
        ),
    ],
)
def test_parent_is_the_langsmith_trace_and_another_traceparent_a_link(
    headers: Dict[str, str],
    trace_id: Optional[str],
    trace_state: Optional[str],
    is_random: bool,
    link: Optional[Tuple[str, str]],
) -> None:
    incoming = read(headers)
    assert (incoming.trace_id, incoming.is_random) == (trace_id, is_random)
    assert (incoming.trace_state.to_header() if incoming.trace_state else None) == trace_state
    found = incoming.link.trace_parent if incoming.link else None
    assert (found[:2] if found else None) == link


@pytest.mark.parametrize("headers", [{}, W3C, LANGSMITH, SAME_RUN, SAME_TRACE, {**W3C, **LANGSMITH}])
def test_headers_that_were_read_are_written_unchanged(headers: Dict[str, str]) -> None:
    assert read(headers).to_headers() == headers
    incoming = read({**headers, **BAGGAGE})
    assert incoming.baggage is not None
    written = incoming.to_headers(incoming.with_inherited(incoming.baggage))
    assert written == {**headers, "baggage": "langsmith-tags=a%2Cb,user=ada;p=1"}


def test_baggage_of_the_program_and_of_langsmith_are_kept_apart() -> None:
    incoming = read(BAGGAGE)
    assert incoming.baggage is not None
    assert incoming.baggage.to_header() == "user=ada;p=1"
    assert incoming.langsmith.tags == ("a", "b")


def test_of_a_caller_who_is_not_trusted_only_the_ids_are_read() -> None:
    incoming = read({**W3C, **BAGGAGE, "traceparent": f"00-{TRACE}-{SPAN}-00"}, is_trusted=False)
    assert incoming.to_headers(incoming.with_inherited(incoming.baggage)) == {"traceparent": f"00-{TRACE}-{SPAN}-01"}


def test_nothing_is_written_without_values() -> None:
    assert write() == {}
    assert write(TRACE, SPAN, "01") == {"traceparent": f"00-{TRACE}-{SPAN}-01"}


class Dashes:
    """A format with a header of its own, and with baggage."""

    name = "dashes"

    def read(self, headers: Mapping[str, str]) -> Optional[Mapping[str, str]]:
        return {**W3C, "traceparent": headers["dashes"], "baggage": "of=dashes"} if "dashes" in headers else None

    def write(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        return {"dashes": " ".join(headers.values())}


@pytest.fixture
def dashes() -> Iterator[Dashes]:
    added = Dashes()
    add_format(added)
    yield added
    remove_format(added)


@pytest.mark.usefixtures("dashes")
def test_added_format_is_read_if_no_other_names_a_parent() -> None:
    theirs = {"dashes": f"00-{TRACE}-{SPAN}-01"}
    for headers in (theirs, {**theirs, "traceparent": "garbage"}):
        incoming = read(headers)
        assert (incoming.trace_id, incoming.baggage.to_header()) == (TRACE, "of=dashes")
    assert read({**theirs, **LANGSMITH}).trace_id == ROOT.replace("-", "")
    assert read({**theirs, **BAGGAGE}).baggage.to_header() == "user=ada;p=1"
    assert read({"dashes": "garbage"}).trace_id is None


@pytest.mark.usefixtures("dashes")
def test_added_format_is_written_with_the_baggage_of_the_program() -> None:
    headers = read({**W3C, **BAGGAGE}).to_headers(read(BAGGAGE).all_baggage)
    assert headers["dashes"] == f"{W3C['traceparent']} {W3C['tracestate']} user=ada;p=1"
