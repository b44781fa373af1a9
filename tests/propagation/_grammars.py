"""
What the specifications allow in each header, written down once more, and without a line of clew's.
"""

from __future__ import annotations

import string
from datetime import datetime
from typing import List, Tuple
from uuid import UUID

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"

ROOT_RUN = "20260102T030405000006Z018f0000-0000-7000-8000-000000000001"
CHILD_RUN = "20260102T030405000007Z018f0000-0000-7000-8000-000000000002"

HEX = "0123456789abcdef"
TOKEN_CHARS = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
BAGGAGE_CHARS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%,;\\')
STATE_KEY_STARTS = string.ascii_lowercase + string.digits
STATE_KEY_CHARS = STATE_KEY_STARTS + "_-*/@"
STATE_CHARS = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")


def _consists_of(text: str, chars: str, length: int) -> bool:
    return len(text) == length and set(text) <= set(chars)


def is_traceparent(text: str) -> bool:
    """Return whether the text is a traceparent of version 00 in which only defined flags are set."""
    version, *fields = text.split("-")
    if version != "00" or len(fields) != 3:
        return False
    trace_id, span_id, flags = fields
    ids = _consists_of(trace_id, HEX, 32) and _consists_of(span_id, HEX, 16)
    return ids and set(trace_id) != {"0"} and set(span_id) != {"0"} and flags in {"00", "01", "02", "03"}


def is_tracestate(text: str) -> bool:
    """Return whether the text is a tracestate that may be sent: no empty member, repeated key or outer white space."""
    pairs = [member.partition("=") for member in text.split(",")]
    return len({key for key, _, _ in pairs}) == len(pairs) <= 32 and all(map(_is_state_pair, pairs))


def _is_state_pair(pair: Tuple[str, str, str]) -> bool:
    key, sign, value = pair
    is_key = 1 <= len(key) <= 256 and key[0] in STATE_KEY_STARTS and set(key) <= set(STATE_KEY_CHARS)
    return is_key and sign == "=" and 1 <= len(value) <= 256 and set(value) <= set(STATE_CHARS) and value[-1] != " "


def is_baggage(text: str) -> bool:
    """Return whether the text is a baggage without white space that every system must pass on."""
    members = text.split(",")
    return len(members) <= 64 and len(text.encode()) <= 8192 and all(map(_is_baggage_member, members))


def _is_baggage_member(member: str) -> bool:
    first, *properties = member.split(";")
    return "=" in first and all(map(_is_property, (first, *properties)))


def _is_property(text: str) -> bool:
    key, _, value = text.partition("=")
    plain, *encoded = value.split("%")
    is_encoded = all(len(part) >= 2 and set(part[:2]) <= set(string.hexdigits) for part in encoded)
    is_plain = set("".join([plain, *(part[2:] for part in encoded)])) <= set(BAGGAGE_CHARS)
    return key != "" and set(key) <= set(TOKEN_CHARS) and is_encoded and is_plain


def is_dotted_order(text: str) -> bool:
    """Return whether LangSmith can read each part."""
    parts = text.split(".")
    return len(moments_of(text)) == len(parts) and all(
        len(part) == 22 + 36 and str(UUID(part[-36:])) == part[-36:] for part in parts
    )


def moments_of(dotted_order: str) -> List[datetime]:
    return [
        datetime.strptime(part[:-36], "%Y%m%dT%H%M%S%fZ")  # noqa: DTZ007  all are in UTC
        for part in dotted_order.split(".")
    ]
