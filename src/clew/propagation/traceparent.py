"""
W3C `traceparent`: which trace a request belongs to, and which span of it has made the request.

What vendors add to it is in `clew.propagation.tracestate`.
"""

from __future__ import annotations

import re
from operator import index
from typing import NamedTuple, Optional

from clew.propagation._refusals import refuse, text_of

__all__ = ("RANDOM", "SAMPLED", "TraceParent")

SAMPLED = 0x01
RANDOM = 0x02

CHARS = 55
# Later versions may be longer than this one, but not as long as all headers of a request together.
MOST_CHARS = 8192

_ID_PAIR = r"(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
_FORMAT = re.compile(rf"00-{_ID_PAIR}-([0-9a-f]{{2}})", re.ASCII)
# A later version may have more after a dash; what that means is not for us.
_LATER_FORMAT = re.compile(rf"(?!00|ff)[0-9a-f]{{2}}-{_ID_PAIR}-([0-9a-f]{{2}})(?:-.*)?", re.ASCII)
_IDS = re.compile(_ID_PAIR, re.ASCII)
_USUAL_FLAGS = {f"{flags:02x}": flags for flags in range((RANDOM | SAMPLED) + 1)}


class TraceParent(NamedTuple):
    """
    Hold what a `traceparent` header says.

    Args:
        trace_id: 32 lower-case hexadecimal digits, not all of them zero.
        span_id: 16 of them; the specification's ``parent-id``.
        flags: the bits `SAMPLED`, whether the caller records the trace, and `RANDOM`, whether the last
            7 bytes of the trace id are random. Others are not defined, and neither read nor written.

    Source:
        W3C Trace Context, levels 1 and 2, section 3.2.

    Example:
        >>> from clew.propagation.traceparent import TraceParent
        >>> header = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        >>> TraceParent.from_header(header).span_id
        '00f067aa0ba902b7'
        >>> TraceParent.from_header(header).is_sampled
        True
        >>> TraceParent.from_header(header).to_header() == header
        True
    """

    trace_id: str
    span_id: str
    flags: int

    @classmethod
    def from_header(cls, text: object) -> Optional[TraceParent]:
        """
        Read the value of the header; None if it is not valid, which is for a new trace.

        A header of a later version is read as far as the specification lets this one: the ids and `SAMPLED`.
        What is not valid is counted as ``"traceparent_refused"`` in `clew.stats()`.
        """
        header = (
            text if type(text) is str and len(text) <= MOST_CHARS else text_of(text, MOST_CHARS, "traceparent_refused")
        )
        if len(header) == CHARS and _FORMAT.fullmatch(header) is not None:
            usual = _USUAL_FLAGS.get(header[53:])
            if usual is None:
                usual = int(header[53:], 16) & (SAMPLED | RANDOM)
            return tuple.__new__(cls, (header[3:35], header[36:52], usual))  # faster than its own
        known = SAMPLED | RANDOM
        found = _FORMAT.fullmatch(header)
        if found is None:
            header = header.strip(" \t")
            found = _FORMAT.fullmatch(header)
        if found is None:
            # Of the flags of a later version, `SAMPLED` is the only one that may be read.
            known = SAMPLED
            found = _LATER_FORMAT.fullmatch(header)
        if found is None:
            if header:
                refuse("traceparent_refused", "a traceparent is not valid and a new trace begins", header)
            return None
        trace_id, span_id, flags = found.groups()
        return tuple.__new__(cls, (trace_id, span_id, int(flags, 16) & known))  # faster than its own

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header, of version 00; None if it may not have the ids, or the flags are no int.

        None is counted as ``"traceparent_dropped"`` in `clew.stats()`.
        """
        try:
            ids = f"{str.__str__(self.trace_id)}-{str.__str__(self.span_id)}"
            if _IDS.fullmatch(ids) is not None:
                return f"00-{ids}-{index(self.flags) & (SAMPLED | RANDOM):02x}"
        except TypeError:
            pass  # no text, or no int
        refuse("traceparent_dropped", "a traceparent has ids or flags that it may not have, and is not written")
        return None

    @property
    def is_sampled(self) -> bool:
        """
        Whether the caller records the trace, as far as it knows.
        """
        return self.flags & SAMPLED != 0

    @property
    def is_random(self) -> bool:
        """
        Whether the caller says that the last 7 bytes of the trace id are random.
        """
        return self.flags & RANDOM != 0
