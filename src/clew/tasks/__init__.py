"""
Tasks and task groups that run in a given context: one module for each event loop, with the same verbs in each.

Nothing is imported here: `clew.tasks.asyncio`, `clew.tasks.anyio` and `clew.tasks.trio` each import their own loop.
"""

from __future__ import annotations
