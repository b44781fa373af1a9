"""
`traceable`: a function whose every call is a run.

For plain functions and coroutine functions; what a generator yields over time is another matter.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial, update_wrapper
from typing import Any, Callable, ContextManager, Dict, Mapping, Optional, Sequence, Tuple, TypeVar, Union, overload

from clew.context._kinds import kind_of, wrapper_assignments
from clew.errors import ArgumentTypeError, ArgumentValueError
from clew.incidents import report
from clew.payloads import check_mapping, check_name, copy_value, input_reader, process_payload
from clew.runs import run as _run
from clew.runs.current import leave_call, tracing_context
from clew.runs.identity import Inherited, ambient, current_identity, hand_down, report_foreign_exit
from clew.runs.run import RunTree, open_run

__all__ = ("traceable",)

# The keyword of one call, by LangSmith's name.
_EXTRA = "langsmith_extra"

_around = ambient.get
_current = current_identity.get

F = TypeVar("F", bound=Callable[..., Any])


@overload
def traceable(fn: F, /) -> F: ...


@overload
def traceable(
    run_type: str = "chain",
    *,
    name: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    metadata: Optional[Mapping[str, Any]] = None,
    project_name: Optional[str] = None,
    process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]] = None,
    process_outputs: Optional[Callable[[Any], Mapping[str, Any]]] = None,
) -> Callable[[F], F]: ...


def traceable(
    run_type: Union[Callable[..., Any], str] = "chain",
    *,
    name: Optional[str] = None,
    tags: Optional[Sequence[str]] = None,
    metadata: Optional[Mapping[str, Any]] = None,
    project_name: Optional[str] = None,
    process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]] = None,
    process_outputs: Optional[Callable[[Any], Mapping[str, Any]]] = None,
) -> Any:
    """
    Record each call of a function as a run: its inputs, its output or error, its place in the tree.

    Use it bare, ``@traceable``, or with options, ``@traceable(run_type="tool", name="search")``. The
    result is a function of the same kind with the same signature, and does what the function does:
    same result, same exceptions, same task, same changes to the caller's ContextVars. With recording
    off it calls the function straight away.

    The inputs are the arguments under their parameters' names, without `self` and `cls`; the output
    is the dict that is returned, or ``{"output": value}``. Both are copied at once, and bounded.

    Context:
        *When*: the parent is the current run at the call; for a coroutine function, at the first step
        of the coroutine, which runs in the context of whoever awaits it. *What the callee sees*: its
        own run as the current one, and nothing else changed. *What comes back*: everything that the
        undecorated function would let through; the caller's run is current again. Thread-safe and
        re-entrant.

    Args:
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever".
        name: the name of the run; the function's by default.
        tags, metadata, project_name: for this run and those under it.
        process_inputs: from the dict of inputs to the dict to record. If it raises, none is recorded.
        process_outputs: from the return value to the dict to record. If it raises, none is recorded.

    One call may say more, in ``langsmith_extra={...}``, which the function does not get: ``parent``, as
    `tracing_context` takes it or "ignore" for a new trace, and ``name``, ``tags``, ``metadata`` and
    ``project_name``.

    Raises:
        ArgumentTypeError: what is decorated is not callable, or is a generator function; from the call,
            ``langsmith_extra`` is no dict, or ``parent`` no parent.
        ArgumentValueError: from the call, ``langsmith_extra`` has something else.

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

    def decorate(fn: F) -> F:
        if isinstance(fn, (staticmethod, classmethod)):
            rewrap: Any = type(fn)
            rewrapped: F = rewrap(decorate(fn.__func__))
            return rewrapped
        _check(fn)
        if name is not None:
            check_name(name)
        recipe = _Recipe(fn, name, kind, hand_down(tags, metadata, project_name), process_inputs, process_outputs)
        traced: F = (_traced_coroutine_function if kind_of(fn) == "coroutine" else _traced_function)(fn, recipe)
        return traced

    if isinstance(run_type, str):
        kind = run_type
        return decorate
    kind = "chain"
    return decorate(run_type)


# The two wrappers differ in their `await`, and are written out, as a call between would cost each
# recorded call some three per cent. In both, everything from making the run current on stands in the
# `try`: an interrupt can come anywhere.


def _traced_coroutine_function(fn: Callable[..., Any], recipe: _Recipe) -> Any:
    start, copy_result, reset = recipe.start, recipe.copy_result, current_identity.reset

    async def async_wrapper(*args: Any, **kwargs: Any) -> Any:
        if _EXTRA in kwargs:
            context, recipe_of_call = recipe.with_extra(kwargs.pop(_EXTRA))
            with context:
                return await _traced_coroutine_function(fn, recipe_of_call)(*args, **kwargs)
        run = start(args, kwargs) if _run.start_hooks else None
        if run is None:
            return await fn(*args, **kwargs)
        token = None
        try:
            token = current_identity.set(run._identity)
            result = await fn(*args, **kwargs)
            try:
                reset(token)
            except ValueError:
                report_foreign_exit()
            if run.status == "pending":  # not ended by hand, inside the function
                run.result = copy_result(result)
                run.close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            # The traceback without this frame of ours.
            run.fail(error, error.__traceback__ and error.__traceback__.tb_next)
            raise

    return update_wrapper(async_wrapper, fn, wrapper_assignments(fn))


