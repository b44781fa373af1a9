"""
What is kept of the exceptions of a run: whether they are failures, and their text, bounded, made when it is read.

Nothing is done to the exception, and nothing that one of its own methods raises gets out of here. What is kept of
values is in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

import sys
from functools import lru_cache, partial
from itertools import islice
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from clew.runs._tree.kept.copier import MAX_STRING_CHARS, call_without_tracing
from clew.runs._tree.kept.objects import cut

if TYPE_CHECKING:
    from traceback import FrameSummary

    # The code, the index of the instruction in it, and the line; or what Python makes of a frame.
    _Frame = Union[Tuple[CodeType, int, Optional[int]], FrameSummary]

__all__ = ("ErrorText", "describe_error", "status_of", "text_of")

MAX_FRAMES = 50
MAX_MEMBERS = 10_000
_CHARS_OF_A_FRAME = 64  # with its line of source; most take more


def describe_error(error: BaseException, traceback: Optional[TracebackType]) -> Union[str, ErrorText]:
    """
    Return the exception as Python prints it, with its traceback and its causes, bounded, to be read by `text_of`.

    An error that passes through a hundred traced calls is told a hundred times, so only what the exceptions say
    themselves is put into words at once. The lines of the source, which take most of the time, are read later, if at
    all.
    """
    try:
        text: Union[str, ErrorText] = call_without_tracing(_described, error, traceback)
        return text
    except Exception as failure:  # noqa: BLE001  an attribute or a __str__ of the user's exception
        return f"<{type(error).__name__} that cannot be formatted: {type(failure).__name__}>"


def text_of(error: Union[str, ErrorText, None]) -> Optional[str]:
    """
    Return the text of what `describe_error` has returned, or of what is a text already.
    """
    return error.text() if isinstance(error, ErrorText) else error


class ErrorText:
    """
    Hold what the text of an exception is made of: neither the exception, nor its class, a frame, or what is in one.
    """

    __slots__ = ("_kind", "_parts", "_text")

    def __init__(self, kind: str, parts: List[Union[str, _Frames]]) -> None:
        self._kind = kind
        self._parts: Optional[List[Union[str, _Frames]]] = parts
        self._text = ""

    def text(self) -> str:
        """
        Return the text, which is made by the first call.
        """
        parts = self._parts
        if parts is not None:
            try:
                text = "".join([part if isinstance(part, str) else part.text() for part in parts])
            except Exception as failure:  # noqa: BLE001  a loader of somebody's, or the stack has no room left: for now
                return f"<{self._kind} that cannot be formatted: {type(failure).__name__}>"
            self._text = cut(text, MAX_STRING_CHARS)
            self._parts = None  # in this order, as another thread may be reading
        return self._text

    def __reduce__(self) -> Any:
        return str, (self.text(),)


class _Frames(NamedTuple):
    # Where the traceback of an exception stands in the text, of which `indent` is before each line.
    indent: str
    frames: List[_Frame]

    def text(self) -> str:
        from linecache import checkcache
        from traceback import StackSummary

        stack: Any = StackSummary.from_list([_summary_of(frame) for frame in self.frames])
        for filename in {summary.filename for summary in stack}:
            checkcache(filename)
        # 3.11+ has this hook, and needs it, as it parses a line to underline a part; drop the condition with 3.10.
        if sys.version_info >= (3, 11):
            stack.format_frame_summary = partial(_shared_text, stack.format_frame_summary)
        text = "".join(stack.format())
        return "".join([self.indent + line for line in text.splitlines(keepends=True)]) if self.indent else text


def _summary_of(frame: _Frame) -> Any:
    from traceback import FrameSummary

    if not isinstance(frame, tuple):
        return frame
    code, instruction, line = frame
    options: Dict[str, Any] = {}
    # 3.11+: which part of the line it was; drop the condition with 3.10.
    if sys.version_info >= (3, 11):
        known, end_line, column, end_column = _position(code, instruction)
        line = line if known is None else known
        options = {"end_lineno": end_line, "colno": column, "end_colno": end_column}
    return FrameSummary(code.co_filename, line, code.co_name, lookup_line=False, **options)


# An error that passes through many traced calls has nearly the same frames in each.
_REMEMBERED = 512


@lru_cache(maxsize=_REMEMBERED)
def _position(code: Any, instruction: int) -> Tuple[Optional[int], ...]:
    # They are all gone through, up to the one that is asked for.
    unknown = (None, None, None, None)
    if instruction < 0:  # of a generator that has not begun
        return unknown
    position: Tuple[Optional[int], ...] = next(islice(code.co_positions(), instruction // 2, None), unknown)
    return position


def _shared_text(make: Callable[[Any], str], summary: Any, **_: Any) -> str:
    from linecache import getline

    lines = range(summary.lineno or 0, (summary.end_lineno or summary.lineno or 0) + 1)
    if len(lines) > 20 or summary.filename.startswith("<"):
        return make(summary)
    source = tuple([getline(summary.filename, number) for number in lines])
    return _frame_text(
        summary.filename, summary.lineno, summary.end_lineno, summary.colno, summary.end_colno, summary.name, source
    )


@lru_cache(maxsize=_REMEMBERED)
def _frame_text(
    filename: str,
    line: int,
    end_line: Optional[int],
    column: Optional[int],
    end_column: Optional[int],
    name: str,
    source: Tuple[str, ...],  # noqa: ARG001  of another source, it is another text
) -> str:
    from traceback import FrameSummary, StackSummary

    stack: Any = StackSummary()
    options: Dict[str, Any] = {"end_lineno": end_line, "colno": column, "end_colno": end_column}
    text: str = stack.format_frame_summary(FrameSummary(filename, line, name, lookup_line=False, **options))
    return text


class _Place:
    # Stands in the place of a traceback's frames while Python puts the rest of an exception into words.
    __slots__ = ("_reached", "frames", "left_out")

    MARK = "frames\n"

    def __init__(self, traceback: Optional[TracebackType], reached: List[_Place]) -> None:
        from linecache import lazycache
        from traceback import extract_tb

        self._reached = reached
        self.frames: List[_Frame] = []
        self.left_out = -MAX_FRAMES
        each = traceback
        while each is not None:
            self.left_out += 1
            each = each.tb_next
        for _ in range(self.left_out):
            traceback = traceback and traceback.tb_next
        filename = ""
        while traceback is not None:
            frame = traceback.tb_frame
            code = frame.f_code
            if code.co_filename != filename:
                filename = code.co_filename
                lazycache(filename, frame.f_globals)  # which are not kept, and know where the source is
            if filename[:1] == "<":
                # Of what was typed in, Python has ways of its own to find the source.
                self.frames.extend(extract_tb(traceback, limit=1))
            else:
                self.frames.append((code, traceback.tb_lasti, traceback.tb_lineno))
            traceback = traceback.tb_next

    def __len__(self) -> int:
        return len(self.frames)

    def format(self, **_: Any) -> Iterator[str]:
        # Whoever iterates gets the mark next, with the indentation that is right for a group in a group.
        self._reached.append(self)
        yield self.MARK


def _described(error: BaseException, traceback: Optional[TracebackType]) -> ErrorText:
    from traceback import TracebackException  # here, as a program that does not fail needs none

    # 3.10+: it does not look at what will not be told; drop the condition with 3.9.
    options: Dict[str, Any] = {"compact": True} if sys.version_info >= (3, 10) else {}
    told: Any = TracebackException(type(error), error, traceback, limit=0, lookup_lines=False, **options)
    reached: List[_Place] = []
    outermost = told.stack = _Place(traceback, reached)
    waiting: List[Tuple[Any, BaseException]] = [(told, error)]
    while waiting:
        one, its_error = waiting.pop()
        further = [(one.__cause__, its_error.__cause__), (one.__context__, its_error.__context__)]
        members = getattr(one, "exceptions", None)
        if members:
            further += zip(members, its_error.exceptions)  # type: ignore[attr-defined]  # it is a group
        for another, another_error in further:
            if another is not None and another_error is not None:
                another.stack = _Place(another_error.__traceback__, reached)
                waiting.append((another, another_error))
    parts: List[Union[str, _Frames]] = []
    chars = 0
    if outermost.left_out > 0:
        parts.append(f"<cut: {outermost.left_out} outer frames>\n")
    for part in told.format():
        if reached and part.endswith(_Place.MARK):
            frames = reached.pop().frames
            chars += _CHARS_OF_A_FRAME * len(frames)
            parts.append(_Frames(part[: -len(_Place.MARK)], frames))
        else:
            chars += len(part)
            parts.append(part)
    text = ErrorText(type(error).__name__, parts)
    if chars > MAX_STRING_CHARS:
        text.text()  # what is to be cut is not kept until then
    return text


def status_of(error: BaseException) -> str:
    """
    Return "cancelled" for what stops a piece of work from outside, "error" for all else.

    A group is cancelled if all that is in it is.
    """
    # What stops work from outside is none, in every library, so that an `except Exception` lets it pass.
    if isinstance(error, Exception):
        return "error"
    try:
        return "cancelled" if _is_cancellation(error) else "error"
    except Exception:  # noqa: BLE001  a class of somebody's that has a say in what is an instance of it, or of what a group is made
        return "error"


def _is_cancellation(error: BaseException) -> bool:
    # A loop that raised its own exception is loaded; one that is not need not be, to ask.
    cancellations = (GeneratorExit, *_classes(("asyncio", "CancelledError"), ("trio", "Cancelled")))
    # 3.11+ has groups of its own; on older releases a task group raises those of the backport.
    groups = tuple(_classes(("builtins", "BaseExceptionGroup"), ("exceptiongroup", "BaseExceptionGroup")))
    # Without recursion: groups may be nested deeper than the stack. One may also contain itself, by a property.
    waiting: List[object] = [error]
    seen: Dict[int, object] = {}  # which keeps them, as what a property has made may be gone, and its id be another's
    while waiting:
        one = waiting.pop()
        if isinstance(one, cancellations) or id(one) in seen:
            continue
        members = getattr(one, "exceptions", None) if isinstance(one, groups) else None
        if not isinstance(members, (list, tuple)) or not members or len(seen) == MAX_MEMBERS:
            return False
        seen[id(one)] = one
        waiting.extend(members)
    return True


def _classes(*names: Tuple[str, str]) -> Iterator[type]:
    for library, name in names:
        found = getattr(sys.modules.get(library), name, None)
        if isinstance(found, type):  # and not what a stub in a test has in its place
            yield found
