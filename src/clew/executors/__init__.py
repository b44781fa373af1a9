"""
Executors and threads that run each job in the context of its submitter.
"""
