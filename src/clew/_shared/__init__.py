"""
What all parts of clew use: locks that survive a fork, the counters behind `clew.stats()`, blocks for one use.
"""
