"""
What is said of a run beside its place, and changed while it is open: inputs, outputs, tags, metadata, events.

What a run has from above it is in `clew.runs._tree.identity`; how a value is copied, in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

from datetime import datetime
from functools import update_wrapper
from typing import Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional, Sequence, Union

from clew._shared.incidents import report
from clew._shared.locks import ForkSafeLock
from clew.runs._tree.identity import Identity
from clew.runs._tree.kept.copier import copy_payload, copy_value
from clew.runs._tree.kept.errors import ErrorText, text_of
from clew.runs._tree.options import (
    check_mapping,
    check_name,
    check_run_type,
    check_tags,
    check_usage,
    error_text,
    time_of,
)

__all__ = ("NON_RECORDING", "Metadata", "MutableRun", "RunAttributes", "Tags", "Unset", "unset")

_NOTHING: Mapping[str, Any] = {}
# One lock for the rare changes from outside; starting and ending a run take none.
_guard = ForkSafeLock()


class Unset:
    """
    Say of an option that it was not given, where None says something.
    """

    def __repr__(self) -> str:
        return "..."


unset: Unset = Unset()


class Tags(List[str]):
    """
    Be the tags of a run, to be read and changed in place, as LangSmith's are.
    """

    __slots__ = ("_run",)

    def __init__(self, run: MutableRun) -> None:
        super().__init__(run._all_tags())
        self._run = run

    def append(self, tag: str) -> None:
        """
        Add a tag to the run, too.
        """
        self.extend([tag])

    def extend(self, tags: Iterable[str]) -> None:
        """
        Add tags to the run, too.
        """
        added = check_tags(tags)
        super().extend(added)
        self._run.add_tags(added)

    def __iadd__(self, tags: Iterable[str]) -> Tags:  # type: ignore[override,misc]
        self.extend(tags)
        return self

    def _is_applied_to(self, run: MutableRun) -> bool:
        """
        Return whether the run has these tags already, or has been refused them.

        That is what ``run.tags += [...]`` ends with, which sets what it has extended.
        """
        return self._run is run and (run._status != "pending" or self == run._all_tags())

    def __reduce__(self) -> Any:
        return list, (list(self),)


class Metadata(Dict[str, Any]):
    """
    Be the metadata of a run, to be read and changed in place, as LangSmith's is.
    """

    __slots__ = ("_run",)

    def __init__(self, run: MutableRun) -> None:
        super().__init__(run._all_metadata())
        self._run = run

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def setdefault(self, key: str, default: Any = None) -> Any:
        """
        Return what there is, or add it to the run, too.
        """
        if key not in self:
            self.update({key: default})
        return self[key]

    def update(self, *given: Any, **more: Any) -> None:
        """
        Add metadata to the run, too.
        """
        added = dict(*given, **more)
        super().update(added)
        self._run.add_metadata(added)

    def __ior__(self, metadata: Any) -> Metadata:  # type: ignore[override,misc]
        self.update(metadata)
        return self

    def _is_applied_to(self, run: MutableRun) -> bool:
        """
        Return whether the run has this metadata already, or has been refused it, as with `Tags`.
        """
        return self._run is run and (run._status != "pending" or self == run._all_metadata())

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


def _written_back(kind: type, name: str, field: str) -> Any:
    change = getattr(kind, name)

    def method(self: Any, *args: Any, **options: Any) -> Any:
        result = change(self, *args, **options)
        self._run.set(**{field: self})
        return result

    return update_wrapper(method, change)


# What adds nothing is rare, and the run is told of the whole.
for _name in ("__delitem__", "__imul__", "__setitem__", "clear", "insert", "pop", "remove", "reverse", "sort"):
    setattr(Tags, _name, _written_back(list, _name, "tags"))
for _name in ("__delitem__", "clear", "pop", "popitem"):
    setattr(Metadata, _name, _written_back(dict, _name, "metadata"))


class RunAttributes:
    """
    Hold what was added to a run while it was open; most runs have none.
    """

    __slots__ = ("end_time_ns", "error", "events", "metadata", "on_end", "outputs", "replaced", "tags")

    def __init__(self) -> None:
        self.end_time_ns: Optional[int] = None  # in place of that of its end
        self.error: Optional[str] = None
        self.on_end: Optional[Callable[[Any], object]] = None  # gets the RunTree
        self.outputs: Optional[Dict[str, Any]] = None
        self.tags: List[str] = []
        self.metadata: Dict[str, Any] = {}
        self.events: List[Mapping[str, Any]] = []
        self.replaced: FrozenSet[str] = frozenset()  # what of these stands instead of all else, and not beside it

    def replace(self, name: str, value: object) -> None:
        """
        Have something stand instead of all else that there is of it.
        """
        setattr(self, name, value)
        self.replaced |= {name}

    def add_outputs(self, outputs: Dict[str, Any]) -> None:
        """
        Add outputs over those that there are.
        """
        self.outputs = {**(self.outputs or _NOTHING), **outputs}


NON_RECORDING = RunAttributes()  # of the runs that nobody records


def _unshared(value: Any) -> Any:
    # What is recorded has no other containers, and no more levels than a copy may have.
    if type(value) is dict:
        return {key: _unshared(item) for key, item in value.items()}
    if type(value) is list:
        return [_unshared(item) for item in value]
    return value


class MutableRun:
    """
    Give a run what is read of it beside its place, and what changes that while it is open.

    Once it has ended, what would change it does nothing and is counted.
    """

    __slots__ = ("_attributes", "_error", "_inputs", "_result", "_run_type", "_status", "end_time_ns")

    _attributes: Optional[RunAttributes]
    _error: Union[str, ErrorText, None]
    _identity: Identity
    _inputs: Dict[str, Any]  # a copy
    _run_type: str
    _status: str
    end_time_ns: Optional[int]
    _result: Any  # a copy of what the traced function returned, unset until it has

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
        What has become of the run: "pending" until it has ended, and "ended" where more is not known.
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
        The exception that has ended the run, with its traceback, as text; None where there is none.

        What is set while the run is open, as `end` takes it, will stand there unless an exception ends the run.
        """
        return text_of(self._error)

    @error.setter
    def error(self, error: Union[str, BaseException, None]) -> None:
        if self._is_ignored:
            return
        told = None if error is None else error_text(error)

        def change() -> None:
            self._own_attributes().error = self._error = told

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
        When the run ended, in UTC; None while it is open, unless it was told already.
        """
        end_time_ns, attributes = self.end_time_ns, self._attributes
        if end_time_ns is None and attributes is not None:
            end_time_ns = attributes.end_time_ns
        return None if end_time_ns is None else time_of(end_time_ns)

    @property
    def inputs(self) -> Dict[str, Any]:
        """
        The inputs of the run. Setting them replaces them.
        """
        return self._inputs

    @inputs.setter
    def inputs(self, inputs: Optional[Mapping[str, Any]]) -> None:
        self.set(inputs=inputs)

    @property
    def outputs(self) -> Optional[Dict[str, Any]]:
        """
        The outputs of the run, in a new dict: what was returned, over what was added. None where there are none.

        Setting them replaces what was added.
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

    @outputs.setter
    def outputs(self, outputs: Optional[Mapping[str, Any]]) -> None:
        if self._attributes is not NON_RECORDING:
            made = None if outputs is None else copy_payload(outputs, "output")
            self._change(lambda: setattr(self._own_attributes(), "outputs", made))

    @property
    def tags(self) -> List[str]:
        """
        The tags of the run, with what it inherited, what it was given and what was added.

        What is changed in the list is changed in the run. Setting them replaces them all.
        """
        return Tags(self)

    @tags.setter
    def tags(self, tags: Optional[Sequence[str]]) -> None:
        if not isinstance(tags, Tags) or not tags._is_applied_to(self):
            self.set(tags=tags)

    def _all_tags(self) -> List[str]:
        """
        Return the tags in a list that is nobody else's.
        """
        inherited, attributes = self._identity.inherited, self._attributes
        is_inherited = inherited is not None and (attributes is None or "tags" not in attributes.replaced)
        return [
            *(inherited.tags if inherited is not None and is_inherited else ()),
            *(() if attributes is None else attributes.tags),
        ]

    @property
    def metadata(self) -> Dict[str, Any]:
        """
        The metadata of the run, with what it inherited, what it was given and what was added.

        What is changed in the dict is changed in the run; what is changed in a dict inside of it is not. Setting it
        replaces it all.
        """
        return Metadata(self)

    @metadata.setter
    def metadata(self, metadata: Optional[Mapping[str, Any]]) -> None:
        if not isinstance(metadata, Metadata) or not metadata._is_applied_to(self):
            self.set(metadata=metadata)

    def _all_metadata(self) -> Dict[str, Any]:
        """
        Return the metadata in a dict that is nobody else's.
        """
        inherited, attributes = self._identity.inherited, self._attributes
        is_inherited = inherited is not None and (attributes is None or "metadata" not in attributes.replaced)
        found = {
            **(inherited.metadata if inherited is not None and is_inherited else _NOTHING),
            **(_NOTHING if attributes is None else attributes.metadata),
        }
        for key, value in found.items():
            if type(value) is dict or type(value) is list:
                found[key] = _unshared(value)
        return found

    @property
    def events(self) -> List[Mapping[str, Any]]:
        """
        The events of the run so far, in a new list.
        """
        return [] if self._attributes is None else list(self._attributes.events)

    def add_tags(self, tags: Union[str, Sequence[str]]) -> None:
        """
        Add one tag or several to this run. Children do not get them.
        """
        added = (tags,) if isinstance(tags, str) else check_tags(tags)
        self._change(lambda: self._own_attributes().tags.extend(added))

    def add_metadata(self, metadata: Mapping[str, Any]) -> None:
        """
        Add metadata to this run, over what it had. Children do not get it.
        """
        if self._attributes is NON_RECORDING:
            return
        added = copy_value(dict(check_mapping(metadata, "metadata")))
        self._change(lambda: self._own_attributes().metadata.update(added))

    def add_inputs(self, inputs: Mapping[str, Any]) -> None:
        """
        Add to the inputs of the run, over what they were.
        """
        if self._attributes is NON_RECORDING:
            return
        added = copy_payload(inputs, "input")

        def change() -> None:
            self._inputs = {**self._inputs, **added}

        self._change(change)

    def add_outputs(self, outputs: Mapping[str, Any]) -> None:
        """
        Add to the outputs of the run, over what they were.
        """
        if self._attributes is NON_RECORDING:
            return
        added = copy_payload(outputs, "output")
        self._change(lambda: self._own_attributes().add_outputs(added))

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
        Replace what is named, inherited tags and metadata included; None takes it out.

        Outputs that are set stay: what the traced function returns, or `end` is given, does not get into them any
        more.

        `usage_metadata` is what a model was used for, in tokens and costs, such as ``input_tokens`` and ``total_cost``.
        It becomes part of the metadata, where LangSmith looks for it.

        Raises:
            ArgumentTypeError: something is no dict, or no list of strings.
            ArgumentValueError: `usage_metadata` has something in it that LangSmith does not know.
        """
        if self._attributes is NON_RECORDING:
            return
        changes: List[Callable[[], None]] = []
        if not isinstance(inputs, Unset):
            copied = copy_payload(inputs, "input")
            changes.append(lambda: setattr(self, "_inputs", copied))
        if not isinstance(outputs, Unset):
            made = None if outputs is None else copy_payload(outputs, "output")
            changes.append(lambda: self._own_attributes().replace("outputs", made))
        if not isinstance(tags, Unset):
            checked = list(check_tags(tags or ()))
            changes.append(lambda: self._own_attributes().replace("tags", checked))
        if not isinstance(metadata, Unset):
            given = copy_value(dict(check_mapping(metadata or {}, "metadata")))
            changes.append(lambda: self._own_attributes().replace("metadata", given))
        if usage_metadata is None:
            changes.append(lambda: self._own_attributes().metadata.pop("usage_metadata", None))
        elif not isinstance(usage_metadata, Unset):
            usage = copy_value(dict(check_usage(usage_metadata)))
            changes.append(lambda: self._own_attributes().metadata.update(usage_metadata=usage))
        self._change(lambda: [change() for change in changes])

    @property
    def _is_ignored(self) -> bool:
        """
        Whether nobody records this run, nor will.
        """
        return self._attributes is NON_RECORDING

    def _ignore_changes(self) -> None:
        """
        Have what is added from now on go nowhere: the run of a block that nobody records.
        """
        self._attributes = NON_RECORDING

    def _own_attributes(self) -> RunAttributes:
        if self._attributes is None:
            self._attributes = RunAttributes()
        return self._attributes

    def _change(self, change: Callable[[], object]) -> None:
        if self._attributes is NON_RECORDING:
            return
        with _guard.lock:
            if self._status == "pending":
                change()
                return
        # Not under the lock: a handler of the log may want to change a run, too.
        self._report_late_change()

    def _report_late_change(self) -> None:
        report(
            "runs_changed_after_end",
            f"the run {self.name!r} was changed after it had ended; change it earlier",
        )
