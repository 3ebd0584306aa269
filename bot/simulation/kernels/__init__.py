"""Many policies at once over one history: R1-R4 and NEAR's perpetual (R27), proven equal to the engine.

``support`` says which policies and markets the kernels may stand in for; everything else is the engine's.
``tapes`` and ``market_tapes`` write down, by the engine's own functions, all that the rules look at and that
does not depend on what was decided before. ``tier_steps``, ``perpetual_steps`` and ``perpetual_fills`` are
the rules of one step in plain Python; ``lanes`` compiles the very same text and leaves out the steps at which
nothing can happen. ``evaluate`` is what others call. Importing anything but this file costs numba's import.
"""
