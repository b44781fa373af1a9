"""
Resolve the ``parent=`` of a call or a block: a run, headers or a dotted order.

Reading the headers themselves is in `clew.runs.headers`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Iterable, Literal, Mapping, NamedTuple, Optional, Tuple, Union

from clew.errors import ArgumentTypeError
from clew.runs._tree.identity import Identity, NoRun, Remote
from clew.runs.finished import Run
from clew.runs.run import RunTree, loaded_headers

if TYPE_CHECKING:
    from clew.propagation.baggage import Baggage

__all__ = ("Parent", "ResolvedParent", "resolve_parent")

Parent = Union[RunTree, Run, Mapping[str, Any], Iterable[Tuple[Any, Any]], str, Literal[False], None]


class ResolvedParent(NamedTuple):
    """
    The result of resolving ``parent=``: either a parent, or links for a new root, plus the baggage.
    """

    identity: Optional[Identity]
    linked: Tuple[Identity, ...] = ()
    baggage: Optional[Baggage] = None
    is_recorded: bool = True


def resolve_parent(parent: Any, *, trusted: bool) -> ResolvedParent:
    """
    Return what a ``parent=`` names; headers and dotted orders without a valid parent resolve to a new root.

    Args:
        parent: see `clew.tracing_context`.
        trusted: False for the headers of an unknown caller, whose run becomes a link instead of the parent.

    Raises:
        ArgumentTypeError: it is nothing that can name a parent.
    """
    if type(parent) is dict or type(parent) is list:  # first: every request takes this path
        return _from_headers(parent, trusted=trusted)
    if parent is False or (isinstance(parent, RunTree) and isinstance(parent._identity, NoRun)):
        return ResolvedParent(None)
    if isinstance(parent, RunTree) and parent._is_non_recording:
        # The run is not recorded, and neither are the runs below it. Its own parent goes into their headers.
        above = parent._identity.parent
        resolved = _from_remote(above) if isinstance(above, Remote) else ResolvedParent(above)
        return resolved._replace(is_recorded=False)
    if isinstance(parent, (RunTree, Run)):
        identity = parent._identity
        return _from_remote(identity, trusted=trusted) if isinstance(identity, Remote) else ResolvedParent(identity)
    if isinstance(parent, str):
        remote = loaded_headers().read_dotted_order(parent)
        return ResolvedParent(None) if remote is None else _from_remote(remote, trusted=trusted)
    if hasattr(parent, "to_headers"):  # a RunTree of LangSmith's SDK
        parent = parent.to_headers()
    if isinstance(parent, bytes) or not (isinstance(parent, Iterable) or hasattr(parent, "items")):
        raise ArgumentTypeError(
            f"expected parent= as a RunTree, headers, a dotted order or False, got {type(parent).__name__} {parent!r}; "
            f"pass the headers of the request, or leave it out to stay under the current run"
        )
    return _from_headers(parent, trusted=trusted)


def _from_headers(headers: Any, *, trusted: bool) -> ResolvedParent:
    remote, baggage = loaded_headers().read_headers(headers, is_trusted=trusted)
    return ResolvedParent(None, (), baggage) if remote is None else _from_remote(remote)


def _from_remote(remote: Remote, *, trusted: bool = True) -> ResolvedParent:
    if trusted and remote.is_trusted:
        return ResolvedParent(remote, (), remote.upstream.baggage)
    return ResolvedParent(None, (remote,), loaded_headers().NO_BAGGAGE)
