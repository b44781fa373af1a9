"""
Stand-ins for stream objects, whose every step runs in one context.

People make one by `clew.context.streams.wrap_stream`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextvars import Context
from functools import lru_cache, partial
from operator import length_hint
from types import AsyncGeneratorType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, Type
from weakref import WeakKeyDictionary, ref

from clew.context._stepping.async_drivers import drive_async
from clew.context._stepping.checking import is_unused, named
from clew.context._stepping.carrying import carriers
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
    The context of a stream, and of the iterators that it returns.
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
            # `is_current` sets a variable in the current context, which a finaliser must not do.
            if not self.is_collected() and is_current(self._context):
                return call(*args)
            return self._context.copy().run(call, *args)
        finally:
            del args  # they may hold an exception whose traceback holds this frame

    # For the methods that close the stream. Here they are steps like any other.
    run_last = run

    def stepped(self, awaitable: Any) -> ContextCoroutine:
        return ContextCoroutine(as_coroutine(awaitable), self._context, run=self.run)


class StreamType(type):
    """
    The type of the classes of stand-ins. Comparing it is the fastest way to recognise one.
    """


class StreamObject(metaclass=StreamType):
    """
    A stand-in with the attributes of a stream. A subclass for each type of stream has its special methods.
    """

    __slots__ = ("__own", "__stream", "__weakref__")

    __own: StreamContext
    __stream: Any

    def __init__(self, stream: Any, own: StreamContext) -> None:
        object.__setattr__(self, "_StreamObject__stream", stream)
        object.__setattr__(self, "_StreamObject__own", own)

    @property  # type: ignore[misc]  # it can be set on any object, but not on this one
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self.__stream.__class__

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.__stream, name)
        steps = name in _CLOSING or (name in _SENDING and isinstance(self.__stream, (Generator, AsyncGenerator)))
        # The method refers to the stand-in instead of the stream, which would be dropped with it in any context.
        return MethodType(_in_context(name), self) if steps and callable(value) else value

    def _call_in_context(self, name: str, args: Any, kwargs: Any) -> Any:
        try:
            run = self.__own.run_last if name in _CLOSING else self.__own.run
            result = run(getattr(self.__stream, name), *args, **kwargs)
            return self.__own.stepped(result) if inspect.isawaitable(result) else result
        finally:
            del args  # as in `StreamContext.run`

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
            self.__own.run(object.__delattr__, self, "_StreamObject__stream")

    # The special methods. A subclass gets those that the type of the stream has.

    def __iter(self) -> Any:
        iterator = self.__own.run(iter, self.__stream)
        return self if iterator is self.__stream else stand_in(iterator, self.__own)

    def __next(self) -> Any:
        try:
            return self.__own.run(next, self.__stream)
        except BaseException as error:  # noqa: BLE001  every exception propagates
            raise without_steps(error)  # noqa: B904  the same exception

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
    def _unwrapped(stream: StreamObject) -> Any:
        return stream.__stream


for _name, _special in StreamObject._SPECIAL.items():
    _special.__name__ = _name  # a driver of such a stream recognises the step by this name

_CLOSING = frozenset({"aclose", "close"})


_SENDING = frozenset({"asend", "athrow", "send", "throw"})


@lru_cache(maxsize=None)
def _in_context(name: str) -> Callable[..., Any]:
    """
    Return the function behind the methods of that name. It is cached, so that two of a stream's methods are equal.
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
    # Not by `hasattr`, which also finds methods of the metaclass: every class can be called.
    return any(vars(each).get(name) is not None for each in kind.__mro__)


def stand_in(stream: Any, own: Any) -> Any:
    """
    Return an object with the attributes of a stream, whose own methods it has `own` call, as `StreamContext` does.
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


def _made_for(kind: type) -> Type[StreamObject]:
    special: Dict[str, Any] = {name: fn for name, fn in StreamObject._SPECIAL.items() if has_special(kind, name)}
    made: Any = StreamType("StreamObject", (StreamObject,), {"__slots__": (), **special})
    return made  # type: ignore[no-any-return]  # a metaclass cannot be typed so


step_codes.update(fn.__code__ for fn in (StreamContext.run, StreamObject._SPECIAL["__next__"]))


unwrappers[StreamObject] = StreamObject._unwrapped
