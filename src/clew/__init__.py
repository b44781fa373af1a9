"""
Keep the thread of a trace whole through pools, tasks, processes and streams.

The everyday names are here, and each is loaded on first use. Importing `clew` alone imports no other module, no event
loop and no third-party package.

PYTEST_DONT_REWRITE: clew's pytest plugin imports this module early; without the marker pytest warns that it can no
longer rewrite its asserts.
"""

from __future__ import annotations

import sys

# A plain constant saves loading `typing`. Type checkers know the name, and take what is imported here under its own
# name (`X as X`) as public.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from clew._shared.incidents import stats as stats
    from clew.context.accessors import (
        Accessor as Accessor,
        register_accessor as register_accessor,
        thread_local_accessor as thread_local_accessor,
    )
    from clew.context.binding import bind as bind, unwrap as unwrap
    from clew.context.coroutines import wrap_coroutine as wrap_coroutine
    from clew.context.generators import (
        context_generator as context_generator,
        wrap_async_generator as wrap_async_generator,
        wrap_generator as wrap_generator,
    )
    from clew.context.scopes import detached as detached
    from clew.context.snapshot import Snapshot as Snapshot, capture as capture
    from clew.context.streams import wrap_stream as wrap_stream
    from clew.errors import ClewError as ClewError
    from clew.executors.installation import install as install, installed as installed, uninstall as uninstall
    from clew.executors.multiprocessing_pool import ContextThreadPool as ContextThreadPool
    from clew.executors.thread_pool import ContextThreadPoolExecutor as ContextThreadPoolExecutor
    from clew.executors.threads import ContextThread as ContextThread, ContextTimer as ContextTimer
    from clew.executors.wrapped import wrap_executor as wrap_executor
    from clew.exporters.configuration import configure as configure, flush as flush, shutdown as shutdown
    from clew.runs.baggage import baggage as baggage, get_baggage as get_baggage, set_baggage as set_baggage
    from clew.runs.current import get_current_run_tree as get_current_run_tree, tracing_context as tracing_context
    from clew.runs.finished import Link as Link, Run as Run
    from clew.runs.headers import get_current_headers as get_current_headers
    from clew.runs.recording import Recording as Recording, record as record
    from clew.runs.run import RunTree as RunTree
    from clew.runs.sampling import TraceRoot as TraceRoot
    from clew.runs.trace import trace as trace
    from clew.runs.traceable import traceable as traceable

__version__ = "0.1.0.dev0"

# The module of each everyday name, at run time. A test compares this with the imports above.
_HOMES = {
    name: module
    for module, names in {
        "clew._shared.incidents": "stats",
        "clew.context.accessors": "Accessor register_accessor thread_local_accessor",
        "clew.context.binding": "bind unwrap",
        "clew.context.coroutines": "wrap_coroutine",
        "clew.context.generators": "context_generator wrap_async_generator wrap_generator",
        "clew.context.scopes": "detached",
        "clew.context.snapshot": "Snapshot capture",
        "clew.context.streams": "wrap_stream",
        "clew.errors": "ClewError",
        "clew.executors.installation": "install installed uninstall",
        "clew.executors.multiprocessing_pool": "ContextThreadPool",
        "clew.executors.thread_pool": "ContextThreadPoolExecutor",
        "clew.executors.threads": "ContextThread ContextTimer",
        "clew.executors.wrapped": "wrap_executor",
        "clew.exporters.configuration": "configure flush shutdown",
        "clew.runs.baggage": "baggage get_baggage set_baggage",
        "clew.runs.current": "get_current_run_tree tracing_context",
        "clew.runs.finished": "Link Run",
        "clew.runs.headers": "get_current_headers",
        "clew.runs.recording": "Recording record",
        "clew.runs.run": "RunTree",
        "clew.runs.sampling": "TraceRoot",
        "clew.runs.trace": "trace",
        "clew.runs.traceable": "traceable",
    }.items()
    for name in names.split()
}

if not TYPE_CHECKING:  # they understand only a literal
    __all__ = tuple(sorted((*_HOMES, "__version__")))


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # `__import__` and not importlib.import_module: importlib's Python side is not loaded by every interpreter.
    __import__(home)
    if home.startswith("clew.runs."):
        # The package `clew.runs` has done so, but a variable may have been set since.
        sys.modules["clew._shared.environment"].load_configuration()
    value = getattr(sys.modules[home], name)
    # Tracebacks, reprs and documentation should show the name people import. A class keeps its own module, where
    # `inspect.getsource` and `typing.get_type_hints` look for its source and for the names in its hints.
    if not isinstance(value, type):
        value.__module__ = __name__
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
