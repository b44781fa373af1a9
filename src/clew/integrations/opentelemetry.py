"""
Read and write headers by OpenTelemetry's propagators, in addition to clew's own: B3, Jaeger, X-Ray and others.

W3C's and LangSmith's headers do not need this module. The propagators come from OpenTelemetry's own packages.
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional

from clew._shared.locks import ForkSafeLock
from clew.errors import ArgumentTypeError, MissingExtraError
from clew.propagation.baggage import Baggage, BaggageMember
from clew.propagation.fields import all_values
from clew.propagation.formats import add_format, remove_format

try:
    from opentelemetry import baggage
    from opentelemetry.context import Context
    from opentelemetry.propagators.textmap import Getter, TextMapPropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as _missing:
    raise MissingExtraError("clew.integrations.opentelemetry", "opentelemetry") from _missing

__all__ = ("add_propagator", "remove_propagator")

_TRACE_CONTEXT = TraceContextTextMapPropagator()

_guard = ForkSafeLock()
_added: List[_Propagated] = []


def add_propagator(propagator: TextMapPropagator) -> None:
    """
    Use a propagator wherever clew reads and writes headers, in the whole process.

    It reads if neither LangSmith's format nor W3C's names a parent, and no propagator that was added before. It always
    writes. It can replace headers of propagators that were added before, but not W3C's and LangSmith's.

    `clew.stats()` counts its exceptions as ``formats_failed``; the headers are read or written without it.

    Context:
        *When*: nothing is captured. Thread-safe.

    Args:
        propagator: an instance, such as ``B3MultiFormat()`` of the package ``opentelemetry-propagator-b3``.

    Raises:
        ArgumentTypeError: `propagator` has no `inject` or no `extract`, or is a class.

    Example:
        >>> import clew
        >>> from clew.integrations.opentelemetry import add_propagator, remove_propagator
        >>> from opentelemetry.propagators.b3 import B3SingleFormat
        >>> b3 = B3SingleFormat()
        >>> add_propagator(b3)
        >>> with clew.record(), clew.trace("call") as run:
        ...     run.to_headers()["b3"] == f"{run.trace_id.hex}-{run.span_id}-1"
        True
        >>> remove_propagator(b3)
    """
    if not (hasattr(propagator, "inject") and hasattr(propagator, "extract")) or isinstance(propagator, type):
        raise ArgumentTypeError(
            f"expected a TextMapPropagator, got {propagator!r}; pass an instance, such as B3MultiFormat()"
        )
    propagated = _Propagated(propagator)
    with _guard.lock:
        _added.append(propagated)
        add_format(propagated)


def remove_propagator(propagator: TextMapPropagator) -> None:
    """
    Undo `add_propagator`. Do nothing if the propagator was not added.
    """
    with _guard.lock:
        for propagated in [other for other in _added if other.propagator is propagator]:
            _added.remove(propagated)
            remove_format(propagated)


class _Propagated:
    """
    A propagator as a `HeaderFormat`. OpenTelemetry's own W3C propagator translates between the two.
    """

    def __init__(self, propagator: TextMapPropagator) -> None:
        self.propagator: Any = propagator
        self.name = type(propagator).__name__

    def read(self, headers: Any) -> Dict[str, str]:
        """
        Return the values that the propagator extracts, as W3C's headers.
        """
        context = self.propagator.extract(all_values(headers), Context(), _GETTER)
        w3c: Dict[str, str] = {}
        _TRACE_CONTEXT.inject(w3c, context)
        # Not OpenTelemetry's propagator of baggage: it writes a space as `+`, which W3C Baggage reads as a plus sign.
        members = [BaggageMember(key, str(value)) for key, value in baggage.get_all(context).items()]
        w3c["baggage"] = Baggage(members).to_header() or ""
        return w3c

    def write(self, headers: Mapping[str, str]) -> Dict[str, str]:
        """
        Return the headers that the propagator injects for the values of W3C's headers.
        """
        context = _TRACE_CONTEXT.extract(headers, Context())
        for member in Baggage.from_header(headers.get("baggage")).members:
            context = baggage.set_baggage(member.key, member.value, context)
        written: Dict[str, str] = {}
        self.propagator.inject(written, context)
        return written


class _LowerCase(Getter[Dict[str, List[str]]]):
    """
    Looks up each name in lower case.
    """

    def get(self, carrier: Dict[str, List[str]], key: str) -> Optional[List[str]]:
        return carrier.get(key.lower())

    def keys(self, carrier: Dict[str, List[str]]) -> List[str]:
        return list(carrier)


_GETTER = _LowerCase()
