"""
Add the ids of the current run to the records of the standard library's `logging`: by a filter, or in the whole process.

Nothing here formats or sends a record, and no handler is changed.
"""

from __future__ import annotations

import logging
from typing import Any, Callable, Dict, List

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.errors import NotInstalledError
from clew.integrations._correlation import current_ids

__all__ = ("RunContextFilter", "install_record_factory", "uninstall_record_factory")

_NAMES = ("trace_id", "span_id", "run_id")
_NO_IDS = ("", "", "")


class RunContextFilter(logging.Filter):
    """
    Add ``trace_id``, ``span_id`` and ``run_id`` of the current run to each record that passes the filter.

    They are strings: the first two as in W3C's headers, ``run_id`` as a UUID. A record always has all three, so that
    a format string may name them: without a current run they are empty, and ``run_id`` is empty if the parent is in
    the headers of a request and no run has started yet. Attributes that the record already has, for example from
    ``extra=``, are kept.

    Context:
        *When*: at the call of the filter. On a logger, an ordinary handler or a `QueueHandler`, that is on the thread
        and in the context of the code that logs. The handlers of a `QueueListener` run on a thread of their own, where
        the filter finds no run. Thread-safe.

    Args:
        name: as for any `logging.Filter`: only records of the logger with that name, and of those below it, pass.

    Source:
        The log correlation of OpenTelemetry and Datadog, which also add empty fields if there is no span.

    Example:
        >>> import logging, sys, clew
        >>> from clew.integrations.logging import RunContextFilter
        >>> handler = logging.StreamHandler(sys.stdout)
        >>> handler.setFormatter(logging.Formatter("%(message)s in span %(span_id)s"))
        >>> handler.addFilter(RunContextFilter())
        >>> log = logging.Logger("shop")
        >>> log.addHandler(handler)
        >>> headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        >>> with clew.tracing_context(parent=headers):
        ...     log.info("sold")
        sold in span 00f067aa0ba902b7
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """
        Add the ids. Return whether the record passes.
        """
        _fill(record.__dict__)
        return bool(super().filter(record))


def install_record_factory() -> None:
    """
    Add the same ids as `RunContextFilter` to every record of the process.

    The previous record factory still creates the records. Calls are counted: the ids are added until there was one
    `uninstall_record_factory` for each call. If other code has replaced clew's factory in the meantime, a further call
    installs clew's again, on top of that one.

    Values under the same names in ``extra=`` replace clew's.

    Context:
        *When*: nothing is captured at this call. The ids are found when a record is created, on the thread and in the
        context of the code that logs. Thread-safe.

    Example:
        >>> import logging, clew
        >>> from clew.integrations.logging import install_record_factory, uninstall_record_factory
        >>> install_record_factory()
        >>> log = logging.getLogger("shop")
        >>> with clew.record(), clew.trace("sale") as run:
        ...     log.makeRecord("shop", logging.INFO, "shop.py", 1, "sold", (), None).span_id == run.span_id
        True
        >>> uninstall_record_factory()
    """
    with _guard.lock:
        current = logging.getLogRecordFactory()
        if _installed and current is _installed[-1]:
            _installed[-1].times += 1
            return
        factory = _Factory(_below(current))
        _installed.append(factory)
        logging.setLogRecordFactory(factory)


def uninstall_record_factory() -> None:
    """
    Undo one `install_record_factory`. The last call restores the factory from before the first one.

    If other code has replaced clew's factory in the meantime, its factory stays. If it calls clew's, that one adds no
    ids any more. This is logged, and counted in `clew.stats()` as ``patches_left_behind``.

    Raises:
        NotInstalledError: each `install_record_factory` has been undone already.
    """
    with _guard.lock:
        if not _installed:
            raise NotInstalledError(
                "expected an install_record_factory() before each uninstall_record_factory(), "
                "found none left to undo; call them in pairs"
            )
        factory = _installed[-1]
        factory.times -= 1
        if factory.times:
            return
        _installed.pop()
        is_on_top = logging.getLogRecordFactory() is factory
        if is_on_top:
            logging.setLogRecordFactory(_below(factory))
    # Not under the lock: the report is logged, and a log handler may call `install_record_factory`.
    if not is_on_top:
        report(
            "patches_left_behind",
            "expected clew's record factory in logging, found another one that was set after install_record_factory(); "
            "it stays, and clew's adds no ids any more; call uninstall_record_factory() after the other one was undone",
        )


class _Factory:
    """
    A record factory that calls `native`, and adds the ids while it is installed.
    """

    __slots__ = ("native", "times")

    def __init__(self, native: Callable[..., logging.LogRecord]) -> None:
        self.native = native
        self.times = 1

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.native(*args, **kwargs)
        if self.times:
            try:
                record.__dict__ = fields = _Fields(record.__dict__)
                _fill(fields)
            except Exception as error:  # noqa: BLE001  a record of an unusual class is logged without the ids
                report("log_lines_failed", "the ids of a run could not be added to a log line", error=error)
        return record


class _Fields(Dict[str, Any]):
    """
    The attributes of a record. ``in`` returns False for clew's.

    `logging` raises an error if a key of ``extra=`` is already ``in`` the attributes. A program that passes its own
    ``trace_id`` must still work: its value replaces clew's.
    """

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return name not in _NAMES and super().__contains__(name)

    def __reduce__(self) -> Any:
        # Pickled as a plain dict: the process that receives the record may not have clew.
        return dict, (dict(self),)


_guard = ForkSafeLock()
_installed: List[_Factory] = []  # more than one if other code replaced clew's in between


def _below(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    # Skip factories of clew's that are no longer installed. Otherwise alternating with other code makes a long chain.
    while isinstance(factory, _Factory) and not factory.times:
        factory = factory.native
    return factory


def _fill(fields: Dict[str, Any]) -> None:
    trace_id, span_id, run_id = current_ids() or _NO_IDS
    fields.setdefault("trace_id", trace_id)
    fields.setdefault("span_id", span_id)
    fields.setdefault("run_id", run_id)
