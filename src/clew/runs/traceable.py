"""
`traceable`: a function whose every call is a run.

Streams are driven in `clew.runs._tree.streams`; values are copied in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from functools import partial
from types import AsyncGeneratorType, GeneratorType, MethodType
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
from clew.context._stepping.kinds import kind_of
from clew.context._stepping.signatures import dress
from clew.context._stepping.throwing import without_next_frame
from clew.context.streams import StreamType
from clew.errors import ArgumentTypeError
from clew.runs._tree import blocks as _blocks, hooks as _hooks
from clew.runs._tree.blocks import leave_call, report_foreign_exit
from clew.runs._tree.identity import hand_down
from clew.runs._tree.options import (
    check_run_type,
    metadata_of_extra,
)
from clew.runs._tree.recipe import Recipe, filling_functions, name_of
from clew.runs._tree.streams import TracedGeneratorFunction, in_place, streamed

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
    Record each call of a function as a run: its inputs, its output or error, its place in the tree.

    Use it bare, ``@traceable``, or with options, ``@traceable(run_type="tool", name="search")``. The
    result is a function of the same kind with the same signature, and does what the function does:
    same result, same exceptions, same task, same changes to the caller's ContextVars. With recording
    off it calls the function straight away.

    A traced function is pickled as the undecorated one is: by name from a module, and by cloudpickle (joblib, loky,
    dask, ray) also by value. At the other end it is traced again; a generator function arrives undecorated.

    The inputs are the arguments under their parameters' names, without `self` and `cls`; the output
    is the dict that is returned, or ``{"output": value}``. Both are copied at once, and bounded.

    A generator, or an async generator, is a run from its first step to its last, with the list of what
    it has yielded as its output, and an event ``new_token`` at the first item. If it is left early, the run
    is "cancelled". So is it with a plain function, or a coroutine function, that returns a generator: the run
    goes on until that has ended.

    A parameter named `run_tree` is filled in with the run of the call, unless the caller passes one.

    Context:
        *When*: the parent is the current run at the call; for a coroutine function, at the first step
        of the coroutine, which runs in the context of whoever awaits it. *What the callee sees*: its
        own run as the current one, and nothing else changed; in a generator, in each of its steps. *What
        comes back*: everything that the undecorated function would let through; the caller's run is
        current again, also while a generator is suspended. Thread-safe and re-entrant.

    Args:
        fn: the function; or the run type, given by position as in ``@traceable("tool")``. A type given so that is none
            of LangSmith's is reported on the logger ``clew``, as ``name=`` may have been meant.
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever", or one of your own.
        name: the name of the run; the function's by default.
        tags, metadata, project_name: for this run and those under it.
        reduce_fn: from the list of all that a generator has yielded to what is recorded as its output. If it
            raises, the list is.
        process_inputs: from the dict of inputs to the dict to record. If it raises, none is recorded.
        process_outputs: from the return value to the dict to record. If it raises, none is recorded.
        process_chunk: from what a generator yields to what is recorded of it. If it raises, nothing is.
        enabled: False for a function whose calls are never recorded; what it calls is under its caller's run.
        options: as of `RunTree`.

    One call may say more, in ``langsmith_extra={...}``, which the function does not get: ``parent``, as
    `tracing_context` takes it or "ignore" for a new trace; ``name``, ``run_id``, ``tags``, ``metadata``, also that of
    ``run_extra``, and ``project_name``; ``on_end``, which is called with the `RunTree` once it has ended; and
    ``config``, a LangChain config, for its tags, metadata, run name and parent.

    Raises:
        ArgumentTypeError: what is decorated is not callable, is a class or a function of `contextlib.contextmanager`
            or `asynccontextmanager`, or an option is something else than it says; from the
            call, ``langsmith_extra`` is no dict, or has something else in it than the above.
        ArgumentValueError: from the call, ``run_id`` is no UUID.

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
        recipe = Recipe(fn, name, kind, hand_down(tags, metadata, project_name))
        recipe.process(process_inputs, process_outputs, process_chunk, reduce_fn)
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


# LangSmith's.
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
        # Each of its generators has a context of its own, and it is there that the run is current.
        return fn.redecorated(lambda inner: _traced(inner, recipe))
    kind = kind_of(fn)
    if "generator" in kind:
        return TracedGeneratorFunction(fn, kind, recipe)
    return (_traced_coroutine_function if kind == "coroutine" else _traced_function)(fn, recipe)


# The two wrappers differ in their `await`, and are written out, as a call between would cost each
# recorded call some three per cent. In both, everything from making the run current on stands in the
# `try`: an interrupt can come anywhere. Their closures and the globals that they name can be pickled, so
# that cloudpickle can send a traced function by value. A ContextVar cannot, nor can its methods: they are
# attributes of the module `blocks`, which is pickled by name.


def _traced_coroutine_function(fn: Callable[..., Any], recipe: Recipe) -> Any:  # noqa: C901  as said above
    start, copy_result = recipe.start, recipe.copy_result
    is_enabled, fills_run_tree, reduces = recipe.is_enabled, recipe.fills_run_tree, recipe.reduces

    async def async_wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901  as said above
        if kwargs and recipe.is_addressed(kwargs):
            context, recipe_of_call = recipe.with_extra(kwargs)
            with context:
                try:
                    return await _traced_coroutine_function(fn, recipe_of_call)(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001  all of them go on
                    raise without_next_frame(error)  # noqa: B904  it is the same one
        if not (_hooks.start_hooks and is_enabled):
            if fills_run_tree:
                args, kwargs = recipe.filled(args, kwargs, None)
            return await fn(*args, **kwargs)
        run = start(args, kwargs)
        if fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            return in_place(await fn(*args, **kwargs), recipe)
        token = None
        try:
            token = _blocks.set_current(run._identity)
            result = await fn(*args, **kwargs)
            try:
                _blocks.reset_current(token)
            except ValueError:
                report_foreign_exit()
            kind = type(result)  # which may be one that cannot be hashed
            if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
                stream = streamed(result, recipe, run)
                if stream is not None:
                    return stream
            if run._status == "pending":  # not ended by hand, inside the function
                run._result = copy_result(result)
                run._close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            # The traceback without this frame of ours.
            run._fail(error, error.__traceback__ and error.__traceback__.tb_next)
            raise

    return dress(async_wrapper, fn)


def _traced_function(fn: Callable[..., Any], recipe: Recipe) -> Any:  # noqa: C901  as said above
    start, copy_result = recipe.start, recipe.copy_result
    is_enabled, fills_run_tree, reduces = recipe.is_enabled, recipe.fills_run_tree, recipe.reduces

    def wrapper(*args: Any, **kwargs: Any) -> Any:  # noqa: C901  as said above
        if kwargs and recipe.is_addressed(kwargs):
            context, recipe_of_call = recipe.with_extra(kwargs)
            with context:
                try:
                    return _traced_function(fn, recipe_of_call)(*args, **kwargs)
                except BaseException as error:  # noqa: BLE001  all of them go on
                    raise without_next_frame(error)  # noqa: B904  it is the same one
        if not (_hooks.start_hooks and is_enabled):
            if fills_run_tree:
                args, kwargs = recipe.filled(args, kwargs, None)
            return fn(*args, **kwargs)
        run = start(args, kwargs)
        if fills_run_tree:
            args, kwargs = recipe.filled(args, kwargs, run)
        if run is None:
            return in_place(fn(*args, **kwargs), recipe)
        token = None
        try:
            token = _blocks.set_current(run._identity)
            result = fn(*args, **kwargs)
            try:
                _blocks.reset_current(token)
            except ValueError:
                report_foreign_exit()
            kind = type(result)  # which may be one that cannot be hashed
            if reduces or kind is GeneratorType or kind is AsyncGeneratorType or type(kind) is StreamType:
                stream = streamed(result, recipe, run)
                if stream is not None:
                    return stream
            if run._status == "pending":  # not ended by hand, inside the function
                run._result = copy_result(result)
                run._close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            run._fail(error, error.__traceback__ and error.__traceback__.tb_next)
            raise

    return dress(wrapper, fn)


# Of the functions that contextlib makes of generator functions.
_managers: Dict[object, str] = {
    contextmanager(print).__code__: "contextmanager",  # type: ignore[arg-type]  # to look at what it makes
    asynccontextmanager(print).__code__: "asynccontextmanager",  # type: ignore[arg-type]  # the same
}


def _innermost(fn: Any) -> Any:
    while isinstance(fn, (partial, MethodType)):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    return fn


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
    decorator = _managers.get(getattr(_innermost(fn), "__code__", None))
    if decorator is not None:
        raise ArgumentTypeError(
            f"expected a function whose call does its work, got {fn!r} of contextlib.{decorator}, whose work is done "
            f"by a with block after the call; leave out @traceable, and write in the function: "
            f"with clew.trace({name_of(fn)!r}): yield"
        )
