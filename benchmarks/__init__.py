"""
Measure what clew costs, beside the bare thing and beside the libraries people would use instead.

Run it with ``python -m benchmarks -h``; nothing here is part of the package or of its test suite.
"""
