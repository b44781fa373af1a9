"""
The inputs of a call by parameter name, read by a function that is generated from the signature.

Values are copied in `clew.runs._tree.kept.copier`.
"""

from __future__ import annotations

import inspect
import sys
from inspect import Parameter, Signature
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from clew.runs._tree.kept.copier import MAX_STRING_CHARS, copy_for_run
from clew.runs._tree.kept.hiding import HIDDEN, hiding
from clew.runs._tree.kept.payloads import drop_payload, process_payload, redact_payload

__all__ = ("has_secret_parameter", "input_reader", "unbound_inputs")


def input_reader(
    fn: Callable[..., Any],
    process: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
    without: Sequence[str] = (),
) -> Callable[..., Dict[str, Any]]:
    """
    Return a function that accepts the arguments of `fn` and returns the inputs to record.

    The inputs are a dict of copies by parameter name. Defaults are filled in, `self`, `cls` and the parameters named
    in `without` are left out, and the items of ``**kwargs`` are merged in. Parameters whose names look like secrets are
    hidden. `process`, if given, gets the arguments themselves in such a dict; the inputs are then a copy of its result.

    The returned function has the parameters of `fn`, so that Python itself binds the arguments, several times faster
    than `inspect.Signature.bind`. It raises `TypeError` for a call that `fn` would refuse.

    What is hidden is decided here, not at each call.
    """
    if hiding.inputs:
        return lambda *_, **__: {}
    try:
        read = _generated_reader(_parameters(fn), without, copy=process is None)
    except Exception:  # noqa: BLE001  no signature, or an invalid `__signature__`: record the arguments without names
        if process is not None:
            return lambda *args, **kwargs: unbound_inputs(args, kwargs, process, may_be_secret=True)
        unnamed = [Parameter("args", Parameter.VAR_POSITIONAL), Parameter("kwargs", Parameter.VAR_KEYWORD)]
        read = _generated_reader(unnamed, without, copy=True)
    if process is None:
        return (
            read if hiding.redact is None else lambda *args, **kwargs: redact_payload(read(*args, **kwargs), "inputs")
        )
    return lambda *args, **kwargs: redact_payload(process_payload(process, read(*args, **kwargs), "inputs"), "inputs")


def has_secret_parameter(fn: Callable[..., Any]) -> bool:
    """
    Return whether `fn` has a parameter that is hidden, and that a call can pass by position.
    """
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    try:
        return any(hiding.names[p.name] for p in _parameters(fn) if p.kind in by_position)
    except Exception:  # noqa: BLE001  as in `input_reader`
        return False


def unbound_inputs(
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    process: Optional[Callable[[Dict[str, Any]], Mapping[str, Any]]],
    *,
    may_be_secret: bool,
) -> Dict[str, Any]:
    """
    Return the inputs of a call whose arguments cannot be assigned to parameters: they have no names to hide them by.

    Args:
        args, kwargs: the arguments.
        process: if there is one, it would look for names, so the inputs are dropped.
        may_be_secret: whether one of `args` may belong to a hidden parameter.
    """
    if process is not None:
        return drop_payload("inputs", "the arguments do not fit the parameters, by whose names process_inputs hides")
    copied = {"args": HIDDEN if may_be_secret and args else copy_for_run(args), "kwargs": copy_for_run(kwargs)}
    return redact_payload(copied, "inputs")


def _parameters(fn: Callable[..., Any]) -> List[Parameter]:
    # 3.14+: annotations are evaluated when they are read, and that may fail; drop the else with 3.13.
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        signature = inspect.signature(fn, annotation_format=Format.FORWARDREF)
    else:
        signature = inspect.signature(fn)
    return list(signature.parameters.values())


# Of the integers that are used as they are. As constants of a function: without a GIL, threads wait for each other at a
# number that they share by a name.
_LEAST, _MOST = -(1 << 63), 1 << 63


class _Source(str):
    # A default value whose `repr`, which `str(Signature)` writes, is a Python expression.
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _generated_reader(
    parameters: List[Parameter], without: Sequence[str], *, copy: bool
) -> Callable[..., Dict[str, Any]]:
    # The prefix is longer than every parameter's name, so that no parameter hides a helper, be it `type` or `len`.
    prefix = "_" * (1 + max([len(p.name) for p in parameters], default=0))
    helpers = {
        "type": type,
        "int": int,
        "str": str,
        "len": len,
        "copy": copy_for_run,
        "hide": dict.fromkeys,
        "long": MAX_STRING_CHARS,
        "defaults": [p.default for p in parameters],
    }

    def copied(name: str) -> str:
        if not copy:
            return name
        # The two most frequent types are immutable: if they are small they are used as they are, without a call.
        return (
            f"({name} if {_LEAST} < {name} < {_MOST} else {prefix}copy({name})) "
            f"if {prefix}type({name}) is {prefix}int else {name} "
            f"if {prefix}type({name}) is {prefix}str and {prefix}len({name}) < {prefix}long else {prefix}copy({name})"
        )

    def entry(p: Parameter) -> str:
        is_hidden = copy and hiding.names[p.name]
        if p.kind is Parameter.VAR_KEYWORD:
            if is_hidden:
                return f"**{prefix}hide({p.name}, {HIDDEN!r})"
            return f"**{prefix}copy({p.name})" if copy else f"**{p.name}"
        if is_hidden:
            return f"{p.name!r}: {HIDDEN!r}"
        return f"{p.name!r}: {copied(p.name)}"

    def plain(place: int, p: Parameter) -> Parameter:
        has_default = p.default is not Parameter.empty
        return Parameter(p.name, p.kind, default=_Source(f"{prefix}defaults[{place}]") if has_default else p.default)

    shown = parameters[1:] if parameters and parameters[0].name in ("self", "cls") else parameters
    head = str(Signature([plain(place, p) for place, p in enumerate(parameters)]))[1:-1]
    body = ", ".join([entry(p) for p in shown if p.name not in without])
    # Safe to evaluate: the text is made of the names of the function's own parameters, which are identifiers.
    read: Callable[..., Dict[str, Any]] = eval(  # noqa: S307  see above
        f"lambda {head}: {{{body}}}", {prefix + name: value for name, value in helpers.items()}
    )
    return read
