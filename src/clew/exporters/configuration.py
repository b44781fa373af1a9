"""
`configure()`: where finished runs go, which traces are recorded, and what they are filed under, for the whole process.

What becomes of a run on its way is in `clew.exporters`; what one block of code says, in `clew.tracing_context`.
"""

from __future__ import annotations

import atexit
import os
import sys
from time import monotonic
from typing import Any, Callable, Collection, List, Mapping, Optional, Sequence, Union

from clew._shared.locks import ForkSafeLock
from clew.errors import ArgumentTypeError
from clew.exporters._options import CHECKS, IF_REFUSED, VARIABLES, report_variable, text_in, value_of_environment
from clew.exporters.pipeline import Pipeline
from clew.exporters.protocol import Exporter
from clew.runs._tree.hooks import set_enabled
from clew.runs._tree.kept.hiding import hiding
from clew.runs._tree.options import Unset, unset
from clew.runs._tree.settings import settings
from clew.runs.sampling import Sampler

__all__ = ("configure", "configure_from_environment", "flush", "shutdown")

# The options about what is hidden, with the attributes of `hiding`.
_HIDING = {
    "hide": "names",
    "hide_inputs": "inputs",
    "hide_outputs": "outputs",
    "hide_metadata": "metadata",
    "redact": "redact",
}

# Seconds that the exit of a process, or the replacement of an exporter, waits for the delivery of runs.
EXIT_TIMEOUT = 5.0

_guard = ForkSafeLock()
_pipeline: Optional[Pipeline] = None
_is_watching_exit = False


def configure(
    *,
    exporter: Union[Exporter, Sequence[Union[Exporter, str]], str, Unset, None] = unset,
    sampler: Union[Sampler, Unset, None] = unset,
    project_name: Union[str, Unset, None] = unset,
    service: Union[str, Unset, None] = unset,
    enabled: Union[bool, Unset, None] = unset,
    max_queued_bytes: Union[int, Unset, None] = unset,
    hide: Union[bool, Collection[str], Unset, None] = unset,
    hide_inputs: Union[bool, Unset, None] = unset,
    hide_outputs: Union[bool, Unset, None] = unset,
    hide_metadata: Union[bool, Unset, None] = unset,
    redact: Union[Callable[[Any, str], Any], Unset, None] = unset,
) -> None:
    """
    Set for the whole process where finished runs go, and what is recorded. An exporter switches recording on.

    Options that are left out stay unchanged. None resets an option to its environment variable (CLEW_EXPORT and
    others); without one there is no exporter, no sampler and no name, and recording is enabled. A new exporter
    replaces the old one, which still gets the runs that have ended, and is shut down. At the exit of the process the
    remaining runs are delivered, which takes some seconds at most.

    Context:
        *When*: nothing is captured; it applies to every thread, task and context. *What the callee sees*: an exporter
        is called in a thread of its own, in an empty context in which nothing is recorded. *What comes back*: nothing.
        Thread-safe.

    Args:
        exporter: an exporter, or a list of them. An exporter may be a text: ``"jsonl:runs.jsonl"``, ``"langsmith:"``
            or ``"memory:"``.
        sampler: the share of all traces to record, from 0 to 1; or a function that gets the `TraceRoot` of each trace
            and returns a share, or whether to record the trace.
        project_name: the project of runs without a project of their own.
        service: the name of this program.
        enabled: False to switch recording off, also for `record`.
        max_queued_bytes: about how many bytes the runs that wait for the exporter may take together; 64 MiB by default.
            A run for which there is no room is dropped, and counted in `clew.stats()` as ``runs_dropped``.
        hide: names of parameters, keys and fields whose values are not recorded, besides those that look like secrets,
            such as ``password``. A name also stands for those that end with it. ``"-token"`` takes one of the default
            names out, ``"-*"`` all of them. False hides nothing by name. A second call replaces the names of the first.
        hide_inputs, hide_outputs, hide_metadata: True to record none.
        redact: a function that gets the copy of a value, and the part of a run that it is: "inputs", "outputs",
            "metadata" or "event", which are dicts, or "error", which is a text. It returns the value to record, and is
            called on the thread of the program. If it raises, or returns another type, the value is dropped.
            `configure` calls it with an example of each.

    Values that are recorded already stay as they are.

    Raises:
        ArgumentTypeError: an argument has the wrong type, or `redact` returns one.
        ArgumentValueError: no exporter has that name, the ratio is not from 0 to 1, a bound is not positive, a name in
            `hide` is unknown, or `redact` raises.
        MissingExtraError: the packages of the exporter are not installed.

    Example:
        >>> import clew
        >>> from clew.exporters.memory import MemoryExporter
        >>> exporter = MemoryExporter()
        >>> clew.configure(exporter=exporter)
        >>> with clew.trace("fetch"):
        ...     pass
        >>> clew.shutdown(), [run.name for run in exporter.runs]
        (True, ['fetch'])
        >>> clew.configure(exporter=None)
    """
    options = {
        "project_name": project_name,
        "service": service,
        "sampler": sampler,
        "enabled": enabled,
        "max_queued_bytes": max_queued_bytes,
        "hide": hide,
        "hide_inputs": hide_inputs,
        "hide_outputs": hide_outputs,
        "hide_metadata": hide_metadata,
        "redact": redact,
        "exporter": exporter,
    }
    # Check all options before changing anything.
    checked = {
        option: value_of_environment(option) if value is None else CHECKS[option](value)
        for option, value in options.items()
        if not isinstance(value, Unset)
    }
    _guard.run(_apply, checked)
    if "exporter" in checked:
        _watch_exit()
        _replace(checked["exporter"], EXIT_TIMEOUT)


