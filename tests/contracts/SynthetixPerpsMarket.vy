# pragma version 0.4.3
# Reference contract of the funding views of Synthetix v3's PerpsMarketProxy: the rate is a fraction a day and
# drifts by the velocity, which follows the skew, as in PerpsMarket.sol. A market that does not exist answers
# zeros and empty names, as the real one does.

ONE: constant(int256) = 10**18
DAY: constant(int256) = 86400

struct Market:
    name: String[64]
    symbol: String[32]
    skew: int256
    size: uint256
    skew_scale: int256
    max_velocity: int256
    last_rate: int256
    last_time: uint256

markets: HashMap[uint128, Market]


@external
def create(market_id: uint128, name: String[64], symbol: String[32], skew_scale: int256, max_velocity: int256):
    self.markets[market_id].name = name
    self.markets[market_id].symbol = symbol
    self.markets[market_id].skew_scale = skew_scale
    self.markets[market_id].max_velocity = max_velocity
    self.markets[market_id].last_time = block.timestamp


@external
def trade(market_id: uint128, skew: int256, size: uint256):
    """
    @notice Record the rate so far, then set what positions add up to
    """
    self.markets[market_id].last_rate = self._rate(market_id)
    self.markets[market_id].last_time = block.timestamp
    self.markets[market_id].skew = skew
    self.markets[market_id].size = size


@view
@external
def metadata(market_id: uint128) -> (String[64], String[32]):
    return self.markets[market_id].name, self.markets[market_id].symbol


@view
@external
def size(market_id: uint128) -> uint256:
    return self.markets[market_id].size


@view
@external
def currentFundingRate(market_id: uint128) -> int256:
    return self._rate(market_id)


@view
@external
def currentFundingVelocity(market_id: uint128) -> int256:
    return self._velocity(market_id)


@view
@internal
def _velocity(market_id: uint128) -> int256:
    market: Market = self.markets[market_id]
    if market.skew_scale == 0:
        return 0
    share: int256 = max(-ONE, min(ONE, market.skew * ONE // market.skew_scale))
    return share * market.max_velocity // ONE


@view
@internal
def _rate(market_id: uint128) -> int256:
    market: Market = self.markets[market_id]
    elapsed: int256 = convert(block.timestamp - market.last_time, int256) * ONE // DAY
    return market.last_rate + self._velocity(market_id) * elapsed // ONE
