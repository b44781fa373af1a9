"""
Add the ids of the current run to each structlog event, by a processor.

The processor is a plain function; structlog is not imported.
"""

from __future__ import annotations

from typing import Any, MutableMapping

from clew.integrations._correlation import current_ids

__all__ = ("add_run_context",)


def add_run_context(
    logger: Any,  # noqa: ARG001  structlog passes it to each processor
    method_name: str,  # noqa: ARG001  as above
    event_dict: MutableMapping[str, Any],
) -> MutableMapping[str, Any]:
    """
    Add ``trace_id``, ``span_id`` and ``run_id`` of the current run to an event. This is a structlog processor.

    They are strings: the first two as in W3C's headers, ``run_id`` as a UUID. Without a current run, none of them is
    added. If the parent is in the headers of a request and no run has started yet, ``run_id`` is not added. Fields that
    the event already has are kept.

    Context:
        *When*: at the call of the processor, in the context of the code that logs. Methods for async code, such as
        ``ainfo``, run the processor in a thread, in a copy of that context. Thread-safe.

    Example:
        >>> import clew, structlog
        >>> from clew.integrations.structlog import add_run_context
        >>> log = structlog.wrap_logger(
        ...     structlog.PrintLogger(), processors=[add_run_context, structlog.processors.KeyValueRenderer()]
        ... )
        >>> headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        >>> with clew.tracing_context(parent=headers):
        ...     log.info("sold")
        event='sold' trace_id='4bf92f3577b34da6a3ce929d0e0e4736' span_id='00f067aa0ba902b7'
    """
    ids = current_ids()
    if ids is not None:
        trace_id, span_id, run_id = ids
        event_dict.setdefault("trace_id", trace_id)
        event_dict.setdefault("span_id", span_id)
        if run_id:
            event_dict.setdefault("run_id", run_id)
    return event_dict
