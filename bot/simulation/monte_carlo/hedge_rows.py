"""Where things stand in the flat arrays of ``hedge_tiles``: rows of state, and numbers that stay."""

import numpy as np

THREE = np.float32(3.0)
TINY = np.float32(1e-12)
LEAST_VARIANCE = np.float32(1e-4)  # of a term structure, a year, as in ``market_model.tenor_vols``
NOBODY = np.float32(99.0)  # a tier that is never reached

# Rows of an exposure: units of the underlying that it holds, its value, fees so far and of this step; its
# liquidity and range, the ends as roots of prices.
UNITS, VALUE, FEES, EARNING, LIQUIDITY, ROOT_LOW, ROOT_HIGH, PER_ROOT_HIGH = range(8)
EXPOSURE_ROWS = 8

# Rows of a hedge: tier, the step at which it was last needed, money, the perpetual, what limits are used up.
TIER, SINCE, CASH, PERPETUAL, PERPETUAL_GAIN, PREMIUM, ORDERS, SESSION, SPENT_30, SPENT_365, OPEN = range(11)
HEDGE_ROWS = 11

# Rows of one layer's option.
STRIKE, LOG_STRIKE, CONTRACTS, COST, PRICE, SPREAD, BID, BUYS, CLOSES, D1, D2, BELL = range(12)
LAYER_ROWS = 12

# Numbers of an exposure, float32: value at the start; ends of its range over the price, as roots; fees of
# a step and
# cost of opening it anew as shares of value; impact in vol per contract; whether it is opened anew at all.
START_VALUE, LOW_RATIO, HIGH_RATIO, FEE_STEP, SWAP_COST, IMPACT, RECENTRES = range(7)
EXPOSURE_NUMBERS = 7

# Numbers of the market, float32; gas in units of all exposures' value.
(
    SPREAD_SHARE,
    SPREAD_VOL,
    SPREAD_STRESS,
    NOTIONAL_SHARE,
    NOTIONAL_CAP,
    GAS,
    GAS_STRESS,
    SKEW_BEND,
    PERPETUAL_COST,
    PERPETUAL_GAS,
    STEP_YEARS,
    MARKET_NUMBERS,
) = range(12)

# Numbers of a policy, float32.
(
    VOTE,  # of TECHNICAL's score, high enough that its third one is over vote_off too
    VOTE_OFF,
    FAST,  # NOBODY: no fast path
    FAST_OFF,
    FAST_FALL,  # what the fall's and the jump's scores weigh in the fast mean
    FAST_RISE,
    FALL_CALM,
    FALL_PER,
    JUMP_CALM,
    JUMP_PER,
    COOL_GUARDED,
    COOL,
    IS_STRAIGHT,
    CAPITAL,
    SESSION_SHARE,
    BUDGET_30,
    BUDGET_365,
    HAS_PERPETUAL,
    SHARE_ELEVATED,
    RESET_BAND,
    MIN_FUNDING,
    FIRST_LAYER,
) = range(22)
# From FIRST_LAYER on, for each of NEAR, MID, TAIL: the strike's quantile, the tier that opens it, contracts
# per unit of the position's delta at each tier up to ELEVATED.
QUANTILE, OPENS_AT, RATIO_CALM, RATIO_GUARDED, RATIO_ELEVATED = range(5)
LAYER_NUMBERS = 5
LAYERS = 3
POLICY_NUMBERS = FIRST_LAYER + LAYERS * LAYER_NUMBERS

# Entries of a layer's calendar at a step: total variance of the option that is then bought or held is BASE +
# PER_IV2 x (30-day implied vol)^2, its life ROOT_YEARS^2; ROLLS: the one held so far goes first, SETTLES
# at its
# payoff, else it is sold as the OLD_ ones say; LISTED: one can be bought.
BASE, PER_IV2, ROOT_YEARS, OLD_BASE, OLD_PER_IV2, OLD_ROOT_YEARS, ROLLS, SETTLES, LISTED = range(9)
CALENDAR_NUMBERS = 9
