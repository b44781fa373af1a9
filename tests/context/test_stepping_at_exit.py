"""
A coroutine of `wrap_coroutine` that is still suspended when the interpreter exits.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import collections, contextvars, os, types, clew

@types.coroutine
def suspend():
    yield

async def resets():
    token = var.set(1)
    try:
        await suspend()
    finally:
        var.reset(token)
        os.write(1, b"was reset")

def started():
    wrapped = clew.wrap_coroutine(resets(), contextvars.Context())
    wrapped.send(None)
    return wrapped

var = contextvars.ContextVar("var")
{keep}
"""


@pytest.mark.parametrize(
    "keep",
    ["kept = started()", "collections.kept = started()", "clew.context.coroutines.kept = started()"],
)
def test_coroutine_that_is_left_when_the_interpreter_exits_is_closed_without_a_word(keep: str) -> None:
    command = [sys.executable, "-X", "dev", "-c", PROGRAM.format(keep=keep)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if sys.implementation.name == "cpython":  # PyPy closes nothing at its exit
        assert done.stdout == "was reset"
