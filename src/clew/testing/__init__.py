"""
Help for tests of traced programs: fixtures for pytest in `clew.testing.plugin`, fakes in `clew.testing.fakes`.

Recording runs and checking a tree are everyday work; see `clew.record`.
"""

from __future__ import annotations
