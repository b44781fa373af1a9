"""
Blocks that change the current context at their entry and undo the changes at their exit.

Guarantees: the changes are undone in reverse order, in the context of the entry or not at all, also if an interrupt
ends the entry or the exit. A block that exits before a block inside it is undone by that one.

The public functions are `clew.detached` and `Snapshot.attached`.
"""

from __future__ import annotations

from contextvars import Context, ContextVar, Token
from functools import partial
from types import TracebackType
from typing import Any, Callable, Iterator, List, Mapping, Optional, Type, Union

from clew._shared.incidents import report
from clew._shared.one_use import EnteredOnce
from clew.context._stepping.carrying import Carried, Registration, pairs
from clew.context._stepping.neighbours import loaded_tracers, loop_variable
from clew.context._stepping.seams import Tracer, tracers
from clew.errors import WrongContextError

__all__ = ("Scope", "Undo", "attached", "detach", "reset", "set_values", "swap")


# The innermost open block. Every entry sets it, so an exit in another context is noticed.
_innermost: ContextVar[Optional[Scope]] = ContextVar("clew_scope", default=None)


# Tokens, and functions that may be called again after an interrupt. A change is added here before it is made, or in the
# same call, `undo.extend(map(variable.set, (value,)))`: an interrupt can come between two calls.
Undo = List[Union["Token[Any]", Callable[[], object]]]


class Scope(EnteredOnce):
    """
    A block that changes the current context at its entry and undoes the changes at its exit.
    """

    __slots__ = ("_changes", "_is_left", "_name", "_outer", "_undo")

    def __init__(self, name: str, changes: Callable[[Undo], None]) -> None:
        self._name = name
        self._changes = changes
        self._undo: Undo = []
        self._outer: Optional[Scope] = None
        self._is_left = False
        self._is_entered = False

    def __enter__(self) -> None:
        self._enter_once(self._name)
        try:
            changes = self._changes
            del self._changes  # it refers to the captured context
            self._outer = _innermost.get()
            self._undo.extend(map(_innermost.set, (self,)))
            changes(self._undo)
        except BaseException:  # Python calls no `__exit__` after a failed `__enter__`
            self._take_back()
            raise

    def __exit__(
        self,
        exc_type: Optional[Type[BaseException]],
        exc: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        try:
            is_undone = self._leave()
        except BaseException:  # an interrupt
            self._leave()
            raise
        if is_undone:
            return
        # An exception of the block's own takes precedence.
        if exc is None:
            raise WrongContextError(
                f"expected the {self._name} block to be left in the context in which it was entered, found "
                f"another one; enter and leave it in one thread or task, or pass a function to Snapshot.run"
            )
        report(
            "blocks_left_in_another_context",
            f"a {self._name} block was left in another context than it was entered in; "
            f"enter and leave it in one task or thread",
        )

    def _leave(self) -> bool:
        """
        Undo the block, or let the block inside undo both. Return False if this is not the context of the entry.

        Like `_take_back`, it may be called again after an interrupt.
        """
        innermost = _innermost.get()
        if innermost is self or self not in _outwards(innermost):
            return self._take_back()
        # Undoing now would take away the values of the block inside, and the exit of that block would restore the
        # values of this one later. So the exit of the block inside undoes both.
        self._is_left = True
        report(
            "blocks_left_out_of_order",
            f"a {self._name} block was left before one that was opened inside it; "
            f"close blocks in the reverse order of opening",
        )
        return True

    def _take_back(self) -> bool:
        # The first token is that of `_innermost`, which every block sets.
        if self._undo and not reset(self._undo[0]):
            return False
        # The list ends empty: jobs that were started in the block have this scope in their context, and a token keeps
        # its context alive.
        while self._undo:
            step = self._undo[-1]
            try:
                reset(step) if isinstance(step, Token) else step()
            except Exception as error:  # noqa: BLE001  a failing tracer must not prevent the other undos
                _report(error)
            self._undo.pop()
        if self._outer is not None and self._outer._is_left:
            self._outer._take_back()
        self._outer = None
        return True


def reset(token: Any) -> bool:
    """
    Reset a variable by its token. Return False if the token belongs to another context.

    An interrupted call can be repeated.
    """
    try:
        token.var.reset(token)
    except RuntimeError:
        pass  # an interrupt has come after the reset
    except ValueError:
        return False
    return True


def attached(context: Context, carried: Carried, *, link: bool) -> Scope:
    """
    Return a block in which the values of `context` are current. Nobody may be running in `context`.
    """

    def changes(undo: Undo) -> None:
        # Variables that have the value already are set, too: the block may change them.
        set_values(context, undo)
        for tracer in (*tracers, *loaded_tracers()):
            # The parent is the snapshot's, which was set just now; without one, the parent outside of the block.
            has_parent = _has_parent(tracer, context)
            if link or not has_parent:
                detach(tracer, undo, link=has_parent)
        for each, value in pairs(carried):
            swap(each, None if link and each.is_cleared_when_detached else value, undo)

    return Scope("Snapshot.attached", changes)


def set_values(values: Mapping[ContextVar[Any], Any], undo: Undo) -> None:
    """
    Set variables in the current context, except those about this thread and its open blocks.
    """
    not_carried = (loop_variable(), _innermost)
    for variable, value in values.items():
        if variable not in not_carried:
            undo.extend(map(variable.set, (value,)))


def swap(each: Registration, value: Any, undo: Undo) -> None:
    own = each.read()
    undo.append(partial(each.put_back, own))
    each.put(value, own)


def _has_parent(tracer: Tracer, context: Context) -> bool:
    try:
        return context.run(tracer.has_parent)
    except Exception as error:  # noqa: BLE001  a failing tracer must not break the block
        _report(error)
        return False


def detach(tracer: Tracer, undo: Undo, *, link: bool) -> None:
    try:
        if tracer.has_parent():
            tracer.detach(undo, link=link)
    except Exception as error:  # noqa: BLE001  a failing tracer must not break the block
        _report(error)


def _report(error: Exception) -> None:
    report("tracers_failed", "a tracer has raised while its parent was taken away or put back", error=error)


def _outwards(scope: Optional[Scope]) -> Iterator[Scope]:
    while scope is not None:
        yield scope
        scope = scope._outer
