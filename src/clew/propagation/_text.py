"""
Turn a value of any type into the plain text that the codecs read and write.

The rules of each header are in its own module.
"""

from __future__ import annotations

from typing import TypeVar, cast

from clew._shared.incidents import report

__all__ = ("SHOWN_CHARS", "plain", "text_of")

T = TypeVar("T")

# How much of a refused header the log shows: enough to recognise its sender.
SHOWN_CHARS = 32


def text_of(value: object, kind: str) -> str:
    """
    Return the value of a header as a `str`. It is empty for None and, counted as `kind`, for all other types.
    """
    if value is None:
        return ""
    # `type(value)`, not `isinstance`, which may run code of the value's own class.
    if issubclass(type(value), str):
        return str.__str__(cast("str", value))  # a subclass may override, and raise in, any method
    report(kind, f"expected a header as a str, got an instance of {type(value).__name__}")
    return ""


def plain(text: T) -> T:
    """
    Return an instance of a subclass of `str`, such as an enum, as a `str`, and any other value as it is.
    """
    # An f-string would call `__format__` of the subclass.
    return str.__str__(text) if type(text) is not str and isinstance(text, str) else text  # type: ignore[return-value]
