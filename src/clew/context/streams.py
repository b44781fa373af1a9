"""
`wrap_stream`: any object that gives items one by one, stepped in the context of whoever wrapped it.

Generators are not driven here, but handed to `clew.context.generators`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable
from contextvars import Context, copy_context
from functools import lru_cache, partial
from operator import length_hint
from types import AsyncGeneratorType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, Type, TypeVar
from weakref import WeakKeyDictionary, ref

from clew.context._stepping.async_drivers import drive_async
from clew.context._stepping.bodies import is_driver, is_unused, named
from clew.context._stepping.carrying import carriers
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.coroutines import ContextCoroutine, as_coroutine, is_current
from clew.context._stepping.drivers import drive
from clew.context._stepping.entering import capture_carried, is_refusal, prepare_to_keep
from clew.context._stepping.inheriting import Runner
from clew.context._stepping.kinds import kind_of
from clew.context._stepping.neighbours import take_loop_from_here
from clew.context._stepping.seams import unwrappers
from clew.context._stepping.throwing import step_codes, without_steps
from clew.context.generators import wrap_async_generator, wrap_generator
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from clew.context._stepping.carrying import Carried

__all__ = ("StreamType", "has_special", "stand_in", "wrap_stream")

T = TypeVar("T")


def wrap_stream(stream: T) -> T:
    """
    Return something like `stream` whose every step runs in the context of this call.

    For the stream of an SDK, a file, the lines of a response: anything to iterate over, with ``for``
    or with ``async for``. For a generator or an async generator, it is `wrap_generator` or
    `wrap_async_generator` that is called. For anything else, what comes back has the attributes of
    `stream`, can be used in ``with`` or ``async with`` if that can, and `isinstance` takes it for one.
    It is closed when `stream` itself would have been, and not twice. Methods that neither step nor
    close it, and attributes that are streams themselves, are those of `stream`, and run in their
    caller's context; wrap such an attribute, too. `unwrap` gives
    `stream` back; a wrapped one is returned as it is.

    Context:
        *When*: at this call. *What the callee sees*: the values at this call, and what the stream's
        own code sets, at every step, from whichever thread or task it is taken; at its entry, exit
        and closing; and when it is dropped, unless that is by the collector of garbage cycles. Where
        the context is in use meanwhile, as when one thread closes a stream that another one reads,
        that runs in a copy. *What comes back*: the
        items, and no ContextVar change. As thread-safe as `stream` is.

    Args:
        stream: an iterable, an iterator, an async iterable or an async iterator.

    Raises:
        ArgumentTypeError: `stream` is none of these.
        AlreadyEnteredError: it is a generator that was started, or has ended.

    Example:
        >>> import contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> class Greetings:
        ...     def __iter__(self):
        ...         return self
        ...     def __next__(self):
        ...         return "hello " + user.get()
        >>> token = user.set("ada")
        >>> greetings = clew.wrap_stream(Greetings())
        >>> user.reset(token)
        >>> next(greetings)
        'hello ada'
    """
    given: Any = stream
    if is_driver(given) or issubclass(type(given), _Stream):
        return stream
    if isinstance(given, GeneratorType):
        return wrap_generator(given)  # type: ignore[return-value]  # a generator for a generator
    if isinstance(given, AsyncGeneratorType):
        return wrap_async_generator(given)  # type: ignore[return-value]  # and here, too
    if not isinstance(given, (Iterable, AsyncIterable)):
        raise ArgumentTypeError(
            f"expected something to iterate over, got {type(given).__name__} {given!r}; {_remedy(given)}"
        )
    return stand_in(given, _StreamContext(prepare_to_keep(copy_context()), capture_carried()))  # type: ignore[no-any-return]


def _remedy(given: object) -> str:
    if inspect.isawaitable(given):
        return "await it, and pass what that returns"
    if hasattr(type(given), "__enter__") or hasattr(type(given), "__aenter__"):
        return "enter it, and pass what the with block is given"
    if callable(given) and kind_of(given) in ("generator", "async generator"):
        return "call it: wrap_stream(f()), or decorate it: @context_generator"
    return "pass an iterator, an async iterator, or an object that gives one"


class _StreamContext(Collectable):
    """
    Hold the context of a stream, and of the iterators that it gives.
    """

    __slots__ = ("_carriers", "_context")

    def __init__(self, context: Context, carried: Carried) -> None:
        self._context = context
        self._carriers = carriers(carried)
        self._reference = ref(self, CALLBACK)

    def begin(self) -> Runner:
        return self.run

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            call: Any = partial(fn, **kwargs) if kwargs else fn
            for each in reversed(self._carriers):
                call = partial(each, call)
            try:
                take_loop_from_here(self._context)
                return self._context.run(call, *args)
            except RuntimeError as error:
                if not is_refusal(error):
                    raise
            # To ask whether it is the current one sets a variable in that.
            if not self.is_collected() and is_current(self._context):
                return call(*args)
            return self._context.copy().run(call, *args)
        finally:
            del args  # which may hold an exception, whose traceback holds this frame

    # For what closes the stream; here it is no different from a step.
    run_last = run

    def stepped(self, awaitable: Any) -> ContextCoroutine:
        return ContextCoroutine(as_coroutine(awaitable), self._context, run=self.run)


class StreamType(type):
    """
    Be the type of what `wrap_stream` makes, by which it can be told in no time from everything else.
    """


class _Stream(metaclass=StreamType):
    """
    Be a stream by having its attributes; a subclass for each type of stream has its special methods.
    """

    __slots__ = ("__own", "__stream", "__weakref__")

    __own: _StreamContext
    __stream: Any

    def __init__(self, stream: Any, own: _StreamContext) -> None:
        object.__setattr__(self, "_Stream__stream", stream)
        object.__setattr__(self, "_Stream__own", own)

    @property  # type: ignore[misc]  # it can be set on any object, but not on this one
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.__stream.__class__

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__stream, name)
        steps = name in _CLOSING or (name in _SENDING and isinstance(self.__stream, (Generator, AsyncGenerator)))
        # It holds this and not the stream, which would go with it, in whichever context that is.
        return MethodType(_in_context(name), self) if steps and callable(value) else value

    def _call_in_context(self, name: str, args: Any, kwargs: Any) -> Any:
        try:
            run = self.__own.run_last if name in _CLOSING else self.__own.run
            result = run(getattr(self.__stream, name), *args, **kwargs)
            return self.__own.stepped(result) if inspect.isawaitable(result) else result
        finally:
            del args  # as above

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self.__stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__stream, name)

    def __dir__(self) -> Any:
        return dir(self.__stream)

    def __repr__(self) -> str:
        return f"<clew.wrap_stream of {self.__stream!r}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {self!r}: a context stays in its process; pass what unwrap returns")

    def __del__(self) -> None:
        # If this is the last reference, what the stream does at its end is done in its context. The garbage collector
        # finalises the stream by itself; and another finaliser may still have to use this.
        if not self.__own.is_collected():
            self.__own.run(object.__delattr__, self, "_Stream__stream")

    # The special methods. A type of stream gets those that it has itself.

    def __iter(self) -> Any:
        iterator = self.__own.run(iter, self.__stream)
        return self if iterator is self.__stream else stand_in(iterator, self.__own)

    def __next(self) -> Any:
        try:
            return self.__own.run(next, self.__stream)
        except BaseException as error:  # noqa: BLE001  all of them go on
            raise without_steps(error)  # noqa: B904  it is the same one

    def __aiter(self) -> Any:
        iterator = self.__own.run(type(self.__stream).__aiter__, self.__stream)
        return self if iterator is self.__stream else stand_in(iterator, self.__own)

    def __anext(self) -> Any:
        return self.__own.stepped(self.__own.run(type(self.__stream).__anext__, self.__stream))

    def __enter(self) -> Any:
        entered = self.__own.run(type(self.__stream).__enter__, self.__stream)
        return self if entered is self.__stream else entered

    def __exit(self, *exception: Any) -> Any:
        return self.__own.run_last(type(self.__stream).__exit__, self.__stream, *exception)

    async def __aenter(self) -> Any:
        entered = await self.__own.stepped(self.__own.run(type(self.__stream).__aenter__, self.__stream))
        return self if entered is self.__stream else entered

    def __aexit(self, *exception: Any) -> Any:
        return self.__own.stepped(self.__own.run(type(self.__stream).__aexit__, self.__stream, *exception))

    def __await(self) -> Any:
        return self.__own.stepped(self.__stream).__await__()

    def __call(self, *args: Any, **kwargs: Any) -> Any:
        return self.__stream(*args, **kwargs)

    def __reversed(self) -> Any:
        return reversed(self.__stream)

    def __length_hint(self) -> int:
        return length_hint(self.__stream)

    def __setitem(self, key: Any, value: object) -> None:
        self.__stream[key] = value

    def __delitem(self, key: Any) -> None:
        del self.__stream[key]

    def __len(self) -> int:
        return len(self.__stream)

    def __getitem(self, key: Any) -> Any:
        return self.__stream[key]

    def __contains(self, item: object) -> bool:
        return item in self.__stream

    def __bool(self) -> bool:
        return bool(self.__stream)

    _SPECIAL: ClassVar[Dict[str, Any]] = {
        "__iter__": __iter,
        "__next__": __next,
        "__aiter__": __aiter,
        "__anext__": __anext,
        "__enter__": __enter,
        "__exit__": __exit,
        "__aenter__": __aenter,
        "__aexit__": __aexit,
        "__await__": __await,
        "__call__": __call,
        "__reversed__": __reversed,
        "__length_hint__": __length_hint,
        "__setitem__": __setitem,
        "__delitem__": __delitem,
        "__len__": __len,
        "__getitem__": __getitem,
        "__contains__": __contains,
        "__bool__": __bool,
    }

    @staticmethod
    def _unwrapped(stream: _Stream) -> Any:
        return stream.__stream


for _name, _special in _Stream._SPECIAL.items():
    _special.__name__ = _name  # by which whoever steps such a stream in turn tells what it steps

_CLOSING = frozenset({"aclose", "close"})
_SENDING = frozenset({"asend", "athrow", "send", "throw"})


@lru_cache(maxsize=None)
def _in_context(name: str) -> Callable[..., Any]:
    """
    Return the function of the methods of that name, which are then equal for one stream.
    """

    def call(self: _Stream, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call_in_context(name, args, kwargs)
        finally:
            del args  # as above

    call.__name__ = call.__qualname__ = name
    return call


_types: WeakKeyDictionary[type, Type[_Stream]] = WeakKeyDictionary()


def has_special(kind: type, name: str) -> bool:
    """
    Return whether the instances of a class have a special method.
    """
    # Not by `hasattr`, which would find what the class itself can do as an object: it can be called.
    return any(vars(each).get(name) is not None for each in kind.__mro__)


def stand_in(stream: Any, own: Any) -> Any:
    """
    Return an object with the attributes of a stream, whose own methods it has `own` call, as `_StreamContext` does.
    """
    if isinstance(stream, (GeneratorType, AsyncGeneratorType)) and is_unused(stream):
        if isinstance(stream, GeneratorType):
            return named(drive(own, [stream]), stream)
        return named(drive_async(own, stream), stream)
    kind = type(stream)
    try:
        made = _types.get(kind)
    except TypeError:  # a class of a metaclass that cannot be hashed
        return _made_for(kind)(stream, own)
    if made is None:
        made = _types[kind] = _made_for(kind)
    return made(stream, own)


def _made_for(kind: type) -> Type[_Stream]:
    special: Dict[str, Any] = {name: fn for name, fn in _Stream._SPECIAL.items() if has_special(kind, name)}
    made: Any = StreamType("_Stream", (_Stream,), {"__slots__": (), **special})
    return made  # type: ignore[no-any-return]  # which a metaclass cannot say


step_codes.update(fn.__code__ for fn in (_StreamContext.run, _Stream._SPECIAL["__next__"]))
unwrappers[_Stream] = _Stream._unwrapped
