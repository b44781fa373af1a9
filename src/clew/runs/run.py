"""
`RunTree`: a run while it is open, and the functions that open one.

How a run becomes current is in `clew.runs._tree.blocks`; what people read of it afterwards, in `clew.runs.finished`.
"""

from __future__ import annotations

from _thread import RLock
from datetime import datetime
from functools import lru_cache
from typing import Any, Dict, Mapping, Optional, Sequence, Union
from uuid import UUID

from clew._shared.locks import RUNS_WITHOUT_GIL, delete_once
from clew.errors import ArgumentTypeError
from clew.runs._tree import forks as _forks, hooks as _hooks
from clew.runs._tree.added import NON_RECORDING
from clew.runs._tree.blocks import OUTSIDE, ScopeOptions, current_options
from clew.runs._tree.forks import ancestors
from clew.runs._tree.hooks import notify_start
from clew.runs._tree.identity import (
    LEVELS,
    Identity,
    Remote,
    UnsampledRoot,
    links_to,
    shorten_chain,
)
from clew.runs._tree.ids import new_id_text, now_ns
from clew.runs._tree.inherited import Inherited, make_inherited
from clew.runs._tree.kept.payloads import copy_inputs
from clew.runs._tree.kept.sizes import LARGE_BYTES, note, take, waiting
from clew.runs._tree.live_run import LiveRun
from clew.runs._tree.options import (
    check_id,
    check_name,
    check_run_type,
    check_time,
    ignore_langsmith_options,
    metadata_of_extra,
)
from clew.runs._tree.settings import settings
from clew.runs._tree.workers import register_fork_hooks
from clew.runs.finished import Run

__all__ = ("RunTree",)


