# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's HegicStrategyPut and HegicStrategyCall with honest minimal economics.
# pragma version ==0.4.3
"""
@title Sells one kind of option: put or call, one moneyness, one span of periods
@dev `strategyData` keeps the spot at purchase; the strike is that times the price scale, which no function tells.
"""

interface Feed:
    def latestRoundData() -> (uint80, int256, uint256, uint256, uint80): view
    def decimals() -> uint8: view

interface PriceCalculator:
    def calculatePremium(period: uint256, amount: uint256, strike: uint256) -> uint256: view

interface LimitController:
    def limit() -> uint256: view

interface CoverPool:
    def availableForPayment() -> uint256: view

interface PositionsManager:
    def isApprovedOrOwner(spender: address, token_id: uint256) -> bool: view

interface Treasury:
    def totalLocked() -> uint256: view
    def lockedPremium() -> uint256: view
    def lockedByStrategy(strategy: address) -> uint256: view
    def totalBalance() -> uint256: view
    def coverPool() -> address: view
    def manager() -> address: view

struct StrategyData:
    amount: uint128
    strike: uint128

event Acquired:
    id: indexed(uint256)
    data: StrategyData
    negativepnl: uint256
    positivepnl: uint256
    period: uint256
    additional: DynArray[Bytes[32], 4]

event SetLimit:
    limit: uint256

TOKEN_UNIT: constant(uint256) = 10**6  # of the treasury's USDC
SCALE: constant(uint256) = 10**4
K_DECIMALS: constant(uint256) = 100

owner: public(address)
pool: public(address)
pricer: public(address)
limitController: public(address)
lockedLimit: public(uint256)
k: public(uint256)
minPeriod: public(uint256)
maxPeriod: public(uint256)
priceProvider: public(immutable(address))
exerciseWindowDuration: public(immutable(uint256))
positionExpiration: public(HashMap[uint256, uint32])
positions: HashMap[uint256, StrategyData]
is_put: immutable(bool)
price_scale: immutable(uint256)
spot_unit: immutable(uint256)


@deploy
def __init__(
    puts: bool,
    feed: address,
    price_calculator: address,
    limit: uint256,
    spot_decimals: uint8,
    scale: uint256,
    period_limits: uint256[2],
    exercise_window: uint256,
    limit_controller: address,
):
    """
    @param scale Strike over spot at purchase, times 1e4
    @param exercise_window Last seconds of an option in which it can be exercised; 0: always
    """
    self.owner = msg.sender
    self.pricer = price_calculator
    self.lockedLimit = limit
    self.minPeriod = period_limits[0]
    self.maxPeriod = period_limits[1]
    self.limitController = limit_controller
    self.k = 100
    is_put = puts
    priceProvider = feed
    spot_unit = 10 ** convert(spot_decimals, uint256)
    price_scale = scale
    exerciseWindowDuration = exercise_window if exercise_window > 0 else 2**48 - 1


@external
def connect():
    """
    @notice Take the caller as treasury; once
    """
    assert self.pool == empty(address), "The strategy was inited"
    self.pool = msg.sender


@external
def setPricer(price_calculator: address):
    self._only_owner()
    self.pricer = price_calculator


@external
def setLimit(limit: uint256):
    self._only_owner()
    self.lockedLimit = limit
    log SetLimit(limit=limit)


@external
def create(
    id: uint256, holder: address, amount: uint256, period: uint256, additional: DynArray[Bytes[32], 4]
) -> (uint32, uint256, uint256):
    assert msg.sender == self.pool, "Only OperationalTresuary pool can execute this function"
    assert self.minPeriod <= period and period <= self.maxPeriod, "Period is wrong"
    locked: uint256 = self._collateral(amount, period)
    premium: uint256 = self._premium(amount, period)
    expiration: uint32 = convert(block.timestamp + period, uint32)
    data: StrategyData = StrategyData(amount=convert(amount, uint128), strike=convert(self._spot(), uint128))
    self.positionExpiration[id] = expiration
    self.positions[id] = data
    treasury: Treasury = Treasury(self.pool)
    in_strategy: uint256 = staticcall treasury.lockedByStrategy(self) + locked
    in_all: uint256 = staticcall treasury.totalLocked() + locked
    fits: bool = in_strategy <= self.lockedLimit and in_all <= staticcall LimitController(self.limitController).limit()
    assert fits, "HegicStrategy: The limit is exceeded"
    log Acquired(
        id=id, data=data, negativepnl=locked, positivepnl=premium, period=period, additional=additional
    )
    return expiration, locked, premium


