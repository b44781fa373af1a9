"""
The tree of errors: what clew raises at the caller of its own functions.

Nothing here ever gets from an exporter, a finaliser or a detector to the traced program;
what goes wrong there is counted by `clew._shared.incidents`::

    ClewError
    ├── AlreadyEnteredError  (RuntimeError)    something that is for one use, used again
    ├── ArgumentTypeError    (TypeError)       the wrong kind of thing
    ├── ArgumentValueError   (ValueError)      the right kind, a wrong value
    ├── ContextInUseError    (RuntimeError)    a context to be shared that runs something else meanwhile
    ├── MissingExtraError    (ImportError)     an optional package is not there
    ├── NotInstalledError    (RuntimeError)    an uninstall without an install
    ├── RunLookupError       (LookupError)     no run, or several, where one was asked for
    ├── RunsRefusedError     (ValueError)      an exporter's own: runs that can never be delivered
    ├── TreeMismatchError    (AssertionError)  a recorded tree is not the expected one
    └── WrongContextError    (ValueError)      a block left in another context than it was entered in
"""

from __future__ import annotations

__all__ = (
    "AlreadyEnteredError",
    "ArgumentTypeError",
    "ArgumentValueError",
    "ClewError",
    "ContextInUseError",
    "MissingExtraError",
    "NotInstalledError",
    "RunLookupError",
    "RunsRefusedError",
    "TreeMismatchError",
    "WrongContextError",
)


class ClewError(Exception):
    """
    Be the root of every error that clew raises.
    """


class AlreadyEnteredError(ClewError, RuntimeError):
    """
    Say that what is good for one use, a ``with`` block or a coroutine, was used a second time.
    """


class ArgumentTypeError(ClewError, TypeError):
    """
    Say that an argument is the wrong kind of thing.
    """


class ArgumentValueError(ClewError, ValueError):
    """
    Say that an argument is the right kind of thing with a value that cannot be used.
    """


class ContextInUseError(ClewError, RuntimeError):
    """
    Say that a context that was to be shared is in use elsewhere: one context runs one thing at a time.
    """


class MissingExtraError(ClewError, ImportError):
    """
    Say which optional packages are missing, and the command that installs them.
    """

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"expected the packages of the extra {extra!r} for {what}, found them not installed; "
            f"run: pip install 'clew[{extra}]'"
        )


class NotInstalledError(ClewError, RuntimeError):
    """
    Say that there is nothing installed that could be uninstalled.
    """


class RunLookupError(ClewError, LookupError):
    """
    Say that a recording holds no run, or more than one, that fits what was asked for.
    """


class RunsRefusedError(ClewError, ValueError):
    """
    Say, from an exporter's `export`, that some of the runs can never be delivered, and that all others have been.

    They do not come again, and are counted in `clew.stats()` as ``runs_refused``.

    Args:
        message: why.
        count: how many of the runs.
    """

    def __init__(self, message: str, count: int) -> None:
        super().__init__(message)
        self.count = count


class TreeMismatchError(ClewError, AssertionError):
    """
    Say where a recorded tree differs from the expected one.
    """


class WrongContextError(ClewError, ValueError):
    """
    Say that a block was left in another context than the one in which it was entered.
    """