class RunTree(LiveRun):
    """
    A run while it is open: read its ids, add to its payload, create children, end it.

    `get_current_run_tree()` and a `trace` block give you one. Once the run has ended, its ids and headers
    can still be read, and children created. Changes then have no effect, and are counted in `clew.stats()`
    as ``runs_changed_after_end``.

    You can also build a tree by hand: `RunTree(...)`, `post()` to start it, `create_child(...)`, `end()`.

    Context:
        *When*: nothing is captured. *What the callee sees*: nothing; a run built by hand does not become
        current. *What comes back*: nothing. Any thread may call the methods.

    Args:
        run_type: LangSmith's kind of run, such as "chain", "llm", "tool" or "retriever".
        inputs, outputs, metadata: dicts, which are copied.
        tags: strings.
        project_name: the project of the run and its children.
        error: the error that the run will end with, as `end` takes it.
        start_time: a datetime, in UTC unless it has a time zone; now by default. Never before the start of the parent.
        end_time: a datetime for a run that is over already: it ends when it is posted.
        events: as `add_event` takes them.
        id: a UUID or its text; a new one by default.
        parent_run: the parent, a `RunTree` or a finished `Run`.
        options: LangSmith's further options: the metadata in ``extra`` is used. The others have no effect, and are
            counted in `clew.stats()` as ``options_ignored``.

    Raises:
        ArgumentTypeError: an option has the wrong type, or is unknown.
        ArgumentValueError: `id` is not a UUID.
    """

    __slots__ = ()

    def __new__(  # noqa: D102  the class's docstring documents it
        cls,
        name: str,
        run_type: Optional[str] = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        outputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        error: Union[str, BaseException, None] = None,
        start_time: Optional[datetime] = None,
        end_time: Optional[datetime] = None,
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
        id: Union[UUID, str, None] = None,  # noqa: A002  LangSmith's name
        parent_run: Union[RunTree, Run, None] = None,
        **options: Any,
    ) -> RunTree:
        metadata = metadata_of_extra(options, metadata, "RunTree")
        above = None if parent_run is None else _checked_parent(parent_run)
        run = _draft(above, name, run_type, inputs, make_inherited(tags, metadata, project_name), start_time, id)
        run._fill_in(outputs, error, end_time, events)
        return run

    @classmethod
    def from_headers(cls, headers: Any, *, trusted: bool = True) -> Optional[RunTree]:
        """
        Return the run that the headers of a request name as the parent; None if they name none.

        Use it with `create_child`, or as ``parent=`` of `tracing_context`. If the headers name one parent in
        LangSmith's format and another one in W3C's, the first is the parent, and the runs below it are linked to
        the second.

        Args:
            headers: a dict, a list of pairs, a WSGI environ, ASGI's pairs of bytes or the collection of a framework,
                with names in any case. Invalid values are treated as missing, and counted.
            trusted: False for headers of an unknown caller. New runs are roots that are linked to the caller's run.
                Project, tags, metadata, baggage and the sampling decision in the headers are not used.

        Source:
            W3C Trace Context, levels 1 and 2; W3C Baggage; LangSmith's distributed tracing.

        Example:
            >>> import clew
            >>> parent = clew.RunTree.from_headers(
            ...     {"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
            ... )
            >>> parent.create_child("serve").parent_span_id
            '00f067aa0ba902b7'
        """
        remote, _ = loaded_headers().read_headers(headers, is_trusted=trusted)
        return None if remote is None else cls._detached(remote)

    @classmethod
    def from_dotted_order(cls, dotted_order: str) -> Optional[RunTree]:
        """
        Return the run that a dotted order of LangSmith's names; None if it is not valid.

        Use it with `create_child`, or as ``parent=`` of `tracing_context`.
        """
        remote = loaded_headers().read_dotted_order(dotted_order)
        return None if remote is None else cls._detached(remote)

    def to_headers(self) -> Dict[str, str]:
        """
        Return the headers that make this run the parent of the runs that a request starts elsewhere.

        They are `traceparent`, `tracestate`, `baggage` and `langsmith-trace`, as far as there is something to send.
        A run that is not recorded passes on the headers of the received request, so that their trace continues.

        Context:
            *When*: the program's baggage is that of this call. Thread-safe.

        Example:
            >>> import clew
            >>> with clew.record(), clew.trace("call") as run:
            ...     headers = run.to_headers()
            >>> headers["traceparent"] == f"00-{run.trace_id.hex}-{run.span_id}-03"
            True
        """
        is_recorded = not self._is_non_recording and (bool(_hooks.start_hooks) or not hasattr(self, "_is_draft"))
        headers: Dict[str, str] = loaded_headers().headers_of(self._identity, is_recorded=is_recorded)
        return headers

    def create_child(
        self,
        name: str,
        run_type: Optional[str] = "chain",
        *,
        inputs: Optional[Mapping[str, Any]] = None,
        outputs: Optional[Mapping[str, Any]] = None,
        tags: Optional[Sequence[str]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
        project_name: Optional[str] = None,
        error: Union[str, BaseException, None] = None,
        start_time: Optional[datetime] = None,
        end_time: Optional[datetime] = None,
        run_id: Union[UUID, str, None] = None,
        **options: Any,
    ) -> RunTree:
        """
        Return a new child of this run; `post()` starts it. This run may have ended.

        The options are those of `RunTree`.
        """
        metadata = metadata_of_extra(options, metadata, "create_child")
        run = _draft(self, name, run_type, inputs, make_inherited(tags, metadata, project_name), start_time, run_id)
        run._fill_in(outputs, error, end_time)
        return run

    def _fill_in(
        self,
        outputs: Optional[Mapping[str, Any]],
        error: Union[str, BaseException, None],
        end_time: Optional[datetime],
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
    ) -> None:
        if outputs is not None:
            self.add_outputs(outputs)
        if events is not None:
            self.add_event(events)
        self._set_end(error, None if end_time is None else check_time(end_time, "end_time"))

    def _set_end(self, error: Union[str, BaseException, None], end_time_ns: Optional[int]) -> None:
        if error is not None:
            self.error = error
        if end_time_ns is not None:
            self._change(lambda: setattr(self._own_attributes(), "end_time_ns", end_time_ns))

    def post(self, exclude_child_runs: Optional[bool] = None) -> None:  # noqa: FBT001  LangSmith's signature
        """
        Start a run that was built by hand: the active recordings and exporters get it. Other runs have started already.

        Args:
            exclude_child_runs: an option of LangSmith's. It has no effect and is counted; post each child instead.
        """
        if exclude_child_runs is False:
            ignore_langsmith_options({"exclude_child_runs": exclude_child_runs}, "post")
        try:
            delete_once(self, "_is_draft")
        except AttributeError:
            return
        if self._is_non_recording or self._is_of_other_process():
            return
        if not _hooks.start_hooks:
            self._make_non_recording()
            return
        notify_start(self)
        if self._attributes is not None and self._attributes.end_time_ns is not None:
            self._close("success", is_by_hand=True)  # the run was created with an end time
        self._report_end()  # if it ended before it was posted

    def patch(self, *, exclude_inputs: Optional[bool] = None) -> None:  # noqa: ARG002  LangSmith's
        """
        End a run that was built by hand, unless it has ended. Its exporters get all changes with the end.

        Args:
            exclude_inputs: an option of LangSmith's, which has no effect: the inputs are recorded as they are at the
                end.
        """
        if hasattr(self, "_by_hand"):
            self._close("success", is_by_hand=True)

    def end(
        self,
        *,
        outputs: Optional[Mapping[str, Any]] = None,
        error: Union[str, BaseException, None] = None,
        end_time: Optional[datetime] = None,
        events: Optional[Sequence[Union[str, Mapping[str, Any]]]] = None,
        metadata: Optional[Mapping[str, Any]] = None,
    ) -> None:
        """
        End the run: with `outputs` as a success, with `error` as a failure. A second end is counted.

        A traced call or block does not end here. The values are recorded, and the run ends with the call or the
        block; an exception that leaves it takes precedence over `error`.

        Args:
            outputs: a dict, added to the outputs so far; unless `set` has replaced the outputs.
            error: a text, or an exception, which is recorded as text with its traceback.
            end_time: a datetime, in UTC unless it has a time zone; now by default. Never before the start.
            events: as `add_event` takes them.
            metadata: as `add_metadata` takes it.
        """
        end_time_ns = None if end_time is None else check_time(end_time, "end_time")
        has_values = any(value is not None for value in (outputs, error, end_time, events, metadata))
        attributes = self._attributes
        if attributes is not None and attributes.end_time_ns is not None:
            self._change(lambda: setattr(attributes, "end_time_ns", None))  # this end replaces an earlier one
        if outputs is not None and (attributes is None or "outputs" not in attributes.replaced):
            self.add_outputs(outputs)
        if events is not None:
            self.add_event(events)
        if metadata is not None:
            self.add_metadata(metadata)
        self._set_end(error, end_time_ns)
        if hasattr(self, "_by_hand") and not self._close("success", is_by_hand=True) and not has_values:
            self._report_late()  # each value above was counted


@lru_cache(maxsize=None)
def loaded_headers() -> Any:
    """
    Return the module `clew.runs.headers`. It is loaded at first use: most programs neither read nor send headers.
    """
    from clew.runs import headers

    return headers


def _checked_parent(parent_run: Any) -> RunTree:
    if isinstance(parent_run, RunTree):
        return parent_run
    if isinstance(parent_run, Run):
        return RunTree._detached(parent_run._identity)
    raise ArgumentTypeError(
        f"expected parent_run= as a RunTree or a Run, got {type(parent_run).__name__} {parent_run!r}; "
        f"pass the run, or what RunTree.from_headers or RunTree.from_dotted_order makes of it"
    )


_new = object.__new__


def open_run(  # noqa: C901  written out, as every run runs it
    parent: Optional[Identity],
    around: ScopeOptions,
    name: str,
    run_type: str,
    inputs: Dict[str, Any],
    own: Optional[Inherited],
    digits: Optional[str] = None,
) -> RunTree:
    """
    Return a new open run below `parent`; without one, a root.

    The two objects are filled in here instead of in an `__init__` of each, which halves the cost of a run.

    Args:
        parent: the run above.
        around: the current scope options.
        name, run_type: of the run.
        inputs: already a copy.
        own: the run's own project, tags and metadata.
        digits: the random digits of the id, if the sampler has decided by them.
    """
    identity = Identity()
    start_time_ns = now_ns()
    if start_time_ns > _hooks.quiet_until_ns:
        _hooks.call_watchers(start_time_ns)
    run = _new(RunTree)  # RunTree() builds a run by hand
    run._size = _take_size(own) if waiting or own is not None else 0
    if around is not OUTSIDE and around.under is parent:
        if parent is None and around.linked:
            identity.linked = links_to(around.linked)
        if around.inherited is not None:
            own = around.inherited if own is None else around.inherited.overlaid(own)
    identity.parent = parent
    if parent is None:
        identity.inherited = own
        identity.levels_left = LEVELS
    else:
        inherited = parent.inherited
        if own is not None:
            inherited = own if inherited is None else inherited.overlaid(own)
        identity.inherited = inherited
        # The clock may have been set back. A server that sorts by start time would lose the child.
        if start_time_ns < parent.start_time_ns:
            start_time_ns = parent.start_time_ns
        identity.levels_left = levels = parent.levels_left - 1
        if not levels:
            shorten_chain(identity, parent)
    identity.name = name
    identity.start_time_ns = start_time_ns
    identity._order = None
    identity._id_text = _forks.uncreated_id if digits is None else new_id_text(start_time_ns, digits)
    run._identity = identity
    run._run_type = run_type
    run._inputs = inputs
    run._error = run.end_time_ns = run._attributes = None
    run._status = "pending"
    if ancestors:
        run._generation = len(ancestors)
    if RUNS_WITHOUT_GIL:
        run._ender = RLock()
    identity.live = run
    return run


def _take_size(own: Optional[Inherited]) -> int:
    """
    Return about how many bytes the copies for a new run and its own metadata take.
    """
    if own is not None and own.size_bytes >= LARGE_BYTES:
        note(own.size_bytes)
    return take()


def _draft(
    above: Optional[RunTree],
    name: str,
    run_type: Optional[str],
    inputs: Optional[Mapping[str, Any]],
    own: Optional[Inherited],
    start_time: Optional[datetime],
    run_id: Union[UUID, str, None],
) -> RunTree:
    """
    Return a new run that is built by hand and not posted yet.
    """
    id_text = None if run_id is None else check_id(run_id)
    name, run_type, around = check_name(name), check_run_type(run_type), current_options.get()
    start_time_ns = None if start_time is None else check_time(start_time, "start_time")
    is_ignored = above is not None and above._is_non_recording
    parent, linked = None if above is None else above._identity.parent if is_ignored else above._identity, None
    if isinstance(parent, Remote) and not parent.is_trusted:
        parent, linked = None, parent
    is_sampling = parent is None and settings.sampling is not None
    decided = settings.decide(name, run_type, own, id_text) if is_sampling else None
    if isinstance(decided, UnsampledRoot):
        run = non_recording_run(decided)
    else:
        run = open_run(parent, around, name, run_type, copy_inputs(inputs), own, decided)
        if start_time_ns is not None:
            _start_at(run._identity, start_time_ns, decided)
    if id_text is not None:
        run._identity._id_text = id_text
    if linked is not None:
        run._identity.linked = links_to((linked,))
    run._by_hand = run._is_draft = run._is_unreported = True
    if is_ignored or not around.is_enabled or (parent is not None and not parent.is_sampled):
        run._make_non_recording()
    return run


def _start_at(identity: Identity, start_time_ns: int, digits: Optional[str]) -> None:
    parent = identity.parent
    identity.start_time_ns = start_time_ns = max(start_time_ns, 0 if parent is None else parent.start_time_ns)
    if digits is not None:
        identity._id_text = new_id_text(start_time_ns, digits)


def non_recording_run(identity: Identity) -> RunTree:
    """
    Return a `RunTree` for a run that is not recorded: changes to it have no effect.
    """
    # Filled in here, as in `open_run`.
    run = _new(RunTree)
    run._identity = identity
    run._run_type = "chain"
    run._inputs = {}
    run._error = run.end_time_ns = None
    run._attributes = NON_RECORDING
    run._status = "ended"
    run._size = 0
    return run


register_fork_hooks()
