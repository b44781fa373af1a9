"""
What helps to test traced programs: fixtures for pytest in `clew.testing.plugin`, their fakes in `clew.testing.fakes`.

Recording and checking a tree are everyday work, and in `clew`: see `clew.record`.
"""

from __future__ import annotations
