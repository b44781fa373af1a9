"""
Put clew's pool in the place of the stdlib's in this process, for good, and keep a log of pools made.

For the process that runs CPython's tests and for the interpreters that those start. It imports as
little as can be, as such an interpreter should find little that it did not import itself.
"""

from __future__ import annotations

import concurrent.futures
import functools
import sys
from typing import Any, Dict

_futures: Any = concurrent.futures


def arrange(config: Dict[str, Any], role: str) -> None:
    """
    Make the stdlib of this process the one that `config` describes, from the first use of it on.

    Args:
        config: `borrowed`, directories to look in for tests that this interpreter came without;
            `with_clew`, whether to replace the pool; `pools`, the file for the log.
        role: what stands in that log for this process.
    """
    # What is borrowed is in the installation of another interpreter, to be left as it is.
    sys.dont_write_bytecode = True
    import test

    test.__path__.extend(config["borrowed"])
    native_getattr = _futures.__getattr__

    # The stdlib loads its pool at this moment, too; not earlier here, as on 3.8 (drop with it) what
    # the pool does at exit comes before or after what a test does there, by which was loaded first.
    def __getattr__(name: str) -> Any:
        if name in {"ThreadPoolExecutor", "ContextThreadPoolExecutor"}:
            _load_pool(config, role)
            return vars(_futures)[name]
        return native_getattr(name)

    _futures.__getattr__ = __getattr__


def full_name(cls: type) -> str:
    """
    Return the name of a class with its module, as it stands in the log.
    """
    return f"{cls.__module__}.{cls.__qualname__}"


def _load_pool(config: Dict[str, Any], role: str) -> None:
    from concurrent.futures import thread

    stdlib: Any = thread
    native = stdlib.ThreadPoolExecutor
    _log_pools(native, config["pools"], role)
    _futures.ThreadPoolExecutor = native
    if config["with_clew"]:
        # Imported while the stdlib's name still leads to the stdlib's class, the base of clew's.
        from clew import ContextThreadPoolExecutor

        _futures.ThreadPoolExecutor = stdlib.ThreadPoolExecutor = ContextThreadPoolExecutor
        # Some tests write a script that imports the pool by the `__name__` of its class.
        _futures.ContextThreadPoolExecutor = ContextThreadPoolExecutor


def _log_pools(native: Any, path: str, role: str) -> None:
    native_init = native.__init__

    @functools.wraps(native_init)
    def init(self: object, *args: Any, **kwargs: Any) -> None:
        with open(path, "a", encoding="utf-8") as log:
            log.write(f"{role} {full_name(type(self))}\n")
        native_init(self, *args, **kwargs)

    native.__init__ = init
