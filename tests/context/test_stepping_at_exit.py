"""
Coroutines and generators that are still suspended when the interpreter exits.
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


SUSPENDED = """
import contextvars, threading, clew

def numbers():
    try:
        yield 1
    finally:
        pass

async def numbers_later():
    try:
        yield 1
    finally:
        pass

def started(generator):
    try:
        generator.__anext__().send(None) if hasattr(generator, "__anext__") else next(generator)
    except StopIteration:
        pass
    return generator

def start():
    global kept
    kept = started({generator})

recording = clew.record()
recording.__enter__()
thread = threading.Thread(target=start)
thread.start()
thread.join()
"""


@pytest.mark.parametrize(
    "generator",
    [
        "clew.context_generator(numbers)()",
        "clew.context_generator(inherit='live')(numbers)()",
        "clew.context_generator(isolate=[])(numbers)()",
        "clew.wrap_generator(numbers(), context=contextvars.Context())",
        "clew.wrap_stream(numbers())",
        "clew.traceable(numbers)()",
        "clew.traceable(lambda: numbers())()",
        "clew.context_generator(numbers_later)()",
        "clew.traceable(numbers_later)()",
    ],
)
def test_generator_of_a_thread_that_is_left_when_the_interpreter_exits_is_closed_without_a_word(generator: str) -> None:
    program = SUSPENDED.format(generator=generator)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
