# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's ChainLinkPricer with honest minimal economics.
# pragma version ==0.4.3
"""
@title Takes the price of one asset from a Chainlink feed of 8 decimals into the oracle
@dev The bot is believed; anyone else must name the first round at or after expiry.
"""

interface Feed:
    def latestRoundData() -> (uint80, int256, uint256, uint256, uint80): view
    def getRoundData(round_id: uint80) -> (uint80, int256, uint256, uint256, uint80): view

interface Oracle:
    def setExpiryPrice(asset: address, expiry: uint256, price: uint256): nonpayable

bot: public(immutable(address))
asset: public(immutable(address))
aggregator: public(immutable(address))
oracle: public(immutable(address))


@deploy
def __init__(trusted_bot: address, priced_asset: address, feed: address, gamma_oracle: address):
    bot = trusted_bot
    asset = priced_asset
    aggregator = feed
    oracle = gamma_oracle


@external
def setExpiryPriceInOracle(expiry: uint256, round_id: uint80):
    answer: int256 = 0
    updated_at: uint256 = 0
    answer, updated_at = self._round(round_id)
    assert expiry <= updated_at, "ChainLinkPricer: roundId not first after expiry"
    assert answer >= 0, "ChainLinkPricer: invalid price"
    if msg.sender != bot:
        before: uint256 = self._round(round_id - 1)[1]
        assert before <= expiry, "ChainLinkPricer: previousRoundId not last before expiry"
    extcall Oracle(oracle).setExpiryPrice(asset, expiry, convert(answer, uint256))


@view
@external
def getPrice() -> uint256:
    answer: int256 = (staticcall Feed(aggregator).latestRoundData())[1]
    assert answer > 0, "ChainLinkPricer: price is lower than 0"
    return convert(answer, uint256)


@view
@internal
def _round(round_id: uint80) -> (int256, uint256):
    found: (uint80, int256, uint256, uint256, uint80) = staticcall Feed(aggregator).getRoundData(round_id)
    return found[1], found[3]
