"""
Where finished runs go: the protocol, the pipeline that feeds it, and one module for each kind of place.

How one is chosen is in `clew.exporters.configuration`.
"""

from __future__ import annotations

from clew._shared.environment import load_configuration

load_configuration()
