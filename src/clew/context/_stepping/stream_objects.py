"""
Stand-ins for stream objects: each step of the stream runs in one context.

Guarantees: `isinstance`, attributes and special methods of a stand-in are those of the stream.

Assumes: Python looks special methods up on the type, so each type of stream gets its own type of stand-in.

The public function is `clew.context.streams.wrap_stream`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextvars import Context
from functools import lru_cache, partial
from operator import attrgetter, length_hint
from types import AsyncGeneratorType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, Dict, Type
from weakref import WeakKeyDictionary, ref

from clew.context._stepping.async_drivers import drive_async
from clew.context._stepping.carrying import carriers
from clew.context._stepping.checking import is_driver, is_fresh, named
from clew.context._stepping.collecting import CALLBACK, Collectable
from clew.context._stepping.coroutines import ContextCoroutine, as_coroutine, is_current
from clew.context._stepping.drivers import drive
from clew.context._stepping.entering import is_refusal
from clew.context._stepping.inheriting import Runner
from clew.context._stepping.neighbours import take_loop_from_here
from clew.context._stepping.seams import unwrappers
from clew.context._stepping.throwing import step_codes, without_steps

if TYPE_CHECKING:
    from clew.context._stepping.carrying import Carried

__all__ = ("StreamContext", "StreamObject", "StreamType", "has_special", "stand_in")


class StreamContext(Collectable):
    """
    The context in which the methods of a stream, and of the iterators that it returns, are called.
    """

    __slots__ = ("_carriers", "_context")

    def __init__(self, context: Context, carried: Carried) -> None:
        self._context = context
        self._carriers: Any = carriers(carried)
        self._reference = ref(self, CALLBACK)

    def begin(self) -> Runner:  # for the drivers of generators
        return self.run

    def run(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        try:
            call: Any = partial(fn, **kwargs) if kwargs else fn
            if self._carriers:
                call = partial(*self._carriers, call)
            try:
                take_loop_from_here(self._context)
                return self._context.run(call, *args)
            except RuntimeError as error:
                if not is_refusal(error):
                    raise
            # The context is in use: by this very code, or elsewhere. A finaliser must not ask: `is_current` sets a
            # variable in the current context.
            if not self.is_collected() and is_current(self._context):
                return call(*args)
            return self._context.copy().run(call, *args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    # Calls the methods that close the stream; they are steps like any other here.
    run_last = run

    def stepped(self, awaitable: Any) -> ContextCoroutine:
        return ContextCoroutine(as_coroutine(awaitable), self._context, run=self.run)


class StreamType(type):
    """
    The type of the classes of stand-ins. Comparing it is the fastest way to recognise a stand-in.
    """


class StreamObject(metaclass=StreamType):
    """
    A stand-in with the attributes of a stream. A subclass for each type of stream has its special methods.
    """

    __slots__ = ("__weakref__", "_clew_context", "_clew_stream")

    _clew_context: StreamContext
    _clew_stream: Any

    def __init__(self, stream: Any, context: StreamContext) -> None:
        object.__setattr__(self, "_clew_stream", stream)
        object.__setattr__(self, "_clew_context", context)

    @property  # type: ignore[misc]  # it can be set on any object, but not on this one
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._clew_stream.__class__

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._clew_stream, name)
        steps = name in _CLOSING or (name in _SENDING and isinstance(self._clew_stream, (Generator, AsyncGenerator)))
        # The method refers to the stand-in, not to the stream, so that the stream is still dropped in its context.
        return MethodType(_in_context(name), self) if steps and callable(value) else value

    def _call_in_context(self, name: str, args: Any, kwargs: Any) -> Any:
        try:
            run = self._clew_context.run_last if name in _CLOSING else self._clew_context.run
            result = run(getattr(self._clew_stream, name), *args, **kwargs)
            return self._clew_context.stepped(result) if inspect.isawaitable(result) else result
        finally:
            del args  # as in `StreamContext.run`

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._clew_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._clew_stream, name)

    def __dir__(self) -> Any:
        return dir(self._clew_stream)

    def __repr__(self) -> str:
        return f"<clew.wrap_stream of {self._clew_stream!r}>"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"cannot pickle or copy {self!r}: a context stays in its process; pass clew.unwrap(it)")

    def __del__(self) -> None:
        # Drop the stream in its context: this may be the last reference, and the stream may run code at its end. Not if
        # the collector does this: it finalises the stream itself, and another finaliser may still use the stand-in.
        if not self._clew_context.is_collected():
            self._clew_context.run(object.__delattr__, self, "_clew_stream")


class _SpecialMethods(StreamObject):
    """
    All special methods. A stand-in has those that the type of its stream has.
    """

    __slots__ = ()

    def __iter__(self) -> Any:
        iterator = self._clew_context.run(iter, self._clew_stream)
        return self if iterator is self._clew_stream else stand_in(iterator, self._clew_context)

    def __next__(self) -> Any:
        try:
            return self._clew_context.run(next, self._clew_stream)
        except BaseException as error:  # noqa: BLE001  every exception propagates
            raise without_steps(error)  # noqa: B904  the same exception

    def __aiter__(self) -> Any:
        iterator = self._clew_context.run(type(self._clew_stream).__aiter__, self._clew_stream)
        return self if iterator is self._clew_stream else stand_in(iterator, self._clew_context)

    def __anext__(self) -> Any:
        return self._clew_context.stepped(self._clew_context.run(type(self._clew_stream).__anext__, self._clew_stream))

    def __enter__(self) -> Any:
        entered = self._clew_context.run(type(self._clew_stream).__enter__, self._clew_stream)
        return self if entered is self._clew_stream else entered

    def __exit__(self, *exception: object) -> Any:
        return self._clew_context.run_last(type(self._clew_stream).__exit__, self._clew_stream, *exception)

    async def __aenter__(self) -> Any:
        entered = await self._clew_context.stepped(
            self._clew_context.run(type(self._clew_stream).__aenter__, self._clew_stream)
        )
        return self if entered is self._clew_stream else entered

    def __aexit__(self, *exception: Any) -> Any:
        return self._clew_context.stepped(
            self._clew_context.run(type(self._clew_stream).__aexit__, self._clew_stream, *exception)
        )

    def __await__(self) -> Any:
        return self._clew_context.stepped(self._clew_stream).__await__()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._clew_stream(*args, **kwargs)

    def __reversed__(self) -> Any:
        return reversed(self._clew_stream)

    def __length_hint__(self) -> int:
        return length_hint(self._clew_stream)

    def __setitem__(self, key: Any, value: object) -> None:
        self._clew_stream[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._clew_stream[key]

    def __len__(self) -> int:
        return len(self._clew_stream)

    def __getitem__(self, key: Any) -> Any:
        return self._clew_stream[key]

    def __contains__(self, item: object) -> bool:
        return item in self._clew_stream

    def __bool__(self) -> bool:
        return bool(self._clew_stream)


_SPECIAL = {name: fn for name, fn in vars(_SpecialMethods).items() if isinstance(fn, FunctionType)}

_CLOSING = frozenset({"aclose", "close"})
_SENDING = frozenset({"asend", "athrow", "send", "throw"})


@lru_cache(maxsize=None)
def _in_context(name: str) -> Callable[..., Any]:
    """
    Return a function that calls the stream's method `name` in its context. Cached: ``stream.close == stream.close``.
    """

    def call(self: StreamObject, /, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._call_in_context(name, args, kwargs)
        finally:
            del args  # as in `StreamContext.run`

    call.__name__ = call.__qualname__ = name
    return call


_types: WeakKeyDictionary[type, Type[StreamObject]] = WeakKeyDictionary()


def has_special(kind: type, name: str) -> bool:
    """
    Return whether the instances of a class have a special method.
    """
    # `hasattr` would also find the methods of the metaclass, such as `__call__`.
    return any(vars(each).get(name) is not None for each in kind.__mro__)


def stand_in(stream: Any, context: Any) -> Any:
    """
    Return an object with the attributes of a stream. The stream's own methods are called by `context`.

    Args:
        context: a `StreamContext`, or an object with the same methods.
    """
    if isinstance(stream, GeneratorType) and is_fresh(stream) and not is_driver(stream):
        return named(drive(context, [stream]), stream)
    if isinstance(stream, AsyncGeneratorType) and is_fresh(stream) and not is_driver(stream):
        return named(drive_async(context, stream), stream)
    kind = type(stream)
    try:
        made = _types.get(kind)
    except TypeError:  # the metaclass makes the class unhashable
        return _type_for(kind)(stream, context)
    if made is None:
        made = _types[kind] = _type_for(kind)
    return made(stream, context)


def _type_for(kind: type) -> Type[StreamObject]:
    special: Dict[str, Any] = {name: fn for name, fn in _SPECIAL.items() if has_special(kind, name)}
    made: Any = StreamType("StreamObject", (StreamObject,), {"__slots__": (), **special})
    return made  # type: ignore[no-any-return]  # mypy does not know the result of calling a metaclass


step_codes.update(fn.__code__ for fn in (StreamContext.run, _SpecialMethods.__next__))
unwrappers[StreamObject] = attrgetter("_clew_stream")
