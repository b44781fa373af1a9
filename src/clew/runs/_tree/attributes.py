"""
What can be changed on a run while it is open: name, type, error, inputs, outputs, tags, metadata and events.

What was added is in `clew.runs._tree.added`; ids, times and what a run inherits are in `clew.runs._tree.identity`.
Values are copied in `clew.runs._tree.kept`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock, keep_first
from clew.runs._tree.added import NON_RECORDING, RunAttributes
from clew.runs._tree.bounds import CUT_KEY, CUT_TAGS, MAX_OBJECTS, extend_bounded, merge_bounded
from clew.runs._tree.forks import ancestors
from clew.runs._tree.identity import Identity
from clew.runs._tree.kept.copier import MAX_CHARS
from clew.runs._tree.kept.errors import ErrorText, text_of
from clew.runs._tree.kept.payloads import copy_inputs, copy_metadata, copy_metadata_measured, copy_outputs
from clew.runs._tree.kept.sizes import LARGE_BYTES, size_of_object, take, totals, waiting
from clew.runs._tree.options import (
    MAX_TAGS,
    Unset,
    check_mapping,
    check_name,
    check_run_type,
    check_tags,
    check_usage,
    error_text,
    time_of,
    unset,
)
from clew.runs._tree.views import Metadata, Tags

__all__ = ("MutableRun",)

_NOTHING: Mapping[str, Any] = {}
# One lock for the changes that a program makes, which are rare. Starting and ending a run take no lock.
_guard = ForkSafeLock()


def _copy_containers(value: Any) -> Any:
    # What is recorded has no containers but dicts and lists, and a bounded depth.
    if type(value) is dict:
        return {key: _copy_containers(item) for key, item in value.items()}
    if type(value) is list:
        return [_copy_containers(item) for item in value]
    return value


class MutableRun:
    """
    The readable and changeable attributes of a `RunTree`.

    A change after the end of the run has no effect and is counted.
    """

    __slots__ = (
        "_attributes",
        "_error",
        "_generation",
        "_inputs",
        "_result",
        "_run_type",
        "_size",
        "_status",
        "end_time_ns",
    )

    _attributes: Optional[RunAttributes]
    _error: Union[str, ErrorText, None]
    _generation: int  # the number of ancestors of the process that opened the run; not set if there are none
    _identity: Identity
    _inputs: Dict[str, Any]  # a copy
    _result: Any  # a copy of what the traced function returned; the slot is empty until then
    _run_type: str
    _size: int  # about how many bytes its large values take
    _status: str
    end_time_ns: Optional[int]

    @property
    def name(self) -> str:
        """
        The name of the run.
        """
        return self._identity.name

    @name.setter
    def name(self, name: str) -> None:
        checked = check_name(name)
        self._change(lambda: setattr(self._identity, "name", checked))

    @property
    def run_type(self) -> str:
        """
        LangSmith's kind of run, such as "chain" or "tool".
        """
        return self._run_type

    @run_type.setter
    def run_type(self, run_type: Optional[str]) -> None:
        checked = check_run_type(run_type)
        self._change(lambda: setattr(self, "_run_type", checked))

    @property
    def status(self) -> str:
        """
        "pending" while the run is open, then "success", "error" or "cancelled"; "ended" if only its ids are known.
        """
        return self._status

    @status.setter
    def status(self, status: Any) -> None:
        raise AttributeError(
            f"expected the status of a run to follow from its end, got {status!r}; call end(), or end(error=...)"
        )

    @property
    def error(self) -> Optional[str]:
        """
        The exception that ended the run, with its traceback, as text; None if there is none.

        You can set an error while the run is open, as with `end`. An exception that ends the run replaces it.
        """
        return text_of(self._error)

    @error.setter
    def error(self, error: Union[str, BaseException, None]) -> None:
        if self._is_non_recording:
            return
        text = None if error is None else error_text(error)

        def change() -> None:
            self._own_attributes().error = self._error = text

        self._change(change)

    @property
    def start_time(self) -> datetime:
        """
        When the run started, in UTC.
        """
        return time_of(self._identity.start_time_ns)

    @property
    def end_time(self) -> Optional[datetime]:
        """
        When the run ended, in UTC; None while it is open, unless an end time was set already.
        """
        end_time_ns = self.end_time_ns
        if end_time_ns is None:
            end_time_ns = (self._attributes or NON_RECORDING).end_time_ns
        return None if end_time_ns is None else time_of(end_time_ns)

    @property
    def inputs(self) -> Dict[str, Any]:
        """
        The inputs of the run, in a new dict. Setting them replaces them.
        """
        copied: Dict[str, Any] = _copy_containers(self._inputs)
        return copied

    @inputs.setter
    def inputs(self, inputs: Optional[Mapping[str, Any]]) -> None:
        self.set(inputs=inputs)

    @property
    def outputs(self) -> Optional[Dict[str, Any]]:
        """
        The outputs of the run, in a new dict: what was returned, merged over what was added. None if there are none.

        Setting them replaces what was added.
        """
        copied: Optional[Dict[str, Any]] = _copy_containers(self._all_outputs())
        return copied

    @outputs.setter
    def outputs(self, outputs: Optional[Mapping[str, Any]]) -> None:
        if not self._is_non_recording:
            copied = None if outputs is None else copy_outputs(outputs)
            self._change(lambda: self._own_attributes().set_part("outputs", copied))

    def _all_outputs(self) -> Optional[Dict[str, Any]]:
        """
        Return the outputs as they are recorded, in a new dict.
        """
        attributes = self._attributes
        added = None if attributes is None else attributes.outputs
        if attributes is not None and "outputs" in attributes.replaced:
            return added and dict(added)
        try:
            result = self._result
        except AttributeError:
            return added and dict(added)
        return {**(added or _NOTHING), **(result if type(result) is dict else {"output": result})}

    @property
    def tags(self) -> List[str]:
        """
        The tags of the run: inherited, given and added ones.

        A change of the list changes the run. Setting them replaces them all.
        """
        return Tags(self)

    @tags.setter
    def tags(self, tags: Optional[Sequence[str]]) -> None:
        if not (isinstance(tags, Tags) and self._is_applied(tags, self._all_tags)):
            self.set(tags=tags)

    def _all_tags(self) -> List[str]:
        """
        Return the tags in a new list.
        """
        attributes = self._attributes or NON_RECORDING
        inherited = None if "tags" in attributes.replaced else self._identity.inherited
        return [*(() if inherited is None else inherited.tags), *attributes.tags]

    @property
    def metadata(self) -> Dict[str, Any]:
        """
        The metadata of the run: inherited, given and added.

        A change of the dict changes the run; a change of a dict inside it does not. Setting it replaces it all.
        """
        return Metadata(self)

    @metadata.setter
    def metadata(self, metadata: Optional[Mapping[str, Any]]) -> None:
        if not (isinstance(metadata, Metadata) and self._is_applied(metadata, self._all_metadata)):
            self.set(metadata=metadata)

    def _all_metadata(self) -> Dict[str, Any]:
        """
        Return the metadata in a new dict, with new dicts and lists inside it.
        """
        attributes = self._attributes or NON_RECORDING
        inherited = None if "metadata" in attributes.replaced else self._identity.inherited
        found = {**(_NOTHING if inherited is None else inherited.metadata), **attributes.metadata}
        for key, value in found.items():
            if type(value) is dict or type(value) is list:
                found[key] = _copy_containers(value)
        return found

    def _is_applied(self, view: Union[Tags, Metadata], read: Callable[[], object]) -> bool:
        # `run.tags += x` calls `__iadd__`, which changes the run, and then assigns the view; ignore that assignment.
        if view._run is not self:
            return False
        recorded = read()
        return (
            self._status != "pending"
            or view == recorded
            or (isinstance(view, Metadata) and copy_metadata(view) == recorded)  # parts of it are hidden
        )

    @property
    def events(self) -> List[Mapping[str, Any]]:
        """
        The events of the run so far, in a new list.
        """
        copied: List[Mapping[str, Any]] = _copy_containers((self._attributes or NON_RECORDING).events)
        return copied

    def add_tags(self, tags: Union[str, Sequence[str]]) -> None:
        """
        Add one tag or several to this run. Children do not inherit them.
        """
        added = check_tags((tags,) if isinstance(tags, str) else tags)
        self._change(lambda: extend_bounded(self._own_attributes().tags, added, MAX_TAGS, CUT_TAGS))

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """
        Merge metadata over that of this run. Children do not inherit it.
        """
        if not self._is_non_recording:
            added, size = copy_metadata_measured(check_mapping(metadata, "metadata"))
            self._change(lambda: self._merge("metadata", self._own_attributes().metadata, added, size))

    def add_inputs(self, inputs: Mapping[str, Any]) -> None:
        """
        Merge inputs over those of the run.
        """
        if not self._is_non_recording:
            added = copy_inputs(inputs)
            size = size_of_object(added, MAX_OBJECTS)

            def change() -> bool:
                merged = dict(self._inputs)
                is_cut = self._merge("inputs", merged, added, size)
                self._inputs = merged
                return is_cut

            self._change(change)

    def add_outputs(self, outputs: Mapping[str, Any]) -> None:
        """
        Merge outputs over those that were added so far.
        """
        if self._is_non_recording:
            return
        added = copy_outputs(outputs)

        size = size_of_object(added, MAX_OBJECTS)

        def change() -> bool:
            attributes = self._own_attributes()
            merged = dict(attributes.outputs or _NOTHING)
            is_cut = self._merge("outputs", merged, added, size)
            attributes.outputs = merged
            return is_cut

        self._change(change)

    def set(
        self,
        *,
        inputs: Union[Mapping[str, Any], Unset, None] = unset,
        outputs: Union[Mapping[str, Any], Unset, None] = unset,
        tags: Union[Sequence[str], Unset, None] = unset,
        metadata: Union[Mapping[str, Any], Unset, None] = unset,
        usage_metadata: Union[Mapping[str, Any], Unset, None] = unset,
    ) -> None:
        """
        Replace the named attributes, inherited tags and metadata included. None removes them.

        Outputs that are set here are final: neither the result of the traced function nor the outputs given to `end`
        are added to them.

        `usage_metadata` is what a model call consumed, in tokens and costs, such as ``input_tokens`` and
        ``total_cost``. It becomes part of the metadata, where LangSmith looks for it.

        Raises:
            ArgumentTypeError: a value is not a dict, or not a list of strings.
            ArgumentValueError: `usage_metadata` has a key that LangSmith does not know.
        """
        if self._is_non_recording:
            return
        changes: List[Callable[[], object]] = []
        if not isinstance(inputs, Unset):
            new_inputs = copy_inputs(inputs)
            changes.append(lambda: setattr(self, "_inputs", new_inputs))
            changes.append(lambda: self._own_attributes().measure("inputs", new_inputs))
        if not isinstance(outputs, Unset):
            new_outputs = None if outputs is None else copy_outputs(outputs)
            changes.append(lambda: self._own_attributes().replace("outputs", new_outputs))
        if not isinstance(tags, Unset):
            new_tags = list(check_tags(tags or ()))
            changes.append(lambda: self._own_attributes().replace("tags", new_tags))
        if not isinstance(metadata, Unset):
            new_metadata = copy_metadata(check_mapping({} if metadata is None else metadata, "metadata"))
            changes.append(lambda: self._own_attributes().replace("metadata", new_metadata))
        if usage_metadata is None:
            changes.append(lambda: self._own_attributes().metadata.pop("usage_metadata", None))
        elif not isinstance(usage_metadata, Unset):
            usage = copy_metadata({"usage_metadata": dict(check_usage(usage_metadata))})
            changes.append(lambda: self._own_attributes().metadata.update(usage))
        self._change(lambda: [change() for change in changes])

    @property
    def _is_non_recording(self) -> bool:
        """
        Whether this run is not recorded.
        """
        return self._attributes is NON_RECORDING

    def _is_of_other_process(self) -> bool:
        """
        Return whether this open run was opened before a fork, by an ancestor of this process.
        """
        return bool(ancestors) and getattr(self, "_generation", 0) != len(ancestors)

    def _make_non_recording(self) -> None:
        """
        Make this a run that is not recorded. Changes have no effect from now on.
        """
        self._attributes = NON_RECORDING

    def _own_attributes(self) -> RunAttributes:
        attributes = self._attributes
        return keep_first(self, "_attributes", RunAttributes()) if attributes is None else attributes

    def _merge(self, part: str, values: Dict[str, Any], added: Mapping[str, Any], size: int) -> bool:
        """
        Merge values into a part of the run. Return True if some are left out; then a further key says so.
        """
        if not self._has_room(part, size, values):
            values[CUT_KEY] = f"<cut: more than {MAX_CHARS} bytes>"
            return True
        return merge_bounded(values, added)

    def _has_room(self, part: str, size: int, values: object) -> bool:
        """
        Return whether a part of the run may grow by so many bytes, and count them. `values` is the part so far.
        """
        sizes = self._own_attributes().sizes
        total = sizes.get(part, 0) + size
        if total > MAX_CHARS and part != "events":
            total = size_of_object(values, MAX_OBJECTS) + size  # without what was replaced meanwhile
        if total > MAX_CHARS:
            return False
        sizes[part] = total
        totals.add(size)
        if total >= LARGE_BYTES and not self._size:
            self._size = 1  # so that the run is measured as a large one
        return True

    def _change(self, change: Callable[[], object]) -> None:
        if waiting:
            take()  # what was copied for this change is measured with it
        if self._is_non_recording:
            return
        is_late = self._status != "pending"
        is_cut = not is_late and _guard.run(change) is True
        # Outside of the lock: reporting logs, and a log handler may change a run, too.
        if is_late:
            self._report_late()
        elif is_cut:
            self._report_cut()

    def _report_cut(self) -> None:
        report("additions_dropped", f"the run {self.name!r} got more values, tags or events than it may have")

    def _report_late(self) -> None:
        report(
            "runs_changed_after_end",
            f"the run {self.name!r} was changed after it had ended; change it earlier",
        )
