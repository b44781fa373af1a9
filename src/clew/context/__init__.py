"""
Captured contexts, and the functions, generators, coroutines and streams that run in one.

Nothing in this package depends on another library or on an event loop.
"""

from clew._shared import exiting as _exiting  # noqa: F401  it is registered for the exit of the interpreter
