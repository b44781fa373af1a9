"""
`traceable`: a function whose every call is a run.

Streams are driven in `clew.runs._tree.streams`; values are copied in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

import builtins
import sys
from contextlib import asynccontextmanager, contextmanager
from inspect import CO_NESTED, CO_OPTIMIZED
from types import AsyncGeneratorType, CodeType, FunctionType, GeneratorType
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
    overload,
)

from clew._shared.incidents import report
from clew.context._stepping.function_likes import GeneratorFunction
from clew.context._stepping.kinds import kind_of, without_partials
from clew.context._stepping.signatures import dress
from clew.context._stepping.stream_objects import StreamType
from clew.context._stepping.throwing import without_this_frame
from clew.errors import ArgumentTypeError
from clew.runs._tree import blocks as _blocks, hooks as _hooks
from clew.runs._tree.blocks import leave_call, report_foreign_exit
from clew.runs._tree.inherited import make_inherited
from clew.runs._tree.options import (
    check_run_type,
    metadata_of_extra,
)
from clew.runs._tree.recipe import Recipe, filling_functions, name_of
from clew.runs._tree.streams import TracedGeneratorFunction, in_place, streamed
from clew.runs.run import RunTree

__all__ = ("traceable",)


F = TypeVar("F", bound=Callable[..., Any])


@overload
def traceable(fn: F, /) -> F: ...


@overload
def traceable(
    run_type: Optional[str],
    /,
    *,
    name: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    metadata: Optional[Mapping[str, Any]] = None,
    project_name: Optional[str] = None,
    reduce_fn: Optional[Callable[[List[Any]], Any]] = None,
    process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]] = None,
    process_outputs: Optional[Callable[[Any], Mapping[str, Any]]] = None,
    process_chunk: Optional[Callable[[Any], Any]] = None,
    enabled: Optional[bool] = None,
) -> Callable[[F], F]: ...


@overload
def traceable(
    *,
    run_type: Optional[str] = "chain",
    name: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    metadata: Optional[Mapping[str, Any]] = None,
    project_name: Optional[str] = None,
    reduce_fn: Optional[Callable[[List[Any]], Any]] = None,
    process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]] = None,
    process_outputs: Optional[Callable[[Any], Mapping[str, Any]]] = None,
    process_chunk: Optional[Callable[[Any], Any]] = None,
    enabled: Optional[bool] = None,
) -> Callable[[F], F]: ...


def traceable(
    fn: Union[Callable[..., Any], str, None] = None,
    /,
    *,
    run_type: Optional[str] = "chain",
    name: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    metadata: Optional[Mapping[str, Any]] = None,
    project_name: Optional[str] = None,
    reduce_fn: Optional[Callable[[List[Any]], Any]] = None,
    process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]] = None,
    process_outputs: Optional[Callable[[Any], Mapping[str, Any]]] = None,
    process_chunk: Optional[Callable[[Any], Any]] = None,
    enabled: Optional[bool] = None,
    **options: Any,
) -> Any:
    """
    Record each call of a function as a run: its inputs, its output or error, and its place in the tree.

    Use it bare, ``@traceable``, or with options, ``@traceable(run_type="tool", name="search")``. The
    result is a function of the same kind with the same signature and the same behaviour: result,
    exceptions, task, and changes to the caller's ContextVars. With recording off it only calls the function.

    A traced function is pickled as the undecorated one is: by name from a module, and by cloudpickle (joblib, loky,
    dask, ray) also by value. At the other end it is traced again; a generator function arrives undecorated.

    The inputs are the arguments by the names of their parameters, without `self` and `cls`. The output
    is the returned dict, or ``{"output": value}``. Both are copied at once, with a bound on their size. Values under
    names that look like secrets are hidden: see `clew.configure`.

    The run of a generator or async generator lasts from its first step to its last. Its output is the list
    of yielded items, and the first item adds an event ``new_token``. A generator that is left early ends its
    run as "cancelled". The same holds for a plain function or coroutine function that returns a generator:
    its run lasts until the generator has ended.

    A parameter named `run_tree` gets the run of the call, unless the caller passes one.

    Context:
        *When*: the parent is the current run at the call; for a coroutine function, at the first step
        of the coroutine, in the context of the awaiting task. *What the callee sees*: its own run as
        the current run, and no other change; a generator sees it in each step. *What comes back*: all
        that the undecorated function would let through. The caller's run is current again, also while
        a generator is suspended. Thread-safe and re-entrant.

    Args:
        fn: the function; or the run type, by position as in ``@traceable("tool")``. If LangSmith has no such run type,
            the logger ``clew`` says so, as ``name=`` may have been meant.
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever", or one of your own.
        name: the name of the run; the function's name by default.
        tags, metadata, project_name: for this run and the runs below it.
        reduce_fn: turns the list of yielded items into the recorded output. If it raises, the list is recorded; or
            nothing, if there is a `process_outputs`.
        process_inputs: turns the dict of inputs into the recorded dict. If it raises, or the arguments do not fit the
            parameters, no inputs are recorded.
        process_outputs: turns the return value into the recorded dict. If it raises, no outputs are recorded.
        process_chunk: turns a yielded item into the recorded item. If it raises, the item is not recorded.
        enabled: False to record no call of the function; the runs inside it nest under its caller's run.
        options: further options, as `RunTree` takes them.

    A single call takes more options in ``langsmith_extra={...}``, which the function does not get: ``parent``, as
    `tracing_context` takes it or "ignore" for a new trace; ``name``, ``run_id``, ``tags``, ``metadata`` and
    ``project_name``; ``run_extra`` for its metadata; ``on_end``, a function that is called with the `RunTree` after
    its end; and ``config``, a LangChain config, for its tags, metadata, run name and parent.

    Raises:
        ArgumentTypeError: `fn` is not callable, is a class, or is a function of `contextlib.contextmanager` or
            `asynccontextmanager`; an option has the wrong type; at a call, ``langsmith_extra`` is not a dict or has an
            unknown key.
        ArgumentValueError: at a call, ``run_id`` is not a UUID.

    Example:
        >>> import clew
        >>> @clew.traceable
        ... def add(a, b=1):
        ...     return a + b
        >>> with clew.record() as runs:
        ...     _ = add(41)
        >>> runs.find(name="add").inputs, runs.find(name="add").outputs
        ({'a': 41, 'b': 1}, {'output': 42})
    """
    metadata = metadata_of_extra(options, metadata, "traceable")

    def decorate(fn: F) -> F:
        if isinstance(fn, (staticmethod, classmethod)):
            rewrap: Any = type(fn)
            rewrapped: F = rewrap(decorate(fn.__func__))
            return rewrapped
        _check(fn)
        recipe = Recipe(fn, name, kind, make_inherited(tags, metadata, project_name))
        recipe.set_hooks(metadata, process_inputs, process_outputs, process_chunk, reduce_fn)
        recipe.is_enabled = enabled is None or bool(enabled)
        traced: F = _traced(fn, recipe)
        if recipe.fills_run_tree:
            filling_functions.add(traced)
        return traced

    if isinstance(fn, str):
        kind = _positional_run_type(fn)
        return decorate
    kind = check_run_type(run_type)
    return decorate if fn is None else decorate(fn)


# The run types of LangSmith.
_RUN_TYPES = frozenset(("chain", "embedding", "llm", "parser", "prompt", "retriever", "tool"))


def _positional_run_type(text: str) -> str:
    run_type = check_run_type(text)
    if run_type not in _RUN_TYPES:
        report(
            "run_types_unknown",
            f"traceable({run_type!r}) makes {run_type!r} the type of the run and not its name; write "
            f"traceable(name={run_type!r}) if it is the name, traceable(run_type={run_type!r}) if it is the type",
        )
    return run_type


def _traced(fn: Any, recipe: Recipe) -> Any:
    if type(fn) is GeneratorFunction:
        # Each of its generators has a context of its own, in which the run must be current.
        return fn._redecorated(lambda inner: _traced(inner, recipe))
    kind = kind_of(fn)
    if "generator" in kind:
        return TracedGeneratorFunction(fn, kind, recipe)
    code = (_async_wrapper if kind == "coroutine" else _wrapper).__code__
    flags = code.co_flags & ~CO_NESTED if _is_made_once() else code.co_flags
    # A code object of its own: the interpreter remembers in it where the globals are.
    return dress(_copied(code.replace(co_flags=flags), fn, recipe), fn)


def _is_made_once() -> bool:
    """
    Return whether the code that calls `traceable` runs once, because it is the body of a module or of a class.

    Such a call makes a function without the flag `CO_NESTED`. 3.13 without a GIL does not count the references to a
    function without this flag: it never frees the function, and threads need not wait for each other at the count.
    """
    frame = sys._getframe(1)
    while frame.f_globals is globals() and frame.f_back is not None:
        frame = frame.f_back
    return not frame.f_code.co_flags & CO_OPTIMIZED


def _copied(code: CodeType, fn: Callable[..., Any], recipe: Recipe) -> Any:
    """
    Return a copy of one of the two wrappers for one function. `code` is that of the wrapper.
    """
    names = {
        **_globals,
        "fn": fn,
        "recipe": recipe,
        "start": recipe.start,
        "is_enabled": recipe.is_enabled,
        "reduces": recipe.reduces,
        "fills_run_tree": recipe.fills_run_tree,
    }
    return FunctionType(code, names)


# The two wrappers differ in their `await`. Both are written out, because a shared function would make each recorded
# call about three per cent slower. Each `try` begins before the run becomes current, as an interrupt can come anywhere.
# cloudpickle sends a traced function by value, with the globals that it names. A ContextVar and its methods cannot be
# pickled, so the wrappers reach them through the module `blocks`, which is pickled by name.
# A call without keywords unpacks no empty dict.
# Each traced function is a copy of one of the two wrappers. The copy has globals of its own, which give the six names
# below their values. A closure would be slower: each call copies its cells, and without a GIL, threads wait for each
# other at each cell.

fn: Any = None  # the undecorated function
recipe: Any = None  # its `Recipe`, four of whose attributes follow
start: Any = None
is_enabled: Any = None
reduces: Any = None
fills_run_tree: Any = None


async def _async_wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901, PLR0911, PLR0912, PLR0915  as above
    if kwargs and recipe.has_call_options(kwargs):
        context, recipe_of_call = recipe.take_call_options(kwargs)
        try:
            try:
                context.__enter__()
                return await _copied(_async_wrapper.__code__, fn, recipe_of_call)(*args, **kwargs)
            finally:
                context.__exit__(None, None, None)
        except BaseException as error:  # noqa: BLE001  every exception propagates
            context.__exit__(None, None, None)  # again, as an interrupt may have come in the `finally`
            # This frame, and that of the function for `recipe_of_call`.
            raise without_this_frame(without_this_frame(error))  # noqa: B904  the same exception
    if not (_hooks.start_hooks and is_enabled):
        if fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, None)
        return await fn(*args, **kwargs)
    run: Any = start(args, kwargs)
    if fills_run_tree:
        args, kwargs = recipe.filled(args, kwargs, run)
    if run is None:
        return in_place(await fn(*args, **kwargs), recipe)
    token = None
    if type(run) is not RunTree:  # an `UnsampledRoot`
        try:
            token = _blocks.set_current(run)
            result = await (fn(*args, **kwargs) if kwargs else fn(*args))
        except BaseException:
            leave_call(run, token)
            raise
        try:
            _blocks.reset_current(token)
        except ValueError:
            report_foreign_exit()
        kind = type(result)
        if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
            stream = streamed(result, recipe, run)
            return result if stream is None else stream
        return result
    try:
        token = _blocks.set_current(run._identity)
        result = await (fn(*args, **kwargs) if kwargs else fn(*args))
        try:
            _blocks.reset_current(token)
        except ValueError:
            report_foreign_exit()
        kind = type(result)  # compared by identity: a type may not be hashable
        if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
            stream = streamed(result, recipe, run)
            if stream is not None:
                return stream
        if run._status == "pending":  # else the function has ended the run itself
            run._result = recipe.copy_result(result)
            run._close("success")
        return result
    except BaseException as error:
        leave_call(run._identity, token)
        # The recorded traceback begins below this frame.
        run._fail(error, error.__traceback__ and error.__traceback__.tb_next)
        raise


def _wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901, PLR0911, PLR0912, PLR0915  as above
    if kwargs and recipe.has_call_options(kwargs):
        context, recipe_of_call = recipe.take_call_options(kwargs)
        try:
            try:
                context.__enter__()
                return _copied(_wrapper.__code__, fn, recipe_of_call)(*args, **kwargs)
            finally:
                context.__exit__(None, None, None)
        except BaseException as error:  # noqa: BLE001  every exception propagates
            context.__exit__(None, None, None)  # again, as an interrupt may have come in the `finally`
            # This frame, and that of the function for `recipe_of_call`.
            raise without_this_frame(without_this_frame(error))  # noqa: B904  the same exception
    if not (_hooks.start_hooks and is_enabled):
        if fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, None)
        return fn(*args, **kwargs)
    run: Any = start(args, kwargs)
    if fills_run_tree:
        args, kwargs = recipe.filled(args, kwargs, run)
    if run is None:
        return in_place(fn(*args, **kwargs), recipe)
    token = None
    if type(run) is not RunTree:  # an `UnsampledRoot`
        try:
            token = _blocks.set_current(run)
            result = fn(*args, **kwargs) if kwargs else fn(*args)
        except BaseException:
            leave_call(run, token)
            raise
        try:
            _blocks.reset_current(token)
        except ValueError:
            report_foreign_exit()
        kind = type(result)
        if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
            stream = streamed(result, recipe, run)
            return result if stream is None else stream
        return result
    try:
        token = _blocks.set_current(run._identity)
        result = fn(*args, **kwargs) if kwargs else fn(*args)
        try:
            _blocks.reset_current(token)
        except ValueError:
            report_foreign_exit()
        kind = type(result)  # compared by identity: a type may not be hashable
        if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
            stream = streamed(result, recipe, run)
            if stream is not None:
                return stream
        if run._status == "pending":  # else the function has ended the run itself
            run._result = recipe.copy_result(result)
            run._close("success")
        return result
    except BaseException as error:
        leave_call(run._identity, token)
        run._fail(error, error.__traceback__ and error.__traceback__.tb_next)
        raise


# As if they were nested functions, so that their copies are freed; see `_is_made_once`.
for _each in (_async_wrapper, _wrapper):
    _each.__code__ = _each.__code__.replace(co_flags=_each.__code__.co_flags | CO_NESTED)

# The globals that the two wrappers name.
_globals: Dict[str, Any] = {
    "__builtins__": builtins,
    "__name__": __name__,
    **{
        each: globals()[each]
        for each in (*_wrapper.__code__.co_names, *_async_wrapper.__code__.co_names)
        if each in globals()
    },
}


# Of the functions that contextlib makes of generator functions.
_managers: Dict[object, str] = {
    contextmanager(print).__code__: "contextmanager",  # type: ignore[arg-type]  # to look at what it makes
    asynccontextmanager(print).__code__: "asynccontextmanager",  # type: ignore[arg-type]  # the same
}


def _check(fn: object) -> None:
    if not callable(fn):
        raise ArgumentTypeError(
            f"expected a function to trace, or a run_type as a string, got {type(fn).__name__} {fn!r}; "
            f"write @traceable, or @traceable(run_type=..., name=...) with options"
        )
    if isinstance(fn, type):
        raise ArgumentTypeError(
            f"expected a function to trace, got {fn!r}, which would no longer be a class; decorate its methods, "
            f"or trace a function that makes an instance"
        )
    decorator = _managers.get(getattr(without_partials(fn), "__code__", None))
    if decorator is not None:
        raise ArgumentTypeError(
            f"expected a function whose call does its work, got {fn!r} of contextlib.{decorator}, whose work is done "
            f"by a with block after the call; leave out @traceable, and write in the function: "
            f"with clew.trace({name_of(fn)!r}): yield"
        )
