"""Where each number of a policy, of its memory and of a tape stands in the kernels' flat arrays."""

# A policy's numbers (float64). Durations are seconds, shares fractions.
(
    VOTE,
    VOTE_OFF,
    SEVERE_SCORE,
    FAST_VOTE,  # rounded as scores are; inf: no fast path
    FAST_CALM,  # half of it
    CONFIRM,
    CONFIRM_S,
    CONFIRM_BLOCKS,
    COOLDOWN,
    COOLDOWN_GUARDED,
    STEP_DOWN_ONE,  # 1: one tier at a time
    SESSION,
    NEAR_BY_TIER,  # 1: NEAR opens with the tier, 0: by its own trigger
    DELTA_SHARE,  # five of them, by tier
) = range(14)
(
    RESET_BAND,
    MIN_FUNDING,
    MAX_NOTIONAL,
    MAX_MARGIN,
    MAX_SLIPPAGE,
    DEFINED_RISK,
    MIN_ORDER,
    CARRY_SHARE,
    CARRY_FLOOR,
    WACC,
    TOLERANCE,
    PAUSE_FIRST,
    PAUSE_LONGEST,
) = range(DELTA_SHARE + 5, DELTA_SHARE + 18)
PARAMETERS = PAUSE_LONGEST + 1

# A lane's memory: floats.
(
    NEEDED_S,  # when the present tier was last asked for
    STEPPED_DOWN_S,
    SINCE_S,  # of the tiers 1 to 4 that wait for confirmation
) = range(3)
(
    SIZE,  # units, short < 0
    ENTRY_USD,  # as the venue reckons it
    BOOK_ENTRY_USD,  # as the book does: margin that is added is no trade there
    MARGIN_USD,
    SETTLED,  # the funding integral up to which funding was settled
    BOOK_FUNDING_USD,  # settled since the position was opened
    CASH_USD,
    REFUSED_S,
    SHARE,  # of the delta that is to be short now
    PEAK_USD,
    WORST,  # least of value over peak
    FEES_USD,
    FUNDING_USD,
    TRADED_USD,
) = range(SINCE_S + 4, SINCE_S + 18)
FLOATS = TRADED_USD + 1

# A lane's memory: integers.
(
    TIER,
    MEMORY,  # bits: 0-2 a family voted, 3-5 it was high, 6 the lone family's stand-in
    FRAMES,  # of the tiers 1 to 4 that wait for confirmation; 0: none waits
    BLOCK,  # of their first frame
) = (0, 1, 2, 6)
(
    NEAR_TRIGGERED,
    REFUSALS,  # of openings, in a row
    NEEDS,  # 1: the tier was asked for at the last step that was taken
    HEAD,  # of the ring of spends
    SPENDS,
    TRADES,
    ORDERS,
    ENTERED,  # the step at which the tier began
    STEPS_AT,  # five of them, by tier
) = range(10, 19)
INTEGERS = STEPS_AT + 5

# Rows of a tier tape.
SCORE, THIRD, WORST_SCORE = 0, 3, 6  # three of each, by family
FAST_MEAN, FAST_CEILING = 9, 10
SCORE_ROWS = 11

# Bits of a tier tape's flags.
HOLD, DEGRADED, NEAR_RELEASE, DENIED, NEAR_FIRES, LOST = 1, 2, 4, 8, 16, 32
LONE_SHIFT, FORCED_SHIFT = 8, 12  # the lone family's number from 1, 0 for none; the tier that R2 and R6 force

# Rows of a market tape.
(
    SPOT_USD,
    FEES_UNCOLLECTED_USD,
    INCOME_USD,  # LP fees of the last 30 days, 0 where unknown
    RATE,  # funding a year; NaN: nothing is quoted
    INTEGRAL,  # of the funding rate over time, years
    ACCRUES,  # 1: the funding series is there, so that funding accrues
    COST,
    GAS_USD,
) = range(8)
MARKET_ROWS = 8

# The position's shape, which a market tape numbers, and the perpetual's terms behind it.
(
    LIQUIDITY,
    LOWER_USD,
    UPPER_USD,
    KEPT_UNITS,  # of the deposit, under loss_measure = hold; under 0: today's
) = range(4)
SHAPE_FIELDS = 4
(
    BY_HOLD,  # 1: losses are against holding
    INITIAL_MARGIN,
    MAINTENANCE_MARGIN,
    PENALTY,
    LOT,
    MAX_UNITS,
    LOWER_ROOT,  # of the shape's range
    UPPER_ROOT,
) = range(SHAPE_FIELDS, SHAPE_FIELDS + 8)
TERMS = SHAPE_FIELDS + 8

# What became of an order.
OPEN, REDUCE, ADD_MARGIN, ENDED = 0, 1, 2, 3
ORDER_FIELDS = 5  # step, action, signed size, margin moved, 1 filled or 0 refused

# A lane's rest: between these bounds of six scores, until the time, with the same flags, no tier changes.
LEAST, MOST, UNTIL_S = 0, 6, 12
REST_FIELDS = 13

# A lane's row holds parameters, memory and rest, in this order.
MEMORY_FROM = PARAMETERS
REST_FROM = PARAMETERS + FLOATS
FIELDS = REST_FROM + REST_FIELDS
