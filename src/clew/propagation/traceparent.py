"""
W3C `traceparent`: which trace a request belongs to, and which span of it has made the request.

What vendors add to it is in `clew.propagation.tracestate`.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

__all__ = ("RANDOM", "SAMPLED", "TraceParent")

SAMPLED = 0x01
RANDOM = 0x02

# A later version may have more after a dash; what that means is not for us.
_FORMAT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}", re.ASCII)
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}", re.ASCII)


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

        A header of a later version is read as far as this version goes.
        """
        found = _FORMAT.fullmatch(text.strip(" \t")) if isinstance(text, str) else None
        if found is None:
            return None
        version, trace_id, span_id, flags, more = found.groups()
        if version == "ff" or (version == "00" and more is not None):
            return None
        if trace_id == _NO_TRACE_ID or span_id == _NO_SPAN_ID:
            return None
        return cls(trace_id, span_id, int(flags, 16) & (SAMPLED | RANDOM))

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header, of version 00; None if the ids are none that it may have.
        """
        if not _is(_TRACE_ID, self.trace_id) or not _is(_SPAN_ID, self.span_id):
            return None
        return f"00-{self.trace_id}-{self.span_id}-{self.flags & (SAMPLED | RANDOM):02x}"


_NO_TRACE_ID = "0" * 32
_NO_SPAN_ID = "0" * 16


def _is(pattern: re.Pattern[str], text: object) -> bool:
    return isinstance(text, str) and pattern.fullmatch(text) is not None