def _traced_function(fn: Callable[..., Any], recipe: _Recipe) -> Any:
    start, copy_result, reset = recipe.start, recipe.copy_result, current_identity.reset

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if _EXTRA in kwargs:
            context, recipe_of_call = recipe.with_extra(kwargs.pop(_EXTRA))
            with context:
                return _traced_function(fn, recipe_of_call)(*args, **kwargs)
        run = start(args, kwargs) if _run.start_hooks else None
        if run is None:
            return fn(*args, **kwargs)
        token = None
        try:
            token = current_identity.set(run._identity)
            result = fn(*args, **kwargs)
            try:
                reset(token)
            except ValueError:
                report_foreign_exit()
            if run.status == "pending":  # not ended by hand, inside the function
                run.result = copy_result(result)
                run.close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            run.fail(error, error.__traceback__ and error.__traceback__.tb_next)
            raise

    return update_wrapper(wrapper, fn, wrapper_assignments(fn))


class _Recipe:
    """
    Hold how the runs of one function are made.
    """

    __slots__ = ("_fn", "_name", "_origin", "_own", "_process_inputs", "_read_inputs", "_run_type", "copy_result")

    def __init__(
        self,
        fn: Callable[..., Any],
        name: Optional[str],
        run_type: str,
        own: Optional[Inherited],
        process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
        process_outputs: Optional[Callable[[Any], Mapping[str, Any]]],
    ) -> None:
        self._fn = fn
        self._name = name or _name_of(fn)
        self._run_type = run_type
        self._own = own
        self._process_inputs = process_inputs
        # From a return value to what is recorded of it.
        self.copy_result: Callable[[Any], Dict[str, Any]] = (
            copy_value
            if process_outputs is None
            else lambda result: process_payload(process_outputs, result, "outputs")
        )
        # Made at the first recorded call: reading a signature is too slow for import time.
        self._read_inputs: Optional[Callable[..., Dict[str, Any]]] = None
        # For one call with options of its own: whose it was made of.
        self._origin: Optional[_Recipe] = None

    def start(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Optional[RunTree]:
        """
        Return the run of a call that is about to be made, None if it cannot be recorded.
        """
        around = _around()
        if not around.is_recorded:
            return None
        run = None
        try:
            read = self._read_inputs or self._make_reader()
            try:
                inputs = read(*args, **kwargs)
            except TypeError:  # the function will refuse this call, too, and its own error is the one to see
                inputs = self._unsorted_inputs(args, kwargs)
            run = open_run(_current(), around, self._name, self._run_type, inputs, self._own)
            for hook in _run.start_hooks:
                hook(run)
            return run
        except RecursionError:
            # The function would have met the same wall one call later. Up to 3.9, going on after this
            # error so close to the limit ends the process.
            raise
        except Exception as error:  # noqa: BLE001  tracing never breaks the traced program
            report("calls_not_recorded", f"a call of {self._name!r} could not be recorded", error=error)
            return None
        except BaseException as interrupt:
            if run is not None:
                run.fail(interrupt, interrupt.__traceback__)
            raise

    def _make_reader(self) -> Callable[..., Dict[str, Any]]:
        origin = self if self._origin is None else self._origin
        if origin._read_inputs is None:
            origin._read_inputs = input_reader(self._fn, self._process_inputs)
        self._read_inputs = origin._read_inputs
        return origin._read_inputs

    def with_extra(self, extra: Any) -> Tuple[ContextManager[None], _Recipe]:
        """
        Return what one call with ``langsmith_extra=`` is to run in, and how its run is made.
        """
        options: Dict[str, Any] = dict(check_mapping(extra or {}, _EXTRA))
        parent, name = options.pop("parent", None), options.pop("name", None)
        own = hand_down(options.pop("tags", None), options.pop("metadata", None), options.pop("project_name", None))
        if options:
            raise ArgumentValueError(
                f"expected parent, name, tags, metadata or project_name in langsmith_extra=, got {sorted(options)}; "
                f"leave them out"
            )
        if self._own is not None:
            own = self._own if own is None else self._own.overlaid(own)
        name = self._name if name is None else check_name(name)
        recipe = _Recipe(self._fn, name, self._run_type, own, self._process_inputs, None)
        recipe.copy_result, recipe._origin = self.copy_result, self
        if parent is None:
            return nullcontext(), recipe
        return tracing_context(parent=False if isinstance(parent, str) and parent == "ignore" else parent), recipe

    def _unsorted_inputs(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Dict[str, Any]:
        if self._process_inputs is None:
            return {"args": copy_value(args), "kwargs": copy_value(kwargs)}
        return process_payload(self._process_inputs, {"args": args, "kwargs": kwargs}, "inputs")


def _name_of(fn: Callable[..., Any]) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


def _check(fn: object) -> None:
    if not callable(fn):
        raise ArgumentTypeError(
            f"expected a function to trace, got {type(fn).__name__} {fn!r}; "
            f"write @traceable, or @traceable(run_type=..., name=...) with options"
        )
    kind = kind_of(fn)
    if "generator" in kind:
        raise ArgumentTypeError(
            f"expected a plain or a coroutine function, got {kind} function {fn!r}, whose body runs while it "
            f"is read; trace the function that reads it, or open a trace(...) block around the loop"
        )
