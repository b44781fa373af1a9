"""
The errors that clew raises at the callers of its own functions.

Errors inside clew, for example in an exporter or a finaliser, do not reach the traced program. They are counted by
`clew._shared.incidents`. The tree::

    ClewError
    ├── AlreadyEnteredError  (RuntimeError)    a block or coroutine for one use is used again
    ├── ArgumentTypeError    (TypeError)       an argument has the wrong type
    ├── ArgumentValueError   (ValueError)      an argument has the right type and a wrong value
    ├── ContextInUseError    (RuntimeError)    another task or thread is running in a shared context
    ├── LifetimeError        (AssertionError)  a test found an object alive, or memory that grows
    ├── MissingExtraError    (ImportError)     an optional package is not installed
    ├── NotInstalledError    (RuntimeError)    uninstall() was called more often than install()
    ├── RunLookupError       (LookupError)     no run, or several, where one is expected
    ├── RunsRefusedError     (ValueError)      raised by exporters: some runs can never be delivered
    ├── TreeMismatchError    (AssertionError)  a recorded tree differs from the expected one
    └── WrongContextError    (ValueError)      a block is left in another context than it was entered in
"""

from __future__ import annotations

__all__ = (
    "AlreadyEnteredError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "ClewError",
    "ContextInUseError",
    "LifetimeError",
    "MissingExtraError",
    "NotInstalledError",
    "RunLookupError",
    "RunsRefusedError",
    "TreeMismatchError",
    "WrongContextError",
)


class ClewError(Exception):
    """
    The base of all errors that clew raises.
    """


class AlreadyEnteredError(ClewError, RuntimeError):
    """
    A ``with`` block or a coroutine that is for one use was used a second time.
    """


class ArgumentTypeError(ClewError, TypeError):
    """
    An argument has the wrong type.
    """


class ArgumentValueError(ClewError, ValueError):
    """
    An argument has the right type and a value that cannot be used.
    """


class ContextInUseError(ClewError, RuntimeError):
    """
    Another task or thread is running in a context that was to be shared. A context can be entered once at a time.
    """


class LifetimeError(ClewError, AssertionError):
    """
    An object is alive after its use, or a chain of jobs grows; see `clew.testing.lifetimes`.
    """


class MissingExtraError(ClewError, ImportError):
    """
    Optional packages are missing. The message has the command that installs them.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"expected the packages of the extra {extra!r} for {what}, found them not installed; "
            f"run: pip install 'clew[{extra}]'"
        )


class NotInstalledError(ClewError, RuntimeError):
    """
    `uninstall` was called more often than `install`.
    """


class RunLookupError(ClewError, LookupError):
    """
    A recording has no run, or more than one, that matches the search.
    """


class RunsRefusedError(ClewError, ValueError):
    """
    Raised by an exporter's `export`: some of the runs can never be delivered, and all others are delivered.

    `export` does not get these runs again. They are counted in `clew.stats()` as ``runs_refused``.

    Args:
        message: the reason.
        count: how many runs can never be delivered.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class TreeMismatchError(ClewError, AssertionError):
    """
    A recorded tree differs from the expected one. The message shows where.
    """


class WrongContextError(ClewError, ValueError):
    """
    A block was left in another context than the one in which it was entered.
    """
