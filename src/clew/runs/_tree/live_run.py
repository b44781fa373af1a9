"""
A run while it is open, below `clew.RunTree`: how it ends, once, and who is notified of that.

What people do with a run is in `clew.runs.run`; its inputs, outputs, tags and metadata in `clew.runs._tree.attributes`.
"""

from __future__ import annotations

from contextvars import copy_context
from types import TracebackType
from typing import Any, Callable, Mapping, Optional, Sequence, Type, TypeVar, Union

from clew._shared.incidents import report
from clew._shared.locks import RUNS_WITHOUT_GIL, delete_once
from clew.errors import ArgumentTypeError
from clew.runs._tree import hooks as _hooks
from clew.runs._tree.added import NON_RECORDING
from clew.runs._tree.attributes import MutableRun
from clew.runs._tree.bounds import MAX_OBJECTS, extend_bounded
from clew.runs._tree.forks import ancestors
from clew.runs._tree.identity import Identity
from clew.runs._tree.ids import now_ns
from clew.runs._tree.kept.copier import MAX_ITEMS
from clew.runs._tree.kept.errors import ErrorText
from clew.runs._tree.kept.hiding import hiding
from clew.runs._tree.kept.payloads import recorded_error, redact_event
from clew.runs._tree.kept.sizes import size_of_object, take, waiting
from clew.runs._tree.kept.status import status_of
from clew.runs._tree.kept.texts import cut
from clew.runs._tree.options import MAX_LABEL_CHARS, check_mapping, event_fields
from clew.runs._tree.settings import Resource, settings
from clew.runs.finished import Identified

__all__ = ("LiveRun",)

_MORE_EVENTS = "<cut: more events>"
_SHORT_CHARS = 64

R = TypeVar("R", bound="LiveRun")


