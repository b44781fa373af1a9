"""
What the children of a run inherit from it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

from clew._shared.incidents import report
from clew.runs._tree.bounds import CUT_KEY, CUT_TAGS, MAX_OBJECTS, extend_bounded, merge_bounded
from clew.runs._tree.kept.copier import MAX_CHARS
from clew.runs._tree.kept.payloads import copy_metadata, copy_metadata_measured
from clew.runs._tree.kept.sizes import size_of_object
from clew.runs._tree.options import MAX_TAGS, check_mapping, check_project_name, check_tags

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage
    from clew.propagation.carrier import Incoming
    from clew.propagation.langsmith import LangSmithBaggage

__all__ = (
    "Inherited",
    "InheritedFromHeaders",
    "make_inherited",
)

_NOTHING: Tuple[Dict[str, Any], int] = ({}, 0)


class Inherited:
    """
    What the children of a run inherit: project, tags, metadata, and the trace of the received headers. Immutable.
    """

    __slots__ = ("metadata", "project_name", "size_bytes", "tags", "upstream", "written")

    metadata: Mapping[str, Any]
    project_name: Optional[str]
    tags: Tuple[str, ...]
    upstream: Optional[Incoming]
    # A cache: the program's baggage, and the same with these options added.
    written: Optional[Tuple[Optional[Baggage], Baggage]]
    size_bytes: int  # about what the metadata takes; headers are small, so theirs is 0

    def __init__(
        self,
        project_name: Optional[str],
        tags: Tuple[str, ...],
        metadata: Mapping[str, Any],
        upstream: Optional[Incoming] = None,
        size_bytes: int = 0,
    ) -> None:
        self.project_name = project_name
        self.tags = tags
        self.metadata = metadata
        self.upstream = upstream
        self.written = None
        self.size_bytes = size_bytes

    def overlaid(self, own: Inherited) -> Inherited:
        """
        Return what the children of a child inherit, if the child itself adds `own`.
        """
        tags, metadata = list(self.tags), dict(self.metadata)
        is_cut = extend_bounded(tags, [tag for tag in own.tags if tag not in tags], MAX_TAGS, CUT_TAGS)
        size = self.size_bytes + own.size_bytes
        if size > MAX_CHARS:
            size = size_of_object({**metadata, **own.metadata}, MAX_OBJECTS)  # without what is replaced
        if size > MAX_CHARS:
            metadata[CUT_KEY] = f"<cut: more than {MAX_CHARS} bytes>"
            is_cut = True
        else:
            is_cut = merge_bounded(metadata, own.metadata) or is_cut
        if is_cut:
            report("additions_dropped", "a run inherits more tags or metadata than it may have")
        return Inherited(own.project_name or self.project_name, tuple(tags), metadata, self.upstream, size)


class InheritedFromHeaders(Inherited):
    """
    What the children of a run in another process inherit: read from the baggage in its headers when first needed.
    """

    __slots__ = ("_decoded",)

    upstream: Incoming
    _decoded: Optional[LangSmithBaggage]

    def __init__(self, upstream: Incoming) -> None:
        self.upstream = upstream  # pyright: ignore[reportIncompatibleVariableOverride]  # never None here
        self.written = None
        self.size_bytes = 0
        self._decoded = None

    def _decode(self) -> LangSmithBaggage:
        decoded = self._decoded
        if decoded is None:
            found = self.upstream.langsmith
            self._decoded = decoded = (
                found._replace(metadata=copy_metadata(found.metadata)) if found.metadata else found
            )
        return decoded

    # Properties, not `__getattr__`: a class that has one is slower at all its attributes.
    metadata = property(lambda self: self._decode().metadata)  # pyright: ignore[reportAssignmentType]  # read-only here
    project_name = property(  # pyright: ignore[reportAssignmentType]  # as above
        lambda self: self._decode().project_name
    )
    tags = property(lambda self: self._decode().tags)  # pyright: ignore[reportAssignmentType]  # as above


def make_inherited(
    tags: Optional[Sequence[str]], metadata: Optional[Mapping[str, Any]], project_name: Optional[str]
) -> Optional[Inherited]:
    """
    Return what the children of a run with these options inherit; None if there are none.
    """
    if metadata is None and not tags and project_name is None:
        return None
    copied, size = _NOTHING if metadata is None else copy_metadata_measured(check_mapping(metadata, "metadata"))
    if not tags and not copied and project_name is None:
        return None
    return Inherited(check_project_name(project_name), check_tags(tags or ()), copied, size_bytes=size)