@view
@external
def strategyData(id: uint256) -> (uint128, uint128):
    """
    @return Amount, and the spot at purchase
    """
    return self.positions[id].amount, self.positions[id].strike


@view
@external
def calculateNegativepnlAndPositivepnl(
    amount: uint256, period: uint256, additional: DynArray[Bytes[32], 4]
) -> (uint128, uint128):
    """
    @return What is locked, and the premium; no check of the strategy's own period limits, as in the protocol
    """
    return convert(self._collateral(amount, period), uint128), convert(self._premium(amount, period), uint128)


@view
@external
def getAvailableContracts(period: uint32, additional: DynArray[Bytes[32], 4]) -> uint256:
    treasury: Treasury = Treasury(self.pool)
    locked: uint256 = staticcall treasury.totalLocked()
    in_strategy: uint256 = staticcall treasury.lockedByStrategy(self)
    cover: uint256 = staticcall CoverPool(staticcall treasury.coverPool()).availableForPayment()
    funds: uint256 = cover + staticcall treasury.totalBalance()
    bound: uint256 = locked + staticcall treasury.lockedPremium()
    most: uint256 = staticcall LimitController(self.limitController).limit()
    if funds < bound or self.lockedLimit < in_strategy or most < locked:
        return 0
    free: uint256 = min(funds - bound, min(self.lockedLimit - in_strategy, most - locked))
    return free * spot_unit // self._collateral(spot_unit, convert(period, uint256))


@view
@external
def getLockedByStrategy() -> uint256:
    return staticcall Treasury(self.pool).lockedByStrategy(self)


@view
@external
def payOffAmount(id: uint256) -> uint256:
    return self._pay_off(id)


@view
@external
def isPayoffAvailable(id: uint256, caller: address, recipient: address) -> bool:
    """
    @dev Says nothing of expiry: the treasury checks that
    """
    manager: PositionsManager = PositionsManager(staticcall Treasury(self.pool).manager())
    if not staticcall manager.isApprovedOrOwner(caller, id):
        return False
    in_window: bool = convert(self.positionExpiration[id], uint256) < block.timestamp + exerciseWindowDuration
    return in_window and self._pay_off(id) > 0


@view
@internal
def _premium(amount: uint256, period: uint256) -> uint256:
    return staticcall PriceCalculator(self.pricer).calculatePremium(period, amount, 0)


@view
@internal
def _collateral(amount: uint256, period: uint256) -> uint256:
    """
    @dev Follows the premium, not the most that may have to be paid
    """
    return self._premium(amount, period) * self.k // K_DECIMALS


@view
@internal
def _pay_off(id: uint256) -> uint256:
    data: StrategyData = self.positions[id]
    strike: uint256 = convert(data.strike, uint256) * price_scale // SCALE
    spot: uint256 = self._spot()
    gain: uint256 = 0
    if is_put and spot < strike:
        gain = strike - spot
    elif not is_put and spot > strike:
        gain = spot - strike
    price_unit: uint256 = 10 ** convert(staticcall Feed(priceProvider).decimals(), uint256)
    return gain * convert(data.amount, uint256) * TOKEN_UNIT // spot_unit // price_unit


@view
@internal
def _spot() -> uint256:
    return convert((staticcall Feed(priceProvider).latestRoundData())[1], uint256)


@view
@internal
def _only_owner():
    assert msg.sender == self.owner, "AccessControl: owner only"
