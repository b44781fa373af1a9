"""
What is carried: snapshots of the context, and callables bound to one.

Standard library only; nothing in this package knows an event loop.
"""