class LiveRun(MutableRun, Identified):
    """
    A run while it is open. `clew.RunTree` is its only subclass.

    Guarantees: a run ends once, also if two threads end it. Its end releases the payload from the context. An exception
    of a hook never reaches the traced program.
    """

    __slots__ = (
        "__weakref__",
        "_by_hand",
        "_ender",
        "_identity",
        "_is_draft",
        "_is_unreported",
        "_resource",
    )

    end_time_ns: Optional[int]
    _ender: Any  # only without a GIL: an RLock, which the thread acquires that ends the run
    _identity: Identity
    _resource: Optional[Resource]  # set at the end of the run
    # Only runs that were built by hand have these three. `delete_once` decides between two threads.
    _by_hand: bool
    _is_draft: bool  # unset once the run is posted
    _is_unreported: bool  # unset once the end hooks are called

    @classmethod
    def _detached(cls: Type[R], identity: Identity) -> R:
        """
        Return a `RunTree` for a run that has ended: it has the ids, and no payload.
        """
        run = object.__new__(cls)
        run._identity = identity
        run._run_type = "chain"
        run._inputs = {}
        run._error = run.end_time_ns = run._attributes = None
        run._status = "ended"
        run._size = 0
        return run

    def add_event(self, event: Union[str, Mapping[str, Any], Sequence[Union[str, Mapping[str, Any]]]]) -> None:
        """
        Add an event, or several in a list. An event is a dict with ``name`` and ``time_ns``, or only the name.

        A missing ``time_ns`` is filled in. LangSmith's ``time``, a datetime or its text, is accepted instead.
        """
        if isinstance(event, (list, tuple)):
            for each in event:
                self.add_event(each)
            return
        if isinstance(event, str):
            name = cut(event, MAX_LABEL_CHARS)
            # Short ones are bounded by their number.
            named, size = {"name": name}, len(name) if len(name) > _SHORT_CHARS else 0
        else:
            named = event_fields(check_mapping(event, "event"))
            size = size_of_object(named, MAX_OBJECTS)
        fields = self._event(named)
        self._change(lambda: self._extend_events(fields, size))

    def _event(self, named: Mapping[str, Any]) -> Mapping[str, Any]:
        """
        Return an event as it is recorded: with its time, unless it is given, and as `redact` returns it.
        """
        time_ns, start_time_ns = now_ns(), self._identity.start_time_ns
        # The clock may have been set back.
        fields = {"time_ns": time_ns if time_ns > start_time_ns else start_time_ns, **named}
        return fields if hiding.redact is None or self._is_non_recording else redact_event(fields)

    def _note_first_item(self) -> None:
        """
        Add the event of the first item of a stream, without the lock that changes by the program take.
        """
        if self._attributes is NON_RECORDING:
            return
        fields = self._event({"name": "new_token"})
        events = self._own_attributes().events
        if not events:
            events.append(fields)
        elif self._extend_events(fields, 0):
            self._report_cut()

    def _extend_events(self, fields: Mapping[str, Any], size: int) -> bool:
        events = self._own_attributes().events
        if events and events[-1]["name"] == _MORE_EVENTS:
            return True
        marker = {"name": _MORE_EVENTS, "time_ns": fields["time_ns"]}
        if not size or self._has_room("events", size, events):
            return extend_bounded(events, [fields], MAX_ITEMS, marker)
        events.append(marker)
        return True

    def _close(  # noqa: C901, PLR0912  written out, as every run runs it
        self,
        status: str,
        error: Union[str, ErrorText, None] = None,
        is_by_hand: bool = False,  # noqa: FBT001, FBT002  a parameter by keyword alone would make each call slower
    ) -> bool:
        """
        End the run with a status, once, and return whether this call was the one that ended it.
        """
        identity = self._identity
        try:
            try:
                # Deleting the slot releases the payload: from here on the context refers to the identity only. With a
                # GIL, it also decides between two threads that end a run at once. Without one, a lock does, which stays
                # with its thread: after an interrupt, a second call can go on.
                if RUNS_WITHOUT_GIL and not self._claim_end():
                    return False
                del identity.live
            except AttributeError:
                return False
            end_time_ns = now_ns()
            attributes = self._attributes
            if attributes is not None:
                if attributes.error is not None and status == "success":
                    status, error = "error", attributes.error
                if attributes.end_time_ns is not None:
                    end_time_ns = attributes.end_time_ns
            self._error = error
            self.end_time_ns = end_time_ns if end_time_ns > identity.start_time_ns else identity.start_time_ns
            self._resource = settings.resource  # a later `configure` applies to later runs only
            if waiting:
                self._size += take()
            self._status = status
        except BaseException:  # an interrupt: the run can be ended again
            if self._status == "pending" and not hasattr(identity, "live"):
                identity.live = self
            raise
        if attributes is not None and attributes.on_end is not None:
            attributes.on_end(self)
        if _hooks.end_hooks and self._attributes is not NON_RECORDING:
            if ancestors and self._is_of_other_process():
                pass  # only this process's copy has ended; the process that opened the run reports its end
            elif is_by_hand:
                self._report_end()
            else:
                for hook in _hooks.end_hooks:
                    hook(self)
        return True

    def _claim_end(self) -> bool:
        """
        Return whether this thread may end the run. Without a GIL, only the first one that asks may.
        """
        return not RUNS_WITHOUT_GIL or bool(self._ender.acquire(blocking=False))

    def _report_end(self) -> None:
        """
        Call the end hooks with a run that was built by hand, once it is both posted and ended.
        """
        if hasattr(self, "_is_draft") or self._status == "pending":
            return
        try:
            delete_once(self, "_is_unreported")
        except AttributeError:
            return
        for hook in _hooks.end_hooks:
            hook(self)

    def _call_at_end(self, hook: Callable[[Any], object]) -> None:
        """
        Call `hook` with this run when it has ended. An exception of the hook is counted in `clew.stats()`.
        """

        def call(run: LiveRun) -> None:
            if run._is_of_other_process():
                return
            try:
                hook(run)
            except Exception as error:  # noqa: BLE001  a failing hook must not break the traced call
                report("end_hooks_failed", f"on_end of the run {run.name!r} failed", error=error)

        self._own_attributes().on_end = call

    def _fail(self, error: BaseException, traceback: Optional[TracebackType]) -> None:
        """
        End the run by an exception, as "error" or "cancelled".

        It raises nothing: an exception from here would replace the program's own.

        Args:
            error: the exception.
            traceback: the first part of its traceback that is recorded.
        """
        if self._status != "pending":
            return
        text = None
        try:
            if isinstance(error, GeneratorExit):
                # The collector may be closing the body of this run. Describing the error sets a variable, and so may a
                # hook; nothing may be set in the context that is current then (see `Collectable`).
                context = copy_context()
                text = context.run(recorded_error, error, traceback)
                context.run(self._close, status_of(error), text)
            else:
                text = recorded_error(error, traceback)
                self._close(status_of(error), text)
        except Exception as failure:  # noqa: BLE001  a hook failed, or the stack is full
            if self._status == "pending":
                # What `_close` does, without any call: the stack may be full.
                self._status = "error"
                self._error = text
                self.end_time_ns = self._identity.start_time_ns
                try:  # noqa: SIM105  `suppress` is a call
                    del self._identity.live
                except AttributeError:
                    pass
            if not isinstance(failure, RecursionError):  # up to 3.9, little can run after a RecursionError
                report("end_hooks_failed", f"the end of the run {self.name!r} could not be recorded", error=failure)

    # A run ends once: a copy is the run itself.

    def __copy__(self: R) -> R:  # noqa: PYI019  Self would load typing_extensions
        return self

    def __deepcopy__(self: R, memo: object) -> R:  # noqa: PYI019  as `__copy__`
        return self

    def __reduce__(self) -> Any:
        raise ArgumentTypeError(
            f"expected an object that can be pickled, found {self!r}, a run of this process; send its headers, "
            f"run.to_headers(), and nest under them there: tracing_context(parent=headers)"
        )

    def __repr__(self) -> str:
        return f"<clew.RunTree {self.name!r} {self._status}>"
