"""
Interrupts at any instruction of clew's code, as a signal handler raises them.
"""

from __future__ import annotations

import _thread
import sys
from dis import opmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, List, Optional

import clew
from tests.edges._threads import DEADLINE

if TYPE_CHECKING:
    from contextvars import Context
    from types import FrameType

CLEW = str(Path(clew.__file__).parent)

# No interrupt comes right before these. They do nothing, and 3.11 and later have no handler for what would be raised
# there; or they begin a `try` or a `with`, where CPython looks for no signals.
_NO_INTERRUPT = {opmap[name] for name in ("NOP", "NOT_TAKEN", "SETUP_FINALLY", "SETUP_WITH") if name in opmap}
_CONSTANTS = {opmap[name] for name in ("LOAD_CONST", "LOAD_COMMON_CONSTANT") if name in opmap}  # 3.15+: the second
_RETURNS = {opmap[name] for name in ("RETURN_VALUE", "RETURN_CONST") if name in opmap}


class InterruptionError(BaseException):
    """What the signal handler raises."""


class Interrupting:
    """
    Raise an interrupt after so many instructions of clew's code.

    Not before the first instruction of a function that the program calls, when nothing has happened yet, and not when
    that function returns: there is no code of clew's left that could handle it.
    """

    def __init__(self, after: int, *, is_counted: Callable[[FrameType], bool] = lambda _: True) -> None:
        self._left = after
        self._is_counted = is_counted
        self.place = ""

    def trace(self, frame: FrameType, event: str, _: object) -> Optional[Callable[..., Any]]:
        code = frame.f_code
        if not code.co_filename.startswith(CLEW) or not self._is_counted(frame):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and code.co_code[frame.f_lasti] not in _NO_INTERRUPT and not self._is_outside(frame):
            self._left -= 1
            if self._left < 1 and not _is_swallowed(frame):
                sys.settrace(None)
                self.place = f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name} at {frame.f_lasti}"
                raise InterruptionError
        return self.trace

    def _is_outside(self, frame: FrameType) -> bool:
        above = frame.f_back
        is_called_by_program = above is None or not above.f_code.co_filename.startswith(CLEW)
        return is_called_by_program and (frame.f_lasti <= _first(frame) or _is_returning(frame))

    def came(self, fn: Callable[[], object], context: Context) -> bool:
        """
        Call `fn` in a context, and return whether the interrupt came.
        """
        # In a thread of its own: an exception that is raised where one is handled may stay in the state of its thread.
        # Not by `threading`, which `fn` may patch.
        is_over = _thread.allocate_lock()
        is_over.acquire()
        failures: List[BaseException] = []

        def call() -> None:
            sys._getframe().f_trace_opcodes = True  # 3.12 has to know by now that somebody asks for them
            sys.settrace(self.trace)
            try:
                context.run(fn)
            except InterruptionError:
                pass
            except BaseException as error:
                failures.append(error)
            finally:
                sys.settrace(None)
                is_over.release()

        _thread.start_new_thread(call, ())
        assert is_over.acquire(timeout=DEADLINE)
        for failure in failures:
            raise failure
        return bool(self.place)


def _is_swallowed(frame: FrameType) -> bool:
    # Python swallows what a finaliser and a callback of the collector raise.
    each: Optional[FrameType] = frame
    while each is not None and each.f_code.co_filename.startswith(CLEW):
        if each.f_code.co_name in ("__del__", "_note_collection"):
            return True
        each = each.f_back
    return False


def _is_returning(frame: FrameType) -> bool:
    # Up to 3.10 a jump leads from the end of a `try` to these two.
    code, at = frame.f_code.co_code, frame.f_lasti
    if code[at] == opmap["JUMP_FORWARD"]:
        at += 2 + code[at + 1]
    return code[at] in _RETURNS or (code[at] in _CONSTANTS and code[at + 2] in _RETURNS)


def _first(frame: FrameType) -> int:
    # 3.11+: the first instructions make the frame; RESUME is the last of them.
    code = frame.f_code.co_code
    resume = opmap.get("RESUME")
    return 0 if resume is None else next(at for at in range(0, len(code), 2) if code[at] == resume)
