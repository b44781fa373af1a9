"""
Callable objects that replace generator functions, because the call of a generator function runs no code.

Guarantees: `inspect`, method lookup and pickling treat the object as the function that it replaces.

Assumes: `inspect.isfunction` uses `isinstance`, which trusts `__class__`.
"""

from __future__ import annotations

import inspect
import sys
from contextvars import Context
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, cast

from clew.context._stepping.async_drivers import drive_async
from clew.context._stepping.checking import is_driver, named
from clew.context._stepping.drivers import driver_for
from clew.context._stepping.entering import runner
from clew.context._stepping.inheriting import CreationContext, GeneratorContext
from clew.context._stepping.kinds import without_partials
from clew.context._stepping.signatures import dress
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from clew.context._stepping.carrying import Carried

__all__ = ("BoundGeneratorFunction", "FunctionLike", "GeneratorFunction")


def _of_function(name: str) -> Any:
    """
    Return a property for an attribute of `self._python_function()`.
    """

    def get(self: FunctionLike) -> Any:
        return getattr(self._python_function(), name)

    def set_(self: FunctionLike, value: Any) -> None:
        setattr(self._python_function(), name, value)

    return property(get, set_)


class FunctionLike:
    """
    The base of the objects that replace generator functions.
    """

    # Slots, because `functools.wraps` copies the `__dict__`, which must hold only attributes of the function. No
    # annotations, because the instances would show those of the class as their own.
    __slots__ = ("__dict__", "__weakref__", "_drive", "_fn", "_is_async")

    def __init__(self, fn: Any, kind: str) -> None:
        self.__name__: str
        self.__qualname__: str
        self.__wrapped__: Any
        dress(self, fn, shows_code=inspect.isfunction(fn))
        for name in ("__name__", "__qualname__"):  # a partial has none, for example
            self.__dict__.setdefault(name, getattr(self._python_function(), name, type(fn).__name__))
        self._fn = fn
        self._is_async = kind == "async generator"
        self._drive = self._driver_of(self.__code__)

    def _driver_of(self, code: CodeType) -> Callable[..., Any]:
        """
        Return the driver for the generators of a function that has this code.
        """
        return drive_async if self._is_async else driver_for(code)

    def _driven(self, context: GeneratorContext, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """
        Call `call`, and return a driver for the generator that it returns. Return any other result unchanged.
        """
        if self._is_async:
            generator = call(*args, **kwargs)
            if not isinstance(generator, AsyncGeneratorType) or is_driver(generator):
                return generator
            return named(self._drive(context, generator), self)
        slot: Any = []  # created before the generator: `drive` says why
        driver = self._drive(context, slot)
        generator = call(*args, **kwargs)
        if not isinstance(generator, GeneratorType) or is_driver(generator):
            return generator
        slot.append(generator)
        return named(driver, self)

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(cast("Any", self), instance)

    @property  # type: ignore[misc]  # read-only here
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # inspect asks for it
        return FunctionType

    @property
    def __code__(self) -> CodeType:
        return self._python_function().__code__  # type: ignore[no-any-return]

    @__code__.setter
    def __code__(self, code: CodeType) -> None:  # types.coroutine sets it
        self._python_function().__code__ = code
        self._drive = self._driver_of(code)

    __defaults__ = _of_function("__defaults__")
    __kwdefaults__ = _of_function("__kwdefaults__")

    def _python_function(self) -> Any:
        """
        Return the Python function inside of partials, methods and callable objects.
        """
        fn = without_partials(self.__wrapped__)
        while not inspect.isfunction(fn):
            fn = without_partials(type(fn).__call__)
        return fn

    def __getattr__(self, name: str) -> Any:
        # 3.14+: `dress` copies no `__annotations__`. `inspect.getclosurevars` reads the other two.
        if name in ("__annotations__", "__closure__", "__globals__"):
            return getattr(self._python_function(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce__(self) -> str:
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<clew.{type(self).__name__} of {self.__wrapped__!r}>"


class GeneratorFunction(FunctionLike):
    """
    A generator function whose generators run in contexts of their own, which are captured at the call.
    """

    __slots__ = ("_capture", "_refuses_managers")

    def __init__(self, fn: Any, kind: str, capture: Callable[[], GeneratorContext], *, refuses_managers: bool) -> None:
        super().__init__(fn, kind)
        self._capture = capture
        self._refuses_managers = refuses_managers

    def _undecorated(self) -> Any:
        """
        Return the function that was decorated.
        """
        return self._fn

    def _redecorated(self, wrap: Callable[[Any], Any]) -> GeneratorFunction:
        """
        Return `wrap(function)`, decorated likewise. The wrapper runs in the contexts of the generators.
        """
        kind = "async generator" if self._is_async else "generator"
        return GeneratorFunction(wrap(self._fn), kind, self._capture, refuses_managers=self._refuses_managers)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that runs in a context of its own.
        """
        if self._refuses_managers:  # `contextmanager` calls the function in an `__init__`
            caller = sys._getframe(1)
            if caller.f_code.co_name == "__init__" and caller.f_globals.get("__name__") == "contextlib":
                self._refuse_manager()
        return self._driven(self._capture(), self._fn, args, kwargs)

    def _refuse_manager(self) -> None:
        decorator = "asynccontextmanager" if self._is_async else "contextmanager"
        raise ArgumentTypeError(
            f"expected a generator function whose ContextVar changes reach its caller under {decorator}, found "
            f"{self!r}, which keeps all of them; name the variables that it keeps, "
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
            self._fn = fn._undecorated()  # the captured context replaces the decorator's
        self._captured = captured
        self._carried = carried

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """
        Return a generator, or an async generator, that runs in a copy of the captured context.
        """
        own = CreationContext(self._captured.copy(), self._carried)
        # The function may capture the context at its call, so the call runs in it.
        run = runner(own.context, self._carried, kwargs)
        return self._driven(own, run, (self._fn, *args), kwargs)
