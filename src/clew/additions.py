"""
What is added to a run while it is open: outputs, tags, metadata, events, and how the run will end.

What a run has from above it is in `clew.runs.identity`; how a value is copied, in `clew.payloads`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Dict, FrozenSet, Iterable, List, Mapping, Optional

from clew.payloads import check_tags

if TYPE_CHECKING:
    from clew.runs.run import RunTree

__all__ = ("Additions", "Metadata", "Tags", "Unset", "unset")

_NOTHING: Mapping[str, Any] = {}


class Unset:
    """
    Say of an option that it was not given, where None says something.
    """

    def __repr__(self) -> str:
        return "..."


unset = Unset()


class Tags(List[str]):
    """
    Be the tags of a run, to be read and added to, as LangSmith's are.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunTree) -> None:
        super().__init__(run.all_tags())
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

    def __reduce__(self) -> Any:
        return list, (list(self),)


class Metadata(Dict[str, Any]):
    """
    Be the metadata of a run, to be read and added to, as LangSmith's is.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunTree) -> None:
        super().__init__(run.all_metadata())
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

    def __reduce__(self) -> Any:
        return dict, (dict(self),)


class Additions:
    """
    Hold what was added to a run while it was open; most runs have none.
    """

    __slots__ = ("error", "events", "metadata", "on_end", "outputs", "replaced", "tags")

    def __init__(self) -> None:
        self.error: Optional[str] = None
        self.on_end: Optional[Callable[[RunTree], object]] = None
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
