"""The engine: what to protect, how much, with which legs. Pure; ``step.decide`` is the whole of it.

Nothing is imported here: a process that only reads a policy, such as the signer, needs no solver.
"""
