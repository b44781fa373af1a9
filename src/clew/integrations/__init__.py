"""
clew and one other package at a time: a module for each, which alone imports it.
"""

from __future__ import annotations
