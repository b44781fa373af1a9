"""
`wrap_generator`: a generator whose body runs in a context of its own.

A decorator for generator functions is in `clew.context.generator_functions`; the asynchronous kind is not here.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Generator
from types import CodeType, FunctionType, GeneratorType
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Generator as GeneratorOf,
    Iterable,
    Iterator,
    List,
    Literal,
    Optional,
    TypeVar,
    Union,
    overload,
)

from clew.context._stepping.bodies import check_body, driver_codes, named
from clew.context._stepping.inheriting import Beginning, inheriting
from clew.context._stepping.throwing import Exit, without_steps, without_this_frame

if TYPE_CHECKING:
    from contextvars import Context, ContextVar

    from clew.context.snapshot import Snapshot

__all__ = ("driver_for", "wrap_generator")

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")


@overload
def wrap_generator(
    generator: GeneratorOf[Y, S, R],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> GeneratorOf[Y, S, R]: ...


# What many generator functions are said to return; it has to be a generator all the same.
@overload
def wrap_generator(
    generator: Iterator[Y],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> Iterator[Y]: ...


def wrap_generator(
    generator: Any,
    *,
    context: Union[Context, Snapshot, None] = None,
    inherit: Literal["creation", "live"] = "creation",
    isolate: Optional[Iterable[ContextVar[Any]]] = None,
) -> Any:
    """
    Return a generator that drives `generator`, whose body runs in a context of its own.

    What comes back is a real generator, of `types.GeneratorType`, with the name of the given one. It
    passes on all that it is sent, that is thrown into it, and its closing, also when it is dropped:
    ``finally`` blocks then run in the body's own context, and a `ContextVar.reset` there works. (If
    the two are parts of one garbage cycle, the interpreter may close the given one first, in whichever
    context is current. With `context_generator`, it does not.)

    Context:
        *When*: with ``inherit="creation"``, at this call; with ``inherit="live"``, anew at each step;
        with `isolate`, at this call for the variables named and at each step for all others. *What
        the callee sees*: those values and what it sets itself, from its first step to its last, from
        whichever thread or task it is stepped. *What comes back*: what it yields, returns or raises,
        and no ContextVar change, except with `isolate` those to all other variables, and in a
        `Context` given as `context` all of them. Two threads must not step it at once, as with any
        generator.

    Args:
        generator: a generator that was not started yet. It must not be used directly any more.
        context: a `contextvars.Context`, to be shared and not copied, or a `Snapshot`, for a copy of
            what it holds, instead of the values of this call.
        inherit: ``"creation"`` for the values at this call, or ``"live"`` for those of whoever takes
            the next item, except where the body has set its own, until it has reset it.
        isolate: the only variables whose changes in the body are its own; every other change passes
            in both directions, as with a plain generator.

    Raises:
        ArgumentTypeError: `generator` is no generator, or an option is the wrong kind of thing.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
        AlreadyEnteredError: `generator` was started, has ended, or was wrapped before.
        ContextInUseError: at a step, if something else, elsewhere, is running in `context`; it is
            raised in the body, too, which then ends in a copy of that context.

    Source:
        PEP 568 for ``inherit="live"``.

    Example:
        >>> import contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> def greetings():
        ...     user.set("ada")
        ...     yield "hello " + user.get()
        >>> next(clew.wrap_generator(greetings()))
        'hello ada'
        >>> user.get()
        'nobody'
    """
    capture = inheriting(context, inherit, isolate)
    check_body(generator, Generator, "wrap_generator")
    body: Any = generator if isinstance(generator, GeneratorType) else _delegate(generator)
    return named(driver_for(body.gi_code)(capture(), [body]), generator)


def _delegate(generator: GeneratorOf[Y, S, R]) -> GeneratorOf[Y, S, R]:
    # What is of another make, Cython's or somebody's class, has no frame to tell whether it has ended.
    return (yield from generator)


def drive(beginning: Beginning, box: List[Any]) -> GeneratorOf[Any, Any, Any]:
    """
    Drive the generator that is in the box by the first step.

    It comes in a box because it is made after this one: in a garbage cycle the interpreter finalises
    the older one first, and it is this one that knows the context.
    """
    run = beginning.begin()
    body = box.pop()
    del beginning
    send = step = body.send
    # What is global may be gone when the interpreter exits.
    as_thrown, exit_of, as_ended = without_this_frame, Exit, without_steps
    box.append(None)
    try:
        while True:
            try:
                # An item, a value that was sent, or an exception is in no variable while somebody else
                # runs: it would be kept alive for as long as this is suspended.
                box.append(run(step, box.pop()))
                step = None
                sent = yield box.pop()
                while sent is None:
                    sent = yield run(send, None)
                step = send
                box.append(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  each may be caught by the body, which goes on
                if body.gi_frame is None:
                    raise as_ended(error)  # noqa: B904  it is the same one
                if step is not None:
                    # It comes from what the body delegates to, before that could resume. This ends here.
                    run(body.close)
                    raise
                # It was thrown in, by the consumer or by whoever closes this. The body gets it when this
                # block is over: while it is handled here, it would be the body's `sys.exc_info()`, too.
                step = exit_of(body).throw if isinstance(error, GeneratorExit) else body.throw
                box.append(as_thrown(error))
    except StopIteration as end:
        return end.value


# A generator-based coroutine can be awaited for a flag of its code, and so can what drives one.
_drive_coroutine: Any = types.coroutine(FunctionType(drive.__code__, globals(), "drive"))
driver_codes.update({drive.__code__, _drive_coroutine.__code__})


def driver_for(code: CodeType) -> Callable[[Beginning, List[Any]], GeneratorOf[Any, Any, Any]]:
    """
    Return what drives the generators of a generator function that has this code.
    """
    return _drive_coroutine if code.co_flags & inspect.CO_ITERABLE_COROUTINE else drive
