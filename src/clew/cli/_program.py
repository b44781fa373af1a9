"""
`clew run`: a user's program, run as the interpreter would run it, with recording on.

Guarantees:
    - The program finds `sys.argv`, `sys.path` and `__main__` as `python FILE` or `python -m MODULE` sets them, and its
      tracebacks have no frames of clew's.
    - The trees are printed after the program's threads have ended and its own exit functions were called.
"""

from __future__ import annotations

import atexit
import builtins
import importlib.util
import io
import os
import pkgutil
import sys
from contextlib import suppress
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, Dict, NoReturn, Optional, Sequence, TextIO, Tuple, Type

from clew.cli._output import print_recording
from clew.runs.recording import Recording

__all__ = ("Program",)


class Program:
    """
    The program to run: a file, a folder or zip file with a ``__main__.py``, or a module.
    """

    def __init__(self, target: str, args: Sequence[str], limit: int, recording: Recording, *, is_module: bool) -> None:
        self._target = target
        self._args = list(args)
        self._limit = limit
        self._recording = recording
        self._is_module = is_module

    @classmethod
    def of_file(cls, path: str, args: Sequence[str], limit: int, recording: Recording) -> Program:
        return cls(path, args, limit, recording, is_module=False)

    @classmethod
    def of_module(cls, name: str, args: Sequence[str], limit: int, recording: Recording) -> Program:
        return cls(name, args, limit, recording, is_module=True)

    def run(self) -> None:
        """
        Run the program in this process, once. The process ends with the program's exit code.
        """
        # atexit calls the function that was registered first last: after the interpreter has waited for the program's
        # threads, and after the program's own exit functions.
        recording = self._recording
        atexit.register(_report, recording, _own_stderr(), self._limit, os.getpid())
        _forget_click()
        code, attributes = self._load()
        main = ModuleType("__main__")
        vars(main).update(attributes)
        vars(main)["__builtins__"] = builtins
        # Keep a reference to the command's own module: if it were freed, its globals would be cleared.
        clew_main, sys.modules["__main__"] = sys.modules["__main__"], main
        # Which Python versions set these two names in __main__ varies, so do as in the command's own module.
        if "__annotations__" in vars(clew_main):
            vars(main)["__annotations__"] = {}
        if "__cached__" not in vars(clew_main):
            vars(main).pop("__cached__", None)
        recording.__enter__()
        try:
            exec(code, vars(main))  # noqa: S102  running it is what was asked for
        except SystemExit:
            raise
        except BaseException as error:
            _hide_own_frames(error)
            raise
        finally:
            del clew_main

    def _load(self) -> Tuple[CodeType, Dict[str, Any]]:
        if self._is_module:
            _set_first_path(os.getcwd())
            sys.argv[:] = ["-m", *self._args]
            spec = _find_module(self._target)
            sys.argv[0] = spec.origin or self._target
            return _load_spec(spec)
        path = self._target
        sys.argv[:] = [path, *self._args]
        # 3.9+: the paths that Python derives from the script's are absolute; drop the condition with 3.8.
        if sys.version_info >= (3, 9):
            path = os.path.join(os.getcwd(), path)
        if os.path.isdir(path) or _is_archive(path):
            _set_first_path(path)
            main = PathFinder.find_spec("__main__", [path])
            if main is None:
                _refuse(f"can't find '__main__' module in {path!r}", exit_code=1)
            return _load_spec(main)
        _set_first_path(os.path.dirname(os.path.realpath(path)))
        return _load_file(path)


def _report(recording: Recording, stream: Optional[TextIO], limit: int, pid: int) -> None:
    # A forked child that ends by sys.exit calls this, too; only the parent prints.
    if os.getpid() != pid or stream is None:
        return
    with suppress(Exception):  # the program may have closed or replaced sys.stderr
        sys.stderr.flush()
    with suppress(OSError):  # a closed pipe, for example
        try:
            print_recording(recording, stream, limit)
        except Exception as error:  # noqa: BLE001  an error of clew's must not change the program's exit
            stream.write(f"clew: the trees cannot be shown: {error!r}\n")
        stream.close()


def _own_stderr() -> Optional[TextIO]:
    # A duplicate, which works whatever the program does to sys.stderr.
    try:
        return open(os.dup(2), "w", encoding=sys.stderr.encoding, errors="backslashreplace")
    except (AttributeError, OSError):
        return None  # this process has no standard error stream


def _forget_click() -> None:
    # The program may import a module of its own by that name.
    for name in [name for name in sys.modules if name == "click" or name.startswith("click.")]:
        del sys.modules[name]


def _set_first_path(folder: str) -> None:
    # With the options -P and -I, Python does not put the command's folder there, so there is nothing to replace.
    if not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
        sys.path[0] = folder


def _is_archive(path: str) -> bool:
    return os.path.isfile(path) and pkgutil.get_importer(path) is not None


def _find_module(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            name = f"{name}.__main__"
            spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        _refuse(f"error while finding module {name!r}: {type(error).__name__}: {error}", exit_code=1)
    if spec is None or spec.loader is None:
        _refuse(f"No module named {name}", exit_code=1)
    return spec


def _load_spec(spec: ModuleSpec) -> Tuple[CodeType, Dict[str, Any]]:
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        _refuse(f"No code object available for {spec.name}", exit_code=1)
    return code, {
        "__cached__": spec.cached,
        "__file__": spec.origin,
        "__loader__": loader,
        "__package__": spec.parent,
        "__spec__": spec,
    }


def _load_file(path: str) -> Tuple[CodeType, Dict[str, Any]]:
    loader: Any
    try:
        if path.endswith(".pyc"):
            loader = SourcelessFileLoader("__main__", path)
            code = loader.get_code("__main__")
        else:
            loader = SourceFileLoader("__main__", path)
            with io.open_code(path) as file:
                source = file.read()
            code = compile(source, path, "exec", dont_inherit=True)
    except OSError as error:
        _refuse(f"can't open file {path!r}: [Errno {error.errno}] {error.strerror}", exit_code=2)
    except SyntaxError as error:
        _hide_own_frames(error, all_of_them=True)
        raise
    return code, {"__cached__": None, "__file__": path, "__loader__": loader, "__package__": None, "__spec__": None}


def _refuse(message: str, *, exit_code: int) -> NoReturn:
    sys.stderr.write(f"clew run: {message}\n")
    # No program has run, so there are no trees to print.
    atexit.unregister(_report)
    raise SystemExit(exit_code)


def _hide_own_frames(error: BaseException, *, all_of_them: bool = False) -> None:
    """
    Remove clew's frames from the traceback of `error` when it is printed, by whatever excepthook.
    """
    own = error.__traceback__
    shown = None if all_of_them or own is None else own.tb_next
    print_error = sys.excepthook

    def print_without_own_frames(kind: Type[BaseException], value: BaseException, tb: Optional[TracebackType]) -> None:
        if value is error:
            value, tb = value.with_traceback(shown), shown
        print_error(kind, value, tb)

    sys.excepthook = print_without_own_frames
