"""
Where the context is carried across: executors that run each job in the context of its submitter.
"""
