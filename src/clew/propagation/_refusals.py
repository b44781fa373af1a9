"""
What all readers and writers of headers share: getting hold of the text, and counting what is refused or dropped.

The rules of each header are in its own module.
"""

from __future__ import annotations

from typing import Optional, TypeVar, cast

from clew._shared.incidents import report

__all__ = ("refuse", "text_of")

T = TypeVar("T")

# Of what somebody else has sent, as much as it takes to find out who.
MOST_SHOWN_CHARS = 32


def text_of(value: object, most_chars: int, kind: str) -> str:
    """
    Return the text to be read, an empty one if there is none, or if it is refused and counted.
    """
    if type(value) is str and len(value) <= most_chars:
        return value
    if value is None:
        return ""
    # Not isinstance, which asks the value itself.
    if issubclass(type(value), str):
        text: str = str.__str__(cast("str", value))  # a class of somebody's may raise in any method
        if len(text) <= most_chars:
            return text
        refuse(kind, f"a header had {len(text):,} characters, of which {most_chars:,} are read at most", text)
    else:
        refuse(kind, f"expected a header as a str, got an instance of {type(value).__name__}")
    return ""


def plain(text: T) -> T:
    """
    Return the characters alone of a text of some class of its own, such as an enum; anything else as it is.
    """
    # Which would be written as what that class makes of it.
    return str.__str__(text) if type(text) is not str and isinstance(text, str) else text  # type: ignore[return-value]


def refuse(kind: str, what: str, text: Optional[str] = None) -> None:
    """
    Count one incident, and show no more than the start of the text.
    """
    if text is not None:
        # In ASCII, as there is no log that could not take that.
        shown = ascii(str.__str__(text)[:MOST_SHOWN_CHARS])
        what = f"{what}; it starts with {shown}" if len(text) > MOST_SHOWN_CHARS else f"{what}: {shown}"
    report(kind, what)
