"""
Read and write W3C's `traceparent`: the trace that a request belongs to, and the span that sent it.

The data that vendors add to it is in `clew.propagation.tracestate`.
"""

from __future__ import annotations

import re
from operator import index
from typing import NamedTuple, Optional

from clew._shared.incidents import report
from clew.propagation._text import SHOWN_CHARS, text_of

__all__ = ("RANDOM", "SAMPLED", "TraceParent")

SAMPLED = 0x01
RANDOM = 0x02

CHARS = 55
# A later version may be longer than version 00, but not longer than all headers of a request together.
MOST_CHARS = 8192

_REFUSED = "traceparent_refused"

_ID_PAIR = r"(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})"
_FORMAT = re.compile(rf"00-{_ID_PAIR}-([0-9a-f]{{2}})", re.ASCII)
# A later version may have more fields after another dash. They are ignored.
_LATER_FORMAT = re.compile(rf"(?!00|ff)[0-9a-f]{{2}}-{_ID_PAIR}-([0-9a-f]{{2}})(?:-.*)?", re.ASCII)
_IDS = re.compile(_ID_PAIR, re.ASCII)
_FLAGS = {f"{flags:02x}": flags & (SAMPLED | RANDOM) for flags in range(256)}


class TraceParent(NamedTuple):
    """
    The content of a `traceparent` header.

    Args:
        trace_id: 32 lower-case hexadecimal digits, not all of them zero.
        span_id: 16 lower-case hexadecimal digits, not all of them zero. The specification calls it ``parent-id``.
        flags: the bits `SAMPLED` (the caller records the trace) and `RANDOM` (the last 7 bytes of the trace id are
            random). Other bits are not defined; they are neither read nor written.

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
        Read the value of the header. Return None if it is not valid: then a new trace begins.

        Of a later version of the format, only the ids and `SAMPLED` are read, as the specification demands.
        A header that is not valid is counted as ``"traceparent_refused"`` in `clew.stats()`.
        """
        return cls._parse(text if type(text) is str else text_of(text, _REFUSED))

    @classmethod
    def _parse(cls, header: Optional[str]) -> Optional[TraceParent]:
        if not header:
            return None
        if len(header) == CHARS and _FORMAT.fullmatch(header) is not None:
            return tuple.__new__(cls, (header[3:35], header[36:52], _FLAGS[header[53:]]))  # faster than `cls(...)`
        found = None
        if len(header) <= MOST_CHARS:
            stripped = header.strip(" \t")
            if not stripped:
                return None
            found = _FORMAT.fullmatch(stripped) or _LATER_FORMAT.fullmatch(stripped)
        if found is None:
            report(_REFUSED, f"expected a valid traceparent, got {header[:SHOWN_CHARS]!a}; a new trace begins")
            return None
        trace_id, span_id, flags = found.groups()
        # The flags of a later version may have another meaning, except for `SAMPLED`.
        known = SAMPLED | RANDOM if found.re is _FORMAT else SAMPLED
        return cls(trace_id, span_id, _FLAGS[flags] & known)

    def to_header(self) -> Optional[str]:
        """
        Return the value of the header, in version 00; None if an id is not valid or the flags are no int.

        None is counted as ``"traceparent_dropped"`` in `clew.stats()`.
        """
        try:
            ids = f"{str.__str__(self.trace_id)}-{str.__str__(self.span_id)}"
            if _IDS.fullmatch(ids) is not None:
                return f"00-{ids}-{index(self.flags) & (SAMPLED | RANDOM):02x}"
        except TypeError:
            pass  # an id is no text, or the flags are no int
        report("traceparent_dropped", "expected valid ids and flags in a traceparent; the header is not written")
        return None

    @property
    def is_sampled(self) -> bool:
        """
        Whether the caller may have recorded the trace.
        """
        return self.flags & SAMPLED != 0

    @property
    def is_random(self) -> bool:
        """
        Whether the caller says that the last 7 bytes of the trace id are random.
        """
        return self.flags & RANDOM != 0
