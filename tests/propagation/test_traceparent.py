"""
`traceparent`: each rule of W3C Trace Context about it, and what OpenTelemetry makes of it.
"""

from __future__ import annotations

from typing import Any

import pytest

from clew.propagation.traceparent import RANDOM, SAMPLED, TraceParent
from tests.propagation._grammars import PARENT, SPAN, TRACE, is_traceparent
from tests.propagation._opentelemetry import read_parent, written_parent

NO_TRACE, NO_SPAN = "0" * 32, "0" * 16
HUGE = "x" * (1 << 20)


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (PARENT, SAMPLED),
        (f"00-{TRACE}-{SPAN}-00", 0),
        (f"00-{TRACE}-{SPAN}-02", RANDOM),
        (f"00-{TRACE}-{SPAN}-03", SAMPLED | RANDOM),
        # Undefined flags are neither read nor passed on.
        (f"00-{TRACE}-{SPAN}-ff", SAMPLED | RANDOM),
        (f"00-{TRACE}-{SPAN}-fc", 0),
        # Optional white space.
        (f" {PARENT}", SAMPLED),
        (f"\t{PARENT}", SAMPLED),
        (f"{PARENT} ", SAMPLED),
        (f"{PARENT}\t", SAMPLED),
        (f"\t {PARENT} \t", SAMPLED),
        # Later versions: the ids and `SAMPLED` are read. The meaning of the other flags is unknown.
        (f"cc-{TRACE}-{SPAN}-02", 0),
        (f"01-{TRACE}-{SPAN}-ff-more", SAMPLED),
        (f"01-{TRACE}-{SPAN}-01", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01", SAMPLED),
        (f"fe-{TRACE}-{SPAN}-00", 0),
        (f"cc-{TRACE}-{SPAN}-01-", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like", SAMPLED),
        (f"cc-{TRACE}-{SPAN}-01-{'x' * 8000}", SAMPLED),
    ],
)
def test_header_that_is_valid_is_read(text: str, flags: int) -> None:
    parent = TraceParent.from_header(text)
    assert parent == (TRACE, SPAN, flags)
    assert parent.is_sampled is (flags in {1, 3})
    assert parent.is_random is (flags in {2, 3})
    # Version 00 is written, whichever was read.
    assert parent.to_header() == f"00-{TRACE}-{SPAN}-{flags:02x}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "-",
        "---",
        "00",
        HUGE,
        f"{PARENT}{' ' * (1 << 20)}",
        f"cc-{TRACE}-{SPAN}-01-{HUGE}",
        "0" * (1 << 20),
        PARENT[:-1],
        # Nothing may follow in version 00, and in later ones only what is after a dash.
        f"{PARENT}.",
        f"{PARENT}-",
        f"{PARENT}-what-the-future-will-be-like",
        f"{PARENT}\n",
        f"{PARENT}\x00",
        f"{PARENT},{PARENT}",
        f"cc-{TRACE}-{SPAN}-01.what-the-future-will-be-like",
        f"cc-{TRACE}-{SPAN}-011",
        f"cc-{TRACE}-{SPAN}-1",
        f"cc-{TRACE}-{SPAN}",
        f"cc-{TRACE}-{NO_SPAN}-01",
        # The version.
        f"ff-{TRACE}-{SPAN}-01",
        f"ff-{TRACE}-{SPAN}-01-more",
        f".0-{TRACE}-{SPAN}-01",
        f"0.-{TRACE}-{SPAN}-01",
        f"000-{TRACE}-{SPAN}-01",
        f"0000-{TRACE}-{SPAN}-01",
        f"0-{TRACE}-{SPAN}-01",
        f"-{TRACE}-{SPAN}-01",
        f"CC-{TRACE}-{SPAN}-01",
        # The trace id.
        f"00-{NO_TRACE}-{SPAN}-01",
        f"00-.{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE[:-1]}.-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE[:-1]}g-{SPAN}-01",
        # Digits of other scripts.
        f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
        f"00-{TRACE[:-1]}\uff11-{SPAN}-01",
        # The id of the span.
        f"00-{TRACE}-{NO_SPAN}-01",
        f"00-{TRACE}-.{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN[:-1]}.-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN[1:]}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        # The flags.
        f"00-{TRACE}-{SPAN}-.0",
        f"00-{TRACE}-{SPAN}-0.",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{TRACE}-{SPAN}-+1",
        # The dashes.
        PARENT.replace("-", "_"),
        PARENT.replace("-", ""),
        f"00--{TRACE}-{SPAN}-01",
        f"00 -{TRACE}-{SPAN}-01",
        # White space that HTTP does not allow.
        f"\n{PARENT}",
        f"\u00a0{PARENT}",
        f"\v{PARENT}",
    ],
    ids=lambda text: repr(text[:70]),
)
def test_header_that_is_not_valid_is_for_a_new_trace(text: str) -> None:
    assert TraceParent.from_header(text) is None


@pytest.mark.parametrize("nothing", [None, PARENT.encode(), 0, 1.5, [PARENT], (), object(), TraceParent])
def test_what_is_no_text_is_for_a_new_trace(nothing: object) -> None:
    assert TraceParent.from_header(nothing) is None


@pytest.mark.parametrize(
    ("trace_id", "span_id"),
    [
        (NO_TRACE, SPAN),
        (TRACE, NO_SPAN),
        (TRACE.upper(), SPAN),
        (TRACE, SPAN.upper()),
        (TRACE[1:], SPAN),
        (TRACE, SPAN + "0"),
        (TRACE + "\n", SPAN),
        (TRACE, SPAN + "\r\nx: y"),
        ("", ""),
        (int(TRACE, 16), int(SPAN, 16)),
        (None, None),
        # A number of 32 digits is not what it looks like.
        (12345678901234567890123456789012, SPAN),
        (TRACE, 1234567890123456),
        (TRACE.encode(), SPAN.encode()),
        (f"{TRACE}-{SPAN}", ""),
        (TRACE, "\ud800"),
    ],
)
def test_ids_that_are_none_are_not_written(trace_id: str, span_id: str) -> None:
    assert TraceParent(trace_id, span_id, 0).to_header() is None


@pytest.mark.parametrize("flags", [0, 1, 2, 3, 4, 255, 256, 1 << 70, -1, True])
def test_flags_are_written_as_far_as_they_are_defined(flags: int) -> None:
    text = TraceParent(TRACE, SPAN, flags).to_header()
    assert text == f"00-{TRACE}-{SPAN}-{flags & 3:02x}"
    assert is_traceparent(text)


class AndMore:
    """Has bits, but is no number."""

    def __and__(self, other: object) -> int:
        return 0xFFF


@pytest.mark.parametrize("flags", [None, "01", b"01", 1.0, [1], object(), AndMore()])
def test_flags_that_are_no_int_are_not_written(flags: Any) -> None:
    assert TraceParent(TRACE, SPAN, flags).to_header() is None


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_opentelemetry_and_clew_read_each_other(flags: int) -> None:
    written = TraceParent(TRACE, SPAN, flags).to_header()
    assert read_parent({"traceparent": written}) == (TRACE, SPAN, flags, {})
    assert TraceParent.from_header(written_parent(TRACE, SPAN, flags, {})["traceparent"]) == (TRACE, SPAN, flags)


def test_flags_that_are_not_defined_are_handed_on_by_opentelemetry_only() -> None:
    assert read_parent({"traceparent": f"00-{TRACE}-{SPAN}-ff"})[2] == 255
    assert TraceParent.from_header(written_parent(TRACE, SPAN, 255, {})["traceparent"]) == (TRACE, SPAN, 3)