def _apply(checked: Mapping[str, Any]) -> None:
    hidden = {_HIDING[option]: value for option, value in checked.items() if option in _HIDING}
    if hidden:
        hiding.change(hidden)
    if "sampler" in checked:
        settings.sampler = checked["sampler"]
    settings.set_resource(
        project_name=checked.get("project_name", settings.project_name),
        service=checked.get("service", settings.service),
    )
    if "enabled" in checked:
        set_enabled(checked["enabled"])
    if "max_queued_bytes" in checked:
        settings.max_queued_bytes = checked["max_queued_bytes"]


def flush(timeout: float = 30.0) -> bool:
    """
    Wait until all runs that have ended so far are delivered.

    Context:
        *When*: nothing is captured. Thread-safe. Called by an exporter, which would wait for itself, it returns at
        once.

    Args:
        timeout: the longest wait, in seconds.

    Returns:
        Whether all are delivered, and no run was dropped or lost since the last call; True if there is no exporter.
    """
    _check_timeout(timeout)
    pipeline = _pipeline
    return pipeline is None or pipeline.flush(timeout)


def shutdown(timeout: float = 30.0) -> bool:
    """
    Switch recording off, deliver the runs that have ended, and shut the exporter down.

    Runs that are not delivered in time are lost, and counted in `clew.stats()` as ``runs_lost``. `configure` with an
    exporter switches recording on again.

    Context:
        *When*: nothing is captured. Thread-safe.

    Args:
        timeout: the longest wait, in seconds.

    Returns:
        Whether all is delivered, and no run was dropped or lost since the last `flush`; True if there is no exporter.
    """
    _check_timeout(timeout)
    return _replace([], timeout)


def configure_from_environment(environ: Mapping[str, str] = os.environ) -> None:
    """
    Call `configure` with the values of the environment variables.

    They are CLEW_EXPORT (``exporter``, as text), CLEW_SAMPLE (``sampler``, a ratio), CLEW_PROJECT (``project_name``),
    CLEW_SERVICE (``service``), CLEW_ENABLED (``enabled``, 0 or 1), CLEW_MAX_QUEUED_BYTES (``max_queued_bytes``),
    CLEW_HIDE (``hide``, names with commas between them, or 0), CLEW_HIDE_INPUTS, CLEW_HIDE_OUTPUTS and
    CLEW_HIDE_METADATA (0 or 1). LangSmith's variables LANGSMITH_HIDE_INPUTS, LANGCHAIN_HIDE_INPUTS and so on apply
    where clew's are not set. An invalid value is counted in `clew.stats()` as ``environment_refused``; the other
    variables apply. The value of a switch that hides then counts as 1.
    """
    for name, (option, read) in VARIABLES.items():
        found = text_in(environ, name)
        if found is None:
            continue
        try:
            configure(**{option: read(found[1])})
        except Exception as error:  # noqa: BLE001  a wrong variable must not break the program
            report_variable(found[0], error)
            if option in IF_REFUSED:
                configure(**{option: IF_REFUSED[option]})


def _replace(exporters: Sequence[Exporter], timeout: float) -> bool:
    changes: List[Optional[Pipeline]] = []
    try:
        _guard.run(_change_pipeline, exporters, changes)
        old = changes[0]
        return old is None or old.shutdown(timeout, keeping=exporters)
    except BaseException:  # an interrupt: of the two pipelines, only the one that is in force takes runs from now on
        for each in changes:
            if each is not None and each is not _pipeline:
                each.stop(monotonic() + timeout, exporters)
        if _pipeline is not None and _pipeline in changes:
            _pipeline.open()
        raise


def _change_pipeline(exporters: Sequence[Exporter], changes: List[Optional[Pipeline]]) -> None:
    global _pipeline
    old = _pipeline
    new = Pipeline(exporters, before=old) if exporters else None
    changes += (old, new)
    # Before the old one is closed, so that no run is missed in between.
    if new is not None:
        new.open(old)
    _pipeline = new


def _check_timeout(timeout: object) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ArgumentTypeError(f"expected a timeout in seconds, got {timeout!r}; pass a number such as 5.0")


def _watch_exit() -> None:
    global _is_watching_exit
    if not _is_watching_exit:
        atexit.register(_at_exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_watch_worker)
        _is_watching_exit = True  # last: after an interrupt, a second call does it all again, which does no harm
    _watch_worker()


def _at_exit() -> None:
    shutdown(EXIT_TIMEOUT)


def _watch_worker() -> None:
    # A process of multiprocessing's ends without what is registered with `atexit`: it has a registry of its own, which
    # it empties as its first act and fills by these functions as its second.
    util: Any = sys.modules.get("multiprocessing.util")
    process: Any = sys.modules.get("multiprocessing.process")
    if util is None or process is None:
        return
    # Once: each call adds an entry, and the entries are inherited by forked processes.
    registered: Any = getattr(util, "_afterfork_registry", {})  # a private name
    # `any` takes a list, because Python swallows an interrupt that comes while it closes a generator expression.
    if not any([each is _at_exit for each in list(registered.values())]):  # noqa: C419
        util.register_after_fork(_at_exit, _end_with_worker)
    if process.parent_process() is not None:
        _end_with_worker(_at_exit)


def _end_with_worker(at_exit: Callable[[], None]) -> None:
    sys.modules["multiprocessing.util"].Finalize(None, at_exit, exitpriority=0)


# Once, and before the program says anything itself, so that its own word is the last one.
configure_from_environment()
