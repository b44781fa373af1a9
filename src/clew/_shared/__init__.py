"""
What every room may use: a lock that survives a fork, and the counters behind `clew.stats()`.
"""
