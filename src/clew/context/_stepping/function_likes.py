"""
Objects that pass for generator functions: `inspect`, methods and pickles take them for the function they stand for.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import Context
from functools import partial
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, cast

from clew.context._stepping.async_drivers import drive_async
from clew.context._stepping.bodies import is_driver, named
from clew.context._stepping.drivers import driver_for
from clew.context._stepping.entering import runner
from clew.context._stepping.inheriting import Beginning, Creation
from clew.context._stepping.signatures import dress
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from clew.context._stepping.carrying import Carried

__all__ = (
    "BoundGeneratorFunction",
    "FunctionLike",
    "GeneratorFunction",
)


def _innermost(fn: Any) -> Any:
    """
    Return the function whose code runs when `fn` is called.
    """
    while True:
        if isinstance(fn, partial):
            fn = fn.func
        elif isinstance(fn, MethodType):
            fn = fn.__func__
        elif inspect.isfunction(fn):
            return fn
        else:
            fn = type(fn).__call__


class FunctionLike:
    """
    An object that `inspect`, method lookup and pickling treat as the function that it stands for.

    A generator function written in Python runs no code at its call, so a wrapper that does cannot be a function.
    """

    # Slots, so that `functools.wraps` finds in `__dict__` only what it finds in a function's. The class has no
    # annotations, because its instances would show them as their own.
    __slots__ = ("__dict__", "__weakref__", "_drive", "_fn", "_is_async")

    def __init__(self, fn: Any, kind: str) -> None:
        self.__name__: str
        self.__qualname__: str
        self.__wrapped__: Any
        dress(self, fn, shows_code=inspect.isfunction(fn))
        for name in ("__name__", "__qualname__"):  # a partial, for example, has none
            self.__dict__.setdefault(name, getattr(self.function(), name, type(fn).__name__))
        self._fn = fn
        self._is_async = kind == "async generator"
        self._drive = self.driver_of(self.__code__)

    def driver_of(self, code: CodeType) -> Callable[..., Any]:
        """
        Return the driver for the generators of a function that has this code.
        """
        return drive_async if self._is_async else driver_for(code)

    def driven(self, beginning: Beginning, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """
        Return a driver for the generator that `call` returns; any other result is returned unchanged.
        """
        if self._is_async:
            body = call(*args, **kwargs)
            if not isinstance(body, AsyncGeneratorType) or is_driver(body):
                return body
            return named(self._drive(beginning, body), self)
        box: Any = []
        driver = self._drive(beginning, box)
        body = call(*args, **kwargs)
        if not isinstance(body, GeneratorType) or is_driver(body):
            return body
        box.append(body)
        return named(driver, self)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(cast("Any", self), instance)

    @property  # type: ignore[misc]  # read-only here
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # inspect asks for it
        return FunctionType

    @property
    def __code__(self) -> CodeType:
        return self.function().__code__  # type: ignore[no-any-return]

    @__code__.setter
    def __code__(self, code: CodeType) -> None:  # types.coroutine sets it
        self.function().__code__ = code
        self._drive = self.driver_of(code)

    @property
    def __defaults__(self) -> Any:
        return self.function().__defaults__

    @__defaults__.setter
    def __defaults__(self, defaults: Any) -> None:
        self.function().__defaults__ = defaults

    @property
    def __kwdefaults__(self) -> Any:
        return self.function().__kwdefaults__

    @__kwdefaults__.setter
    def __kwdefaults__(self, defaults: Any) -> None:
        self.function().__kwdefaults__ = defaults

    def function(self) -> Any:
        """
        Return the function whose code runs at the first step.
        """
        return _innermost(self.__wrapped__)

    def __getattr__(self, name: str) -> Any:
        # Only functions have these three. Attributes of the function itself were copied.
        if name in ("__annotations__", "__closure__", "__globals__"):
            return getattr(self.function(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<clew.{type(self).__name__} of {self.__wrapped__!r}>"


class GeneratorFunction(FunctionLike):
    """
    A generator function that captures at its call, and whose generators run in contexts of their own.
    """

    __slots__ = ("_capture", "_refuses_managers")

    def __init__(self, fn: Any, kind: str, capture: Callable[[], Beginning], *, refuses_managers: bool) -> None:
        super().__init__(fn, kind)
        self._capture = capture
        self._refuses_managers = refuses_managers

    def undecorated(self) -> Any:
        """
        Return the function that was decorated.
        """
        return self._fn

    def redecorated(self, wrap: Callable[[Any], Any]) -> GeneratorFunction:
        """
        Return the same for `wrap(function)`, so that the wrapper runs inside of the generators' contexts.
        """
        kind = "async generator" if self._is_async else "generator"
        return GeneratorFunction(wrap(self._fn), kind, self._capture, refuses_managers=self._refuses_managers)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that runs in a context of its own.
        """
        if self._refuses_managers:
            caller = sys._getframe(1)
            if caller.f_code.co_name == "__init__" and caller.f_globals.get("__name__") == "contextlib":
                self._refuse_manager()
        return self.driven(self._capture(), self._fn, args, kwargs)

    def _refuse_manager(self) -> None:
        decorator = "asynccontextmanager" if self._is_async else "contextmanager"
        raise ArgumentTypeError(
            f"expected a generator function whose ContextVar changes reach its caller under {decorator}, found "
            f"{self!r}, which keeps them to itself; name those that it is to keep, "
            f"@context_generator(isolate=[...]), or leave out @context_generator"
        )


class BoundGeneratorFunction(FunctionLike):
    """
    A generator function whose generators run in copies of one captured context.
    """

    __slots__ = ("_captured", "_carried")

    def __init__(self, fn: Any, kind: str, captured: Context, carried: Carried) -> None:
        super().__init__(fn, kind)
        if type(fn) is GeneratorFunction:
            self._fn = fn.undecorated()  # this capture replaces the one of the decorator
        self._captured = captured
        self._carried = carried

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that runs in a copy of the captured context.
        """
        beginning = Creation.of(self._captured, self._carried)
        # In the context, because the function may capture, too.
        run = runner(beginning.context, self._carried, kwargs)
        return self.driven(beginning, run, (self._fn, *args), kwargs)
