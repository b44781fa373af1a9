"""
The text of an exception with its traceback and causes: bounded, and completed when it is read.

The exception is not changed, and no exception of its methods leaves this module. Whether an exception is an error or
a cancellation is decided in `clew.runs._tree.kept.status`; values are copied in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

import sys
from collections import deque
from functools import lru_cache, partial
from itertools import count, islice
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union
from weakref import WeakKeyDictionary

from clew.runs._tree.kept.copier import MAX_STRING_CHARS, call_without_tracing
from clew.runs._tree.kept.status import group_classes
from clew.runs._tree.kept.texts import bounded_str, cut

if TYPE_CHECKING:
    from traceback import FrameSummary

    # Either code object, index of the instruction in it, and line; or the summary that Python makes of a frame.
    _Frame = Union[Tuple[CodeType, int, Optional[int]], FrameSummary]

__all__ = ("ErrorText", "describe_error", "text_of")

MAX_FRAMES = 50
MAX_EXCEPTIONS = 200  # causes, contexts and members of groups, and notes of each
MAX_MEMBERS = 16  # of one group: Python prints 15, and how many more there are
_CHARS_OF_A_FRAME = 64  # a low estimate of the text of a frame with its line of source


def describe_error(error: BaseException, traceback: Optional[TracebackType]) -> Union[str, ErrorText]:
    """
    Return the exception as Python prints it, with traceback and causes, bounded. `text_of` returns the text of it.

    An error that passes through a hundred traced calls is described a hundred times. So only the messages of the
    exceptions are formatted at once. The lines of source take most of the time; they are read when the text is.
    """
    try:
        text: Union[str, ErrorText] = call_without_tracing(_formatted, error, traceback)
        return text
    except Exception as failure:  # noqa: BLE001  an attribute or __str__ of the program's exception
        return f"<{type(error).__name__} that cannot be formatted: {type(failure).__name__}>"


def text_of(error: Union[str, ErrorText, None]) -> Optional[str]:
    """
    Return the text of an error: a result of `describe_error`, or a text already.
    """
    return error.text() if isinstance(error, ErrorText) else error


class ErrorText:
    """
    The text of an exception, formatted at the first reading.

    It keeps code objects and line numbers, but neither the exception nor its frames, which would keep variables alive.
    """

    __slots__ = ("_kind", "_parts", "_text")

    def __init__(self, kind: str, parts: List[Union[str, _Frames]]) -> None:
        self._kind = kind
        self._parts: Optional[List[Union[str, _Frames]]] = parts
        self._text = ""

    def text(self) -> str:
        """
        Return the text.
        """
        parts = self._parts
        if parts is not None:
            try:
                text = "".join([part if isinstance(part, str) else part.text() for part in parts])
            except Exception as failure:  # noqa: BLE001  a module loader failed, or the stack is full: retry next time
                return f"<{self._kind} that cannot be formatted: {type(failure).__name__}>"
            self._text = cut(text, MAX_STRING_CHARS)
            self._parts = None  # after the text is set: another thread may be reading
        return self._text

    def __reduce__(self) -> Any:
        return str, (self.text(),)


class _Frames(NamedTuple):
    # The frames of one exception of the text; each of their lines is indented by `indent`.
    indent: str
    frames: List[_Frame]

    def text(self) -> str:
        from linecache import checkcache
        from traceback import StackSummary

        stack: Any = StackSummary.from_list([_summary_of(frame) for frame in self.frames])
        for filename in {summary.filename for summary in stack}:
            checkcache(filename)
        # 3.11+ parses the source to underline a part of a line, which is slow, and has a method to override;
        # drop the condition with 3.10.
        if sys.version_info >= (3, 11):
            stack.format_frame_summary = partial(_cached_text, stack.format_frame_summary)
        text = "".join(stack.format())
        return "".join([self.indent + line for line in text.splitlines(keepends=True)]) if self.indent else text


def _summary_of(frame: _Frame) -> Any:
    from traceback import FrameSummary

    if not isinstance(frame, tuple):
        return frame
    code, instruction, line = frame
    options: Dict[str, Any] = {}
    # 3.11+ knows the part of the line; drop the condition with 3.10.
    if sys.version_info >= (3, 11):
        known, end_line, column, end_column = _position(code, instruction)
        line = line if known is None else known
        options = {"end_lineno": end_line, "colno": column, "end_colno": end_column}
    return FrameSummary(code.co_filename, line, code.co_name, lookup_line=False, **options)


# An error that passes through many traced calls has nearly the same frames in each of them.
_CACHED_FRAMES = 512


# By instruction. `co_positions` is an iterator, which is read up to the instruction.
_positions: WeakKeyDictionary[CodeType, Dict[int, Tuple[Optional[int], ...]]] = WeakKeyDictionary()


def _position(code: Any, instruction: int) -> Tuple[Optional[int], ...]:
    unknown = (None, None, None, None)
    if instruction < 0:  # the frame of a generator that has not started
        return unknown
    known = _positions.get(code)
    if known is None:
        known = _positions[code] = {}
    position = known.get(instruction)
    if position is None:
        position = known[instruction] = next(islice(code.co_positions(), instruction // 2, None), unknown)
    return position


def _cached_text(make: Callable[[Any], str], summary: Any, **_: Any) -> str:
    from linecache import getline

    lines = range(summary.lineno or 0, (summary.end_lineno or summary.lineno or 0) + 1)
    if len(lines) > 20 or summary.filename.startswith("<"):
        return make(summary)
    source = tuple([getline(summary.filename, number) for number in lines])
    return _frame_text(
        summary.filename, summary.lineno, summary.end_lineno, summary.colno, summary.end_colno, summary.name, source
    )


@lru_cache(maxsize=_CACHED_FRAMES)
def _frame_text(
    filename: str,
    line: int,
    end_line: Optional[int],
    column: Optional[int],
    end_column: Optional[int],
    name: str,
    source: Tuple[str, ...],  # noqa: ARG001  a part of the cache key: the file may have changed
) -> str:
    from traceback import FrameSummary, StackSummary

    stack: Any = StackSummary()
    options: Dict[str, Any] = {"end_lineno": end_line, "colno": column, "end_colno": end_column}
    text: str = stack.format_frame_summary(FrameSummary(filename, line, name, lookup_line=False, **options))
    return text


class _FramePlaceholder:
    # Replaces the stack of a `TracebackException`. Instead of lines of source it yields a marker, so that the frames
    # can be formatted later. It records in `reached` that its marker comes next.
    __slots__ = ("_reached", "frames", "left_out")

    MARK = "frames\n"

    def __init__(self, traceback: Optional[TracebackType], reached: List[_FramePlaceholder]) -> None:
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
                lazycache(filename, frame.f_globals)  # remembers the module's loader, which can find the source
            if filename[:1] == "<":
                # Code that was typed in has no file; Python finds its source in other ways.
                self.frames.extend(extract_tb(traceback, limit=1))
            else:
                self.frames.append((code, traceback.tb_lasti, traceback.tb_lineno))
            traceback = traceback.tb_next

    def __len__(self) -> int:
        return len(self.frames)

    def format(self, **_: Any) -> Iterator[str]:
        # Python adds the indentation of an exception group before the marker.
        self._reached.append(self)
        yield self.MARK


class _Shown:
    """
    Stands for an exception in `TracebackException`: it has a bounded message and notes, and no links to others.
    """

    __slots__ = ("_error", "_message")

    __cause__ = __context__ = None
    __suppress_context__ = False
    exceptions = ()

    def __init__(self, error: BaseException) -> None:
        self._error = error
        self._message = _message_of(error)

    # For `isinstance`.
    __class__ = property(lambda self: type(self._error))  # pyright: ignore[reportIncompatibleMethodOverride]

    def __str__(self) -> str:
        return self._message

    def __getattr__(self, name: str) -> Any:
        return getattr(self._error, name)

    @property
    def __notes__(self) -> Any:
        notes = getattr(self._error, "__notes__", None)
        if not isinstance(notes, (list, tuple)):
            return notes
        more = [] if len(notes) <= MAX_EXCEPTIONS else [f"<cut: {len(notes)} notes>"]
        return [_bounded_note(note) for note in notes[:MAX_EXCEPTIONS]] + more


def _bounded_note(note: object) -> object:
    try:
        return bounded_str(note, MAX_STRING_CHARS)
    except Exception:  # noqa: BLE001  the program's own __str__: Python calls it again, and says that it fails
        return note


def _message_of(error: BaseException) -> str:
    # A message that is a string exists already. If it is not far too long, it is cut with the whole text.
    if type(error).__str__ is BaseException.__str__:
        args = BaseException.args.__get__(error)  # type: ignore[attr-defined]  # whatever the class has under that name
        if len(args) == 1 and type(args[0]) is str and len(args[0]) < 4 * MAX_STRING_CHARS:
            return args[0]
    return bounded_str(error, MAX_STRING_CHARS // 2)  # half: there must be room for the frames


def _one_printable(error: BaseException, traceback: Optional[TracebackType]) -> Any:
    from traceback import TracebackException  # here, as a program without errors does not need it

    try:
        shown: Any = _Shown(error)
    except Exception:  # noqa: BLE001  the program's own __str__: Python says so in a way of each version
        shown = type(type(error).__name__, (Exception,), {"__str__": _unprintable})()
    return TracebackException(type(error), shown, traceback, limit=0, lookup_lines=False)


def _unprintable(_: object) -> str:
    raise ValueError


def _printable(error: BaseException, traceback: Optional[TracebackType], reached: List[_FramePlaceholder]) -> Any:
    """
    Return a `TracebackException` with its causes, contexts and group members, up to `MAX_EXCEPTIONS` of them.
    """
    from traceback import TracebackException

    seen = {id(error)}
    groups = group_classes()
    made = count()
    waiting: Deque[Tuple[Any, BaseException]] = deque()

    def add(each: BaseException, its_traceback: Optional[TracebackType]) -> Any:
        seen.add(id(each))
        if next(made) > MAX_EXCEPTIONS:
            return TracebackException(Exception, Exception("<cut: more exceptions>"), None)
        one = _one_printable(each, its_traceback)
        one.stack = _FramePlaceholder(its_traceback, reached)
        waiting.append((one, each))
        return one

    def linked(each: Optional[BaseException]) -> Any:
        if each is None or id(each) in seen:
            return None
        return add(each, each.__traceback__)

    outermost = add(error, traceback)
    while waiting:
        one, each = waiting.popleft()
        one.__cause__ = linked(each.__cause__)
        if one.__cause__ is None and not each.__suppress_context__:  # Python prints only one of the two
            one.__context__ = linked(each.__context__)
        if isinstance(each, groups):
            members: Any = each.exceptions  # type: ignore[attr-defined]  # it is a group
            shown = [add(member, member.__traceback__) for member in members[:MAX_MEMBERS]]
            one.exceptions = [*shown, *[None] * (len(members) - len(shown))]
    return outermost


def _formatted(error: BaseException, traceback: Optional[TracebackType]) -> ErrorText:
    reached: List[_FramePlaceholder] = []
    printable = _printable(error, traceback, reached)
    outermost = printable.stack
    parts: List[Union[str, _Frames]] = []
    chars = 0
    if outermost.left_out > 0:
        parts.append(f"<cut: {outermost.left_out} outer frames>\n")
    for part in printable.format():
        if reached and part.endswith(_FramePlaceholder.MARK):
            frames = reached.pop().frames
            chars += _CHARS_OF_A_FRAME * len(frames)
            parts.append(_Frames(part[: -len(_FramePlaceholder.MARK)], frames))
        else:
            chars += len(part)
            parts.append(part)
    text = ErrorText(type(error).__name__, parts)
    if chars > MAX_STRING_CHARS:
        text.text()  # format and cut it now, rather than keep all of a long text
    return text
