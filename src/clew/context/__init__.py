"""
Captured contexts, and the functions, generators, coroutines and streams that run in one.

Nothing in this package depends on another library or on an event loop.
"""
