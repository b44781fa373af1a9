"""
Keep the thread of a trace whole through pools, tasks, processes and streams.

The everyday names are here and are loaded on first use; importing `clew` alone imports no other
module, no event loop and no third-party package.

PYTEST_DONT_REWRITE, or pytest would warn of a clew that was imported before it.
"""

from __future__ import annotations

import sys

# A plain constant, as `typing` need not be loaded for it: type checkers know the name.
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
    from clew.runs.current import get_current_run_tree as get_current_run_tree, tracing_context as tracing_context
    from clew.runs.finished import Link as Link, Run as Run
    from clew.runs.headers import (
        baggage as baggage,
        get_baggage as get_baggage,
        get_current_headers as get_current_headers,
        set_baggage as set_baggage,
    )
    from clew.runs.recording import Recording as Recording, record as record
    from clew.runs.run import RunTree as RunTree
    from clew.runs.sampling import TraceRoot as TraceRoot
    from clew.runs.trace import trace as trace
    from clew.runs.traceable import traceable as traceable

__version__ = "0.1.0.dev0"

__all__ = (
    "Accessor",
    "ClewError",
    "ContextThread",
    "ContextThreadPool",
    "ContextThreadPoolExecutor",
    "ContextTimer",
    "Link",
    "Recording",
    "Run",
    "RunTree",
    "Snapshot",
    "TraceRoot",
    "__version__",
    "baggage",
    "bind",
    "capture",
    "configure",
    "context_generator",
    "detached",
    "flush",
    "get_baggage",
    "get_current_headers",
    "get_current_run_tree",
    "install",
    "installed",
    "record",
    "register_accessor",
    "set_baggage",
    "shutdown",
    "stats",
    "thread_local_accessor",
    "trace",
    "traceable",
    "tracing_context",
    "uninstall",
    "unwrap",
    "wrap_async_generator",
    "wrap_coroutine",
    "wrap_executor",
    "wrap_generator",
    "wrap_stream",
)

_HOMES = {
    "Accessor": "clew.context.accessors",
    "ClewError": "clew.errors",
    "ContextThread": "clew.executors.threads",
    "ContextThreadPool": "clew.executors.multiprocessing_pool",
    "ContextThreadPoolExecutor": "clew.executors.thread_pool",
    "ContextTimer": "clew.executors.threads",
    "Link": "clew.runs.finished",
    "Recording": "clew.runs.recording",
    "Run": "clew.runs.finished",
    "RunTree": "clew.runs.run",
    "Snapshot": "clew.context.snapshot",
    "TraceRoot": "clew.runs.sampling",
    "baggage": "clew.runs.headers",
    "bind": "clew.context.binding",
    "capture": "clew.context.snapshot",
    "configure": "clew.exporters.configuration",
    "context_generator": "clew.context.generators",
    "detached": "clew.context.scopes",
    "flush": "clew.exporters.configuration",
    "get_baggage": "clew.runs.headers",
    "get_current_headers": "clew.runs.headers",
    "get_current_run_tree": "clew.runs.current",
    "install": "clew.executors.installation",
    "installed": "clew.executors.installation",
    "record": "clew.runs.recording",
    "register_accessor": "clew.context.accessors",
    "set_baggage": "clew.runs.headers",
    "shutdown": "clew.exporters.configuration",
    "stats": "clew._shared.incidents",
    "thread_local_accessor": "clew.context.accessors",
    "trace": "clew.runs.trace",
    "traceable": "clew.runs.traceable",
    "tracing_context": "clew.runs.current",
    "uninstall": "clew.executors.installation",
    "unwrap": "clew.context.binding",
    "wrap_async_generator": "clew.context.generators",
    "wrap_coroutine": "clew.context.coroutines",
    "wrap_executor": "clew.executors.wrapped",
    "wrap_generator": "clew.context.generators",
    "wrap_stream": "clew.context.streams",
}


# Of the environment: what they say takes effect with the first everyday name of the run tree.
_VARIABLES = frozenset(("CLEW_ENABLED", "CLEW_EXPORT", "CLEW_PROJECT", "CLEW_SAMPLE", "CLEW_SERVICE"))


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # `__import__` and not importlib.import_module: importlib's Python side is not loaded by every interpreter.
    __import__(home)
    if home.startswith("clew.runs.") and not _VARIABLES.isdisjoint(sys.modules["os"].environ):
        __import__("clew.exporters.configuration")  # which reads them, once
    value = getattr(sys.modules[home], name)
    # Tracebacks, reprs and documentation should show the name people import. A class keeps its own module, where
    # `inspect.getsource` and `typing.get_type_hints` look for its source and for the names in its hints.
    if not isinstance(value, type):
        value.__module__ = __name__
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
