"""
How the runs of one traced function are made: from its options and the arguments of a call.

How a call is wrapped is in `clew.runs.traceable`; how a stream is driven, in `clew.runs._tree.streams`.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from types import FunctionType
from typing import Any, Callable, ContextManager, Dict, List, Mapping, Optional, Tuple
from weakref import WeakSet

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.context._stepping.function_likes import FunctionLike
from clew.context._stepping.kinds import Signature
from clew.runs import run as _run
from clew.runs._tree import forks as _forks, hooks as _hooks
from clew.runs._tree.added import RunAttributes
from clew.runs._tree.blocks import current_identity, current_options
from clew.runs._tree.forks import ancestors
from clew.runs._tree.identity import NoRun, UnsampledRoot
from clew.runs._tree.ids import digits_of, draw_numbers, new_id_text, next_random_number, now_ns
from clew.runs._tree.inherited import Inherited, make_inherited
from clew.runs._tree.kept.at_once import repeated
from clew.runs._tree.kept.copier import copy_for_run, copy_item
from clew.runs._tree.kept.hiding import hiding
from clew.runs._tree.kept.outputs import copier_of_items, copier_of_results
from clew.runs._tree.kept.payloads import copy_metadata, drop_payload
from clew.runs._tree.kept.signature import has_secret_parameter, input_reader, unbound_inputs
from clew.runs._tree.kept.sizes import take
from clew.runs._tree.options import (
    check_hook,
    check_id,
    check_mapping,
    check_name,
    metadata_of_extra,
    options_of_config,
)
from clew.runs._tree.settings import settings
from clew.runs.current import block_under, get_current_run_tree
from clew.runs.run import RunTree, open_run

__all__ = ("Recipe", "filling_functions", "name_of")

# LangSmith's names: the keyword with the options of one call, and the parameter that gets the run.
_EXTRA = "langsmith_extra"
_RUN_TREE = "run_tree"

_get_options = current_options.get
_current = current_identity.get

# The traced functions whose `run_tree` parameter is filled in.
filling_functions: WeakSet[Any] = WeakSet()

# The recipes of all functions, which are renewed when `clew.configure` changes what is hidden.
_recipes: WeakSet[Recipe] = WeakSet()
_guard = ForkSafeLock()


class Recipe:
    """
    How one function is traced: the options of its runs, and how a run is created from the arguments of a call.
    """

    __slots__ = (
        "__weakref__",
        "_config_is_for_run",
        "_fn",
        "_function_recipe",
        "_has_secret_parameter",
        "_id_text",
        "_metadata",
        "_name",
        "_on_end",
        "_own",
        "_place_of_run_tree",
        "_process_chunk",
        "_process_inputs",
        "_process_outputs",
        "_read_inputs",
        "_reduce",
        "_run_type",
        "copies_chunks",
        "copy_chunk",
        "copy_result",
        "fills_run_tree",
        "is_enabled",
        "is_special",
        "reduces",
        "starts_late",
    )

    # From a return value, or one item of a stream, to the recorded value.
    copy_result: Callable[[Any], Any]
    copy_chunk: Callable[[Any], Any]
    copies_chunks: bool  # items are recorded as copies, without a hook
    reduces: bool  # there is a `reduce_fn`, which needs all items of a stream at its end
    fills_run_tree: bool
    is_enabled: bool
    is_special: bool  # it `starts_late`, or is that of one call
    starts_late: bool  # the run of a generator starts at its first step; as an argument of `start` it would be slower

    def __init__(self, fn: Callable[..., Any], name: Optional[str], run_type: str, own: Optional[Inherited]) -> None:
        self._fn = fn
        self._name = name_of(fn) if name is None else check_name(name)
        self._run_type = run_type
        self._own = own
        self._metadata: Optional[Mapping[str, Any]] = None
        self._has_secret_parameter: Optional[bool] = None  # whether one is hidden; None until needed
        self.is_enabled = True
        self.is_special = self.starts_late = False
        signature = Signature(fn)
        self._place_of_run_tree = signature.place_of(_RUN_TREE)
        # Not if `fn` is itself a traced function that fills in the parameter: the inner run is the current one.
        self.fills_run_tree = self._place_of_run_tree is not None and self._place_of_run_tree >= 0 and not _fills(fn)
        self._config_is_for_run = not signature.takes("config")
        # Created at the first recorded call: reading a signature is too slow for import time.
        self._read_inputs: Optional[Callable[..., Dict[str, Any]]] = None
        # Only in the recipe of one call with options of its own: the recipe of the function, and those options.
        self._function_recipe: Optional[Recipe] = None
        self._id_text: Optional[str] = None
        self._on_end: Optional[Callable[[RunTree], object]] = None

    def __getstate__(self) -> Tuple[None, Dict[str, Any]]:
        # For pickling by value. What reads and copies values is generated by the receiver, as it hides there.
        left_out = ("_has_secret_parameter", "_read_inputs", "copy_chunk", "copy_result")
        return None, {name: getattr(self, name) for name in _FIELDS if name not in left_out}

    def __setstate__(self, state: Tuple[None, Dict[str, Any]]) -> None:
        for name, value in state[1].items():
            setattr(self, name, value)
        self._keep_renewed()

    def set_hooks(
        self,
        metadata: Optional[Mapping[str, Any]],
        process_inputs: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
        process_outputs: Optional[Callable[[Any], Mapping[str, Any]]],
        process_chunk: Optional[Callable[[Any], Any]],
        reduce_fn: Optional[Callable[[List[Any]], Any]],
    ) -> None:
        """
        Set the metadata of the runs, and the hooks that the recorded values go through.
        """
        self._metadata = None if metadata is None else dict(metadata)
        self._process_inputs = check_hook(process_inputs, "process_inputs")
        self._process_outputs = check_hook(process_outputs, "process_outputs")
        self._process_chunk = check_hook(process_chunk, "process_chunk")
        self._reduce = check_hook(reduce_fn, "reduce_fn")
        self._keep_renewed()

    def _keep_renewed(self) -> None:
        _guard.run(_recipes.add, self)
        self.renew()

    def renew(self) -> None:
        """
        Choose how values are read and copied by what is hidden now.
        """
        while True:
            changes = hiding.changes
            self._choose()
            if hiding.changes == changes:
                return

    def _choose(self) -> None:
        self._read_inputs = self._has_secret_parameter = None
        if self._metadata and self._own is not None:
            self._own = Inherited(self._own.project_name, self._own.tags, copy_metadata(self._metadata))
        self.copy_result = copier_of_results(self._process_outputs)
        self.copy_chunk = copier_of_items(self._process_chunk, is_reduced=self._reduce is not None)
        self.copies_chunks = self.copy_chunk is copy_item
        self.reduces = self._reduce is not None

    def recorded_output(self, chunks: List[Any]) -> Any:
        """
        Return the output to record for a stream: of its items, or of what `reduce_fn` makes of them.
        """
        value: Any = chunks
        if hiding.outputs:
            return {}
        if self._reduce is not None:
            try:
                value = self._reduce(chunks)
            except Exception as error:  # noqa: BLE001  a failing hook must not break the traced stream
                if self._process_outputs is not None:  # it may hide by the form of a result that there is not
                    return drop_payload("outputs", f"reduce_fn raised {type(error).__name__}", error)
                report(
                    "reductions_failed",
                    f"reduce_fn of {self._name!r} raised {type(error).__name__}, so the yielded items are recorded",
                    error=error,
                )
        elif self.copy_result is copy_for_run:
            return chunks  # each was copied when it arrived
        return self.copy_result(value)

    def start(  # noqa: C901, PLR0911, PLR0912  written out, as every call runs it
        self, args: Tuple[Any, ...], kwargs: Dict[str, Any]
    ) -> Optional[RunTree]:
        """
        Return the new run of a call, None if the call is not recorded, or the `UnsampledRoot` of an unsampled trace.

        If the recipe `starts_late`, the start hooks are not called: call `start_late` at the first step.
        """
        around = _get_options()
        if not around.is_recorded:
            return None
        parent = _current()
        id_digits = None
        if parent is not None:
            if not parent.is_sampled:
                return None
        elif (sampling := settings.sampling) is not None:
            # A sampling function, or an id given by the caller.
            if type(sampling) is not int or self._id_text is not None:
                decided = settings.decide(self._name, self._run_type, self._own, self._id_text)
                if type(decided) is not str:
                    return decided  # type: ignore[return-value]  # an UnsampledRoot, which the wrappers know
                id_digits = decided
            else:  # what `decide` does, written out: most calls of a sampled service take this way
                try:
                    number = next_random_number()
                except IndexError:
                    number = draw_numbers()
                if number < sampling:
                    root = UnsampledRoot()
                    root.name = self._name
                    root.inherited = self._own
                    root._number = number
                    root._id_text = None
                    return root  # type: ignore[return-value]  # as above
                id_digits = digits_of(number)
        run = None
        try:
            read = self._read_inputs or self._make_reader()
            try:
                inputs = read(*args, **kwargs) if kwargs else read(*args)
            except TypeError:  # the function will refuse these arguments, too, unless it is a wrapper of another one
                inputs = self._unbound_inputs(args, kwargs)
            run = open_run(parent, around, self._name, self._run_type, inputs, self._own, id_digits)
            if self.is_special:
                if self._function_recipe is not None:
                    self._apply_call_options(run)
                if self.starts_late:
                    return run
            for hook in _hooks.start_hooks:
                hook(run)
            return run
        except RecursionError:
            # The function would meet the limit one call later. Up to 3.9, continuing after this error so close
            # to the limit can end the process.
            raise
        except Exception as error:  # noqa: BLE001  tracing never breaks the traced program
            take()
            report("calls_not_recorded", f"a call of {self._name!r} could not be recorded", error=error)
            return None
        except BaseException as interrupt:
            if run is not None:
                run._fail(interrupt, interrupt.__traceback__)
            raise

    def start_late(self, run: RunTree, *, is_unseen: bool) -> None:
        """
        Start the run of a generator at its first step.

        Args:
            run: opened by `start`.
            is_unseen: nobody can have read its ids, so the start time in them may still change.
        """
        identity = run._identity
        if run._status != "pending":
            return
        if is_unseen and run._attributes is None:
            run._attributes = RunAttributes()  # for the event of the first item: nobody else can have set them yet
        if ancestors and run._is_of_other_process():
            # The generator was created before a fork. Whichever process makes the first step has a run of its own.
            is_unseen = True
            run._generation = len(ancestors)
            identity._order = None
            if not identity._id_text:
                identity._id_text = _forks.uncreated_id
        if is_unseen or not (identity._id_text or identity._order):  # the ids contain the start time
            parent = identity.parent
            identity.start_time_ns = max(now_ns(), 0 if parent is None else parent.start_time_ns)
            if identity._id_text and self._id_text is None:
                # Keep the random digits: the sampler has decided by them.
                identity._id_text = new_id_text(identity.start_time_ns, identity.span_id)
        if _hooks.start_hooks:
            _hooks.notify_start(run)
        else:  # the recording has ended since the call
            run._make_non_recording()

    def _apply_call_options(self, run: RunTree) -> None:
        if self._id_text is not None:
            run._identity._id_text = self._id_text
        if self._on_end is not None:
            run._call_at_end(self._on_end)

    def filled(
        self, args: Tuple[Any, ...], kwargs: Dict[str, Any], run: Optional[RunTree]
    ) -> Tuple[Tuple[Any, ...], Dict[str, Any]]:
        """
        Return the arguments of a call with `run_tree` added, unless the caller has passed it.
        """
        place = self._place_of_run_tree or 0
        is_passed = self._passes_run_tree_by_position(args)
        if kwargs.get(_RUN_TREE) is not None or (is_passed and args[place] is not None):
            return args, kwargs
        if isinstance(run, UnsampledRoot):
            run = _run.non_recording_run(run)
        if run is None:
            run = get_current_run_tree() or _run.non_recording_run(NoRun(self._name))
        if is_passed:
            return (*args[:place], run, *args[place + 1 :]), kwargs
        return args, {**kwargs, _RUN_TREE: run}

    def _passes_run_tree_by_position(self, args: Tuple[Any, ...]) -> bool:
        return len(args) > (self._place_of_run_tree or 0)

    def _make_reader(self) -> Callable[..., Dict[str, Any]]:
        origin = self if self._function_recipe is None else self._function_recipe
        changes = hiding.changes
        if origin._read_inputs is None:
            if self.fills_run_tree:
                origin._read_inputs = self._reader_without_run_tree()
            else:
                origin._read_inputs = input_reader(self._fn, self._process_inputs)
        self._read_inputs = read = origin._read_inputs
        # Last, so that what another thread changes after this is followed by its `renew`.
        if hiding.changes != changes or read is None:  # `configure` was called meanwhile
            origin._read_inputs = self._read_inputs = None
            return self._make_reader()
        return read

    def _reader_without_run_tree(self) -> Callable[..., Dict[str, Any]]:
        read = input_reader(self._fn, self._process_inputs, without=(_RUN_TREE,))

        def read_call(*args: Any, **kwargs: Any) -> Dict[str, Any]:
            # The signature may require `run_tree`, which is filled in later, once there is a run.
            if not self._passes_run_tree_by_position(args):
                kwargs[_RUN_TREE] = None
            return read(*args, **kwargs)

        return read_call

    def has_call_options(self, kwargs: Dict[str, Any]) -> bool:
        """
        Return whether a call has options for its run: ``langsmith_extra=``, or LangChain's ``config=``.
        """
        return _EXTRA in kwargs or (self._config_is_for_run and "config" in kwargs)

    def take_call_options(self, kwargs: Dict[str, Any]) -> Tuple[ContextManager[None], Recipe]:
        """
        Remove the options for the run from `kwargs`, the arguments of a call.

        Returns:
            The block in which to make the call, and the recipe of its run.
        """
        options: Dict[str, Any] = dict(check_mapping(kwargs.pop(_EXTRA, None) or {}, _EXTRA))
        config = options.pop("config", None)
        if self._config_is_for_run:
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
            parent = options.pop("run_tree", None)  # the name in older releases of LangSmith
        own = make_inherited(tags, metadata_of_extra(options, options.pop("metadata", None), _EXTRA), project_name)
        if self._own is not None:
            own = self._own if own is None else self._own.overlaid(own)
        recipe = Recipe.__new__(Recipe)
        for each in _FIELDS:
            setattr(recipe, each, getattr(self, each))
        if name is not None:
            recipe._name = check_name(name)
        recipe._own, recipe._function_recipe = own, self
        recipe.is_special = True
        recipe._id_text = None if run_id is None else check_id(run_id)
        recipe._on_end = check_hook(on_end, "on_end in langsmith_extra=")
        if parent is None:
            return nullcontext(), recipe
        return block_under(parent), recipe

    def _unbound_inputs(self, args: Tuple[Any, ...], kwargs: Dict[str, Any]) -> Dict[str, Any]:
        may_be_secret = self._has_secret_parameter
        if may_be_secret is None:
            self._has_secret_parameter = may_be_secret = has_secret_parameter(self._fn)
        return unbound_inputs(args, kwargs, self._process_inputs, may_be_secret=may_be_secret)


_FIELDS = tuple(name for name in Recipe.__slots__ if name != "__weakref__")


def _renew_recipes() -> None:
    # Without a GIL, another thread may let go of a recipe while the set is read.
    recipes: List[Recipe] = repeated(lambda: _guard.run(list, _recipes))
    for recipe in recipes:
        recipe.renew()


hiding.call_after_change(_renew_recipes)


def _fills(fn: Any) -> bool:
    while issubclass(type(fn), (FunctionType, FunctionLike)):
        if fn in filling_functions:
            return True
        fn = fn.__dict__.get("__wrapped__")
    return False


def name_of(fn: Callable[..., Any]) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__name__", None) or type(fn).__name__)
