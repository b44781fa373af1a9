"""
The ids of the current run in each record of the standard library's `logging`: by a filter, or in the whole process.

Nothing here formats or sends a record, and no handler is touched.
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
    Give each record that comes by ``trace_id``, ``span_id`` and ``run_id``: those of the current run.

    They are strings, written as in W3C's headers and, for ``run_id``, as a UUID. All three are always there, so that no
    format that names them fails: where there is no run they are empty, and so is ``run_id`` under the headers of
    a request in which no run has begun. What a record has already, by ``extra=`` say, it keeps.

    Context:
        *When*: as the filter is asked, which is on the thread and in the context of whoever logs if it is on
        a logger or on an ordinary handler, a `QueueHandler` included. A `QueueListener` and its handlers are too late:
        they have a thread of their own. Thread-safe.

    Args:
        name: as of any `logging.Filter`: let pass only what is logged under that name.

    Source:
        OpenTelemetry's and Datadog's log correlation, which also fill in their fields where there is no span.

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
        Add the ids, and let the record pass.
        """
        _fill(record.__dict__)
        return bool(super().filter(record))


def install_record_factory() -> None:
    """
    Give every record of the process the fields that `RunContextFilter` gives to those that come by it.

    The factory that is there makes the records, as before. Calls are counted: the fields are added until each
    call had its `uninstall_record_factory`. If somebody has put another factory in the place of clew's since, one
    more call has it on top of that one.

    ``extra=`` may have the same names, and goes over what is clew's.

    Context:
        *When*: nothing at this call; later as a record is made, on the thread and in the context of whoever logs.
        Thread-safe.

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
    Undo one `install_record_factory`. The last one puts back the factory that was there before the first.

    Where somebody has put another factory in the place of clew's since, theirs stays, and clew's, should theirs call
    it, does nothing any more. That is logged, and counted in `clew.stats()` as ``patches_left_behind``.

    Raises:
        NotInstalledError: there is no `install_record_factory` left to undo.
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
    # Not under the lock: a handler of the log may want to install something, too.
    if not is_on_top:
        report(
            "patches_left_behind",
            "logging's record factory was replaced by somebody else after install_record_factory(), so theirs stays "
            "and clew's does nothing any more; call uninstall_record_factory() after they have undone theirs",
        )


class _Factory:
    """
    Make records as `native` does, and add the ids for as long as it is installed.
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
            except Exception as error:  # noqa: BLE001  a record of somebody's own kind, which is to be logged all the same
                report("log_lines_failed", "the ids of a run could not be added to a line of the log", error=error)
        return record


class _Fields(Dict[str, Any]):
    """
    Be the attributes of a record, and say of clew's that they are not there.

    For `logging` asks just that of each key in ``extra=``, and raises if it is; programs that have been passing
    their own ``trace_id`` must go on doing so. What is said last holds.
    """

    __slots__ = ()

    def __contains__(self, name: object) -> bool:
        return name not in _NAMES and super().__contains__(name)

    def __reduce__(self) -> Any:
        # A record that is sent to another process is read there without clew.
        return dict, (dict(self),)


_guard = ForkSafeLock()
_installed: List[_Factory] = []  # more than one where somebody has replaced clew's in between


def _below(factory: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    # Past what is left of clew's own, so that taking turns with somebody else makes no chain of them.
    while isinstance(factory, _Factory) and not factory.times:
        factory = factory.native
    return factory


def _fill(fields: Dict[str, Any]) -> None:
    trace_id, span_id, run_id = current_ids() or _NO_IDS
    fields.setdefault("trace_id", trace_id)
    fields.setdefault("span_id", span_id)
    fields.setdefault("run_id", run_id)
