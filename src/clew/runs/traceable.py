"""
`traceable`: a function whose every call is a run.

Streams are driven in `clew.runs._tree.streams`; values are copied in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import partial
from types import AsyncGeneratorType, FunctionType, GeneratorType, MethodType
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
    overload,
)
from weakref import WeakSet

from clew._shared.incidents import report
from clew.context._stepping.function_likes import GeneratorFunction
from clew.context._stepping.kinds import Signature, kind_of
from clew.context._stepping.signatures import dress
from clew.context._stepping.throwing import without_next_frame
from clew.context.streams import StreamType
from clew.errors import ArgumentTypeError
from clew.runs import run as _run
from clew.runs._tree import blocks as _blocks, hooks as _hooks
from clew.runs._tree.blocks import ambient, current_identity, leave_call, report_foreign_exit
from clew.runs._tree.identity import Inherited, Nobody, Unsampled, hand_down
from clew.runs._tree.ids import new_id_text, now_ns
from clew.runs._tree.kept.copier import call_without_tracing, copy_value, input_reader, process_payload
from clew.runs._tree.options import (
    check_id,
    check_mapping,
    check_name,
    check_run_type,
    metadata_of_extra,
    options_of_config,
)
from clew.runs._tree.streams import TracedGeneratorFunction, in_place, streamed
from clew.runs.current import block_under, get_current_run_tree
from clew.runs.run import RunTree, open_run
from clew.runs.sampling import settings

__all__ = ("Recipe", "traceable")

# The keyword of one call, by LangSmith's name, and the parameter that is filled in.
_EXTRA = "langsmith_extra"
_RUN_TREE = "run_tree"

_around = ambient.get
_current = current_identity.get

# The traced functions that fill it in.
_filling: WeakSet[Any] = WeakSet()

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
            _filling.add(traced)
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
                run.close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            # The traceback without this frame of ours.
            run.fail(error, error.__traceback__ and error.__traceback__.tb_next)
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
                run.close("success")
            return result
        except BaseException as error:
            leave_call(run._identity, token)
            run.fail(error, error.__traceback__ and error.__traceback__.tb_next)
            raise

    return dress(wrapper, fn)


class Recipe:
    """
    Hold how the runs of one function are made.
    """

    __slots__ = (
        "_fn",
        "_id_text",
        "_name",
        "_on_end",
        "_origin",
        "_own",
        "_place_of_run_tree",
        "_process_inputs",
        "_read_inputs",
        "_reduce",
        "_run_type",
        "_takes_config",
        "copy_chunk",
        "copy_result",
        "fills_run_tree",
        "is_enabled",
    )

    # From a return value, or from one item of a stream, to what is recorded of it.
    copy_result: Callable[[Any], Any]
    copy_chunk: Callable[[Any], Any]
    fills_run_tree: bool
    is_enabled: bool

    def __init__(self, fn: Callable[..., Any], name: Optional[str], run_type: str, own: Optional[Inherited]) -> None:
        self._fn = fn
        self._name = _name_of(fn) if name is None else check_name(name)
        self._run_type = run_type
        self._own = own
        self.is_enabled = True
        signature = Signature(fn)
        self._place_of_run_tree = signature.place_of(_RUN_TREE)
        # What is traced twice gets the run that is current in it, which is the inner one.
        self.fills_run_tree = self._place_of_run_tree is not None and self._place_of_run_tree >= 0 and not _fills(fn)
        self._takes_config = not signature.takes("config")
        # Made at the first recorded call: reading a signature is too slow for import time.
        self._read_inputs: Optional[Callable[..., Dict[str, Any]]] = None
        # For one call with options of its own: whose it was made of, and what it asks for.
        self._origin: Optional[Recipe] = None
        self._id_text: Optional[str] = None
        self._on_end: Optional[Callable[[RunTree], object]] = None

    def __getstate__(self) -> Tuple[None, Dict[str, Any]]:
        # For a pickle by value. The reader of inputs is generated code, and is made anew at the other end.
        state = {name: getattr(self, name) for name in self.__slots__}
        return None, {**state, "_read_inputs": None}

    def process(
        self,
        process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
        process_outputs: Optional[Callable[[Any], Mapping[str, Any]]],
        process_chunk: Optional[Callable[[Any], Any]],
        reduce_fn: Optional[Callable[[List[Any]], Any]],
    ) -> None:
        """
        Have what is recorded go through these.
        """
        self._process_inputs = process_inputs
        self._reduce = reduce_fn
        self.copy_result = (
            copy_value
            if process_outputs is None
            else lambda result: process_payload(process_outputs, result, "outputs")
        )
        if process_chunk is not None:
            self.copy_chunk = lambda chunk: _processed_chunk(process_chunk, chunk)
        else:
            self.copy_chunk = copy_value if reduce_fn is None else _itself

    @property
    def reduces(self) -> bool:
        """
        Whether the items of a stream are all needed at its end.
        """
        return self._reduce is not None

    @property
    def copies_chunks(self) -> bool:
        """
        Whether the items of a stream are recorded as they are.
        """
        return self.copy_chunk is copy_value

    def copy_chunks(self, chunks: List[Any]) -> Any:
        """
        Return what is recorded of a stream as its output.
        """
        value: Any = chunks
        if self._reduce is not None:
            try:
                value = self._reduce(chunks)
            except Exception as error:  # noqa: BLE001  it is the program's own, and has no say in what the program does
                report(
                    "reductions_failed",
                    f"reduce_fn of {self._name!r} raised {type(error).__name__}, so the list of what was yielded "
                    f"is recorded",
                    error=error,
                )
        elif self.copy_result is copy_value:
            return chunks  # which are copies
        return self.copy_result(value)

    def start(  # noqa: C901  written out, as it is in the way of every call
        self, args: Tuple[Any, ...], kwargs: Dict[str, Any], *, later: bool = False
    ) -> Optional[RunTree]:
        """
        Return the run of a call that is about to be made, None if it cannot be recorded.

        With `later`, it is `start_late` that will start it.
        """
        around = _around()
        if not around.is_recorded:
            return None
        parent = _current()
        if parent is not None and not parent.is_sampled:
            return None
        digits = None
        if parent is None and settings.is_sampling:
            decided = settings.decide(self._name, self._run_type, self._own, self._id_text)
            if not isinstance(decided, str):
                return decided  # type: ignore[return-value]  # it plays the part of one
            digits = decided
        run = None
        try:
            read = self._read_inputs or self._make_reader()
            try:
                inputs = read(*args, **kwargs)
            except TypeError:  # the function will refuse this call, too, and its own error is the one to see
                inputs = self._unsorted_inputs(args, kwargs)
            run = open_run(parent, around, self._name, self._run_type, inputs, self._own, digits)
            if self._origin is not None:
                self._give_what_the_call_asks_for(run)
            if not later:
                for hook in _hooks.start_hooks:
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

    def start_late(self, run: RunTree, *, is_unseen: bool) -> None:
        """
        Start the run of a generator, now that its first step is made; `is_unseen` if nobody can have read its ids.
        """
        identity = run._identity
        if run._status != "pending":
            return
        if is_unseen or (identity._id_text is None and identity._order is None):  # in which the time stands
            parent = identity.parent
            identity.start_time_ns = max(now_ns(), 0 if parent is None else parent.start_time_ns)
            if identity._id_text is not None and self._id_text is None:
                # Its random digits have decided that it is recorded.
                identity._id_text = new_id_text(identity.start_time_ns, identity.span_id)
        if _hooks.start_hooks:
            _hooks.notify_start(run)
        else:
            run._ignore_changes()

    def _give_what_the_call_asks_for(self, run: RunTree) -> None:
        if self._id_text is not None:
            run._identity._id_text = self._id_text
        if self._on_end is not None:
            run.call_at_end(self._on_end)

    def filled(
        self, args: Tuple[Any, ...], kwargs: Dict[str, Any], run: Optional[RunTree]
    ) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """
        Return the arguments of a call with `run_tree` among them, unless the caller has passed it.
        """
        place = self._place_of_run_tree or 0
        is_passed = self._is_passed(args)
        if kwargs.get(_RUN_TREE) is not None or (is_passed and args[place] is not None):
            return args, kwargs
        if isinstance(run, Unsampled):
            run = _run.ignored(run)
        if run is None:
            run = get_current_run_tree() or _run.ignored(Nobody(self._name))
        if is_passed:
            return (*args[:place], run, *args[place + 1 :]), kwargs
        return args, {**kwargs, _RUN_TREE: run}

    def _is_passed(self, args: Tuple[Any, ...]) -> bool:
        return len(args) > (self._place_of_run_tree or 0)

    def _make_reader(self) -> Callable[..., Dict[str, Any]]:
        origin = self if self._origin is None else self._origin
        if origin._read_inputs is None:
            if self.fills_run_tree:
                origin._read_inputs = self._reader_without_run_tree()
            else:
                origin._read_inputs = input_reader(self._fn, self._process_inputs)
        self._read_inputs = origin._read_inputs
        return origin._read_inputs

    def _reader_without_run_tree(self) -> Callable[..., Dict[str, Any]]:
        read = input_reader(self._fn, self._process_inputs, without=(_RUN_TREE,))

        def read_call(*args: Any, **kwargs: Any) -> Dict[str, Any]:
            # Which is filled in once there is a run.
            return read(*args, **kwargs) if self._is_passed(args) else read(*args, **{**kwargs, _RUN_TREE: None})

        return read_call

    def is_addressed(self, kwargs: Dict[str, Any]) -> bool:
        """
        Return whether arguments of a call are for its run: ``langsmith_extra=``, or LangChain's ``config=``.
        """
        return _EXTRA in kwargs or (self._takes_config and "config" in kwargs)

    def with_extra(self, kwargs: Dict[str, Any]) -> Tuple[ContextManager[None], Recipe]:
        """
        Return what one call that is addressed is to run in, and how its run is made; take that out of its arguments.
        """
        options: Dict[str, Any] = dict(check_mapping(kwargs.pop(_EXTRA, None) or {}, _EXTRA))
        config = options.pop("config", None)
        if self._takes_config:
            config = kwargs.pop("config", None) or config
        if config is not None:
            options = {
                **options_of_config(config),
                **{key: value for key, value in options.items() if value is not None},
            }
        parent, name = options.pop("parent", None), options.pop("name", None)
        tags, project_name = options.pop("tags", None), options.pop("project_name", None)
        run_id, on_end = options.pop("run_id", None), options.pop("on_end", None)
        if parent is None:
            parent = options.pop("run_tree", None)  # as older releases have it
        own = hand_down(tags, metadata_of_extra(options, options.pop("metadata", None), _EXTRA), project_name)
        if self._own is not None:
            own = self._own if own is None else self._own.overlaid(own)
        recipe = Recipe(self._fn, self._name if name is None else name, self._run_type, own)
        for each in ("_process_inputs", "_reduce", "copy_result", "copy_chunk", "is_enabled"):
            setattr(recipe, each, getattr(self, each))
        recipe._origin = self
        recipe._id_text = None if run_id is None else check_id(run_id)
        recipe._on_end = None if on_end is None else _checked_hook(on_end)
        if parent is None:
            return nullcontext(), recipe
        return block_under(parent), recipe

    def _unsorted_inputs(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Dict[str, Any]:
        if self._process_inputs is None:
            return {"args": copy_value(args), "kwargs": copy_value(kwargs)}
        return process_payload(self._process_inputs, {"args": args, "kwargs": kwargs}, "inputs")


def _itself(chunk: Any) -> Any:
    return chunk


def _processed_chunk(process: Callable[[Any], Any], chunk: Any) -> Any:
    try:
        return copy_value(call_without_tracing(process, chunk))
    except Exception as error:  # noqa: BLE001  anything; and fail closed, as with the payloads
        kind = type(error).__name__
        report("payloads_dropped", f"process_chunk raised {kind}, so a chunk was not recorded", error=error)
        return {"clew.dropped": f"process_chunk raised {kind}"}


def _checked_hook(on_end: Any) -> Callable[[RunTree], object]:
    if not callable(on_end):
        raise ArgumentTypeError(f"expected on_end in langsmith_extra= as a function, got {on_end!r}; pass the function")
    hook: Callable[[RunTree], object] = on_end
    return hook


def _fills(fn: Any) -> bool:
    while type(fn) in (FunctionType, TracedGeneratorFunction):
        if fn in _filling:
            return True
        fn = fn.__dict__.get("__wrapped__")
    return False


# Of the functions that contextlib makes of generator functions.
_managers: Dict[object, str] = {
    contextmanager(print).__code__: "contextmanager",  # type: ignore[arg-type]  # to look at what it makes
    asynccontextmanager(print).__code__: "asynccontextmanager",  # type: ignore[arg-type]  # the same
}


def _innermost(fn: Any) -> Any:
    while isinstance(fn, (partial, MethodType)):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    return fn


def _name_of(fn: Callable[..., Any]) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


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
            f"with clew.trace({_name_of(fn)!r}): yield"
        )
