"""
Put clew's pool in the place of the stdlib's in this process, for good, and keep a log of pools made.

For the process that runs CPython's tests, and for the interpreters that those start: it imports
little, as they are about what is imported, and when.
"""

from __future__ import annotations

import concurrent.futures
import functools
import sys
from typing import Any, Dict

_futures: Any = concurrent.futures


def arrange(config: Dict[str, Any], role: str) -> None:
    """
    Make the stdlib of this process the one that `config` describes, before anybody uses it.

    Args:
        config: `borrowed`, directories to look in for tests that this interpreter came without;
            `with_clew`, whether to replace the pool; `pools`, the file for the log.
        role: what stands in that log for this process.
    """
    # What is borrowed is in the installation of another interpreter, to be left as it is.
    sys.dont_write_bytecode = True
    import test

    test.__path__.extend(config["borrowed"])
    if sys.version_info >= (3, 9):
        _load_pool(config, role)
        return

    # What 3.8's pool does at exit is done before or after what a test does there, by which of the two
    # was registered first: it must be loaded when the test asks for it. Drop with 3.8.
    native_getattr = _futures.__getattr__

    def load_when_asked_for(name: str) -> Any:
        if name in {"ThreadPoolExecutor", "ContextThreadPoolExecutor"}:
            _load_pool(config, role)
            return vars(_futures)[name]
        return native_getattr(name)

    _futures.__getattr__ = load_when_asked_for


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
