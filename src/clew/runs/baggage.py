"""
Set and read the baggage that the program sends along with its requests.

The header itself is in `clew.propagation.baggage`; which requests it goes with is in `clew.runs.headers`.
"""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Type, Union, overload

from clew._shared.one_use import EnteredOnce
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.propagation.baggage import NO_BAGGAGE, Baggage, BaggageMember
from clew.propagation.langsmith import KEYS
from clew.runs._tree.blocks import (
    current_baggage,
    current_identity,
    report_exit_out_of_order,
    report_foreign_exit,
    reset_all,
)

__all__ = ("baggage", "get_baggage", "set_baggage")


@overload
def get_baggage(key: str) -> Optional[str]: ...


@overload
def get_baggage() -> Dict[str, str]: ...


def get_baggage(key: Optional[str] = None) -> Union[Dict[str, str], str, None]:
    """
    Return the baggage that the program sends along with its requests, or one value of it.

    It consists of the values that `set_baggage` and `baggage` have set, and those in the headers of a parent.

    Context:
        *When*: it reads the context of this call. Thread-safe.

    Args:
        key: the key of the value to return, or None if there is none. Without it, all values are returned in a new
            dict.

    Example:
        >>> import clew
        >>> with clew.baggage(tenant="acme"):
        ...     clew.get_baggage("tenant"), clew.get_baggage()
        ('acme', {'tenant': 'acme'})
    """
    found = _current()
    if key is not None:
        return found.get(key)
    values: Dict[str, str] = {}
    for member in found.members:
        values.setdefault(member.key, member.value)
    return values


def set_baggage(key: str, value: Optional[str]) -> None:
    """
    Send a value along with all requests from now on, in this context.

    Context:
        *When*: it changes the context of this call, as setting a ContextVar does; `baggage` does it for a
        block. *What the callee sees*: jobs, tasks and generators get it as they get any ContextVar. *What comes
        back*: nothing.

    Args:
        key: a token: ASCII letters, digits and some punctuation, no space.
        value: any text; None removes the key.

    Raises:
        ArgumentTypeError: `value` is no string.
        ArgumentValueError: a header may not have that key, or it is one of LangSmith's.

    Source:
        W3C Baggage. Every system on the way can read it: do not put secrets in it.

    Example:
        >>> import clew
        >>> clew.set_baggage("tenant", "acme")
        >>> clew.get_baggage("tenant")
        'acme'
        >>> clew.set_baggage("tenant", None)
    """
    current_baggage.set(_changed([(key, value)]))


class baggage(EnteredOnce):  # noqa: N801  used like a function
    """
    Send some values along with all requests of a block of code.

    Context:
        *When*: at the entry of the block, in its context. *What the callee sees*: jobs, tasks and
        generators that begin in the block get the values as they get any ContextVar. *What comes back*: at the exit,
        the baggage of before the block is restored. A block that is left in another context does not change that
        context, and a block that is left after `set_baggage` was called in it keeps the value set there; both are
        counted in `clew.stats()`. Each block needs its own instance.

    Args:
        items: a dict, for keys that are no Python names.
        more: values by name. None removes a key.

    Raises:
        ArgumentTypeError: a value is no string.
        ArgumentValueError: a header may not have a key, or it is one of LangSmith's.
        AlreadyEnteredError: the instance was used for a block before.

    Example:
        >>> import clew
        >>> with clew.record(), clew.trace("call"), clew.baggage({"user-id": "7"}, tenant="acme"):
        ...     clew.get_current_headers()["baggage"]
        'user-id=7,tenant=acme'
    """

    __slots__ = ("_baggage", "_items", "_tokens")

    def __init__(self, items: Optional[Mapping[str, Optional[str]]] = None, /, **more: Optional[str]) -> None:
        self._items: Dict[str, Optional[str]] = {**(items or {}), **more}
        self._baggage: Optional[Baggage] = None
        self._tokens: List[Token[Any]] = []  # one, while the block is open
        self._is_entered = False

    def __enter__(self) -> None:
        self._enter_once("baggage")
        try:
            self._baggage = _changed(self._items.items())
            # One call, so that no interrupt comes between the change and the note of its token.
            self._tokens.extend(map(current_baggage.set, (self._baggage,)))
        except BaseException:  # Python calls no `__exit__` after a failed `__enter__`
            reset_all(self._tokens)
            raise

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            if self._tokens and current_baggage.get() is not self._baggage:
                self._tokens.clear()
                report_exit_out_of_order("a block of baggage")
            elif not reset_all(self._tokens):
                self._tokens.clear()
                report_foreign_exit()
        except BaseException:  # an interrupt
            if current_baggage.get() is self._baggage:
                reset_all(self._tokens)
            raise


def _current() -> Baggage:
    found = current_baggage.get()
    if found is None:
        # Nothing was set since the headers came: the current run leads to them.
        identity = current_identity.get()
        inherited = None if identity is None else identity.inherited
        found = None if inherited is None or inherited.upstream is None else inherited.upstream.baggage
    return found or NO_BAGGAGE


def _changed(items: Iterable[Tuple[Any, Any]]) -> Baggage:
    changed = _current()
    for key, value in items:
        if value is None:
            changed = changed.without(key)
            continue
        if not isinstance(value, str):
            raise ArgumentTypeError(
                f"expected the value of {key!r} in the baggage as a string, got {value!r}; pass str(...) of it"
            )
        member = BaggageMember(key, value)
        if member.to_text() is None:
            raise ArgumentValueError(
                f"expected a key of ASCII letters, digits and !#$%&'*+-.^_`|~, got {key!r}; choose another key"
            )
        if member.key in KEYS:
            raise ArgumentValueError(
                f"expected a key of the program's own, got {key!r}, which is LangSmith's; "
                f"pass tags, metadata and project_name to tracing_context"
            )
        changed = changed.updated(key, value)
    return changed
