"""
What a run keeps of the values and exceptions that pass through it: bounded copies, never the objects themselves.
"""
