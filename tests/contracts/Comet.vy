# pragma version 0.4.3
# Reference contract of the interface of Compound v3's Comet, with its rate model (kink), its rounding and its
# isLiquidatable; balances, prices and pauses are set by anyone, and no interest accrues.

struct AssetInfo:
    offset: uint8
    asset: address
    priceFeed: address
    scale: uint64
    borrowCollateralFactor: uint64
    liquidateCollateralFactor: uint64
    liquidationFactor: uint64
    supplyCap: uint128

interface Feed:
    def latestRoundData() -> (uint80, int256, uint256, uint256, uint80): view

ONE: constant(uint256) = 10**18
KINK: constant(uint256) = 8 * 10**17

baseToken: public(immutable(address))
baseTokenPriceFeed: public(immutable(address))
baseScale: public(immutable(uint256))
numAssets: public(uint8)
assets: AssetInfo[15]
totalSupply: public(uint256)
totalBorrow: public(uint256)
balanceOf: public(HashMap[address, uint256])
borrowBalanceOf: public(HashMap[address, uint256])
collateral: HashMap[address, HashMap[address, uint128]]
isSupplyPaused: public(bool)
isTransferPaused: public(bool)
isWithdrawPaused: public(bool)
isAbsorbPaused: public(bool)
isBuyPaused: public(bool)


@deploy
def __init__(base: address, base_feed: address, base_scale: uint256):
    baseToken = base
    baseTokenPriceFeed = base_feed
    baseScale = base_scale


@external
def add_asset(asset: address, feed: address, scale: uint64, liquidate_factor: uint64):
    self.assets[self.numAssets] = AssetInfo(
        offset=self.numAssets,
        asset=asset,
        priceFeed=feed,
        scale=scale,
        borrowCollateralFactor=liquidate_factor,
        liquidateCollateralFactor=liquidate_factor,
        liquidationFactor=liquidate_factor,
        supplyCap=max_value(uint128),
    )
    self.numAssets += 1


@external
def set_totals(supplied: uint256, borrowed: uint256):
    self.totalSupply = supplied
    self.totalBorrow = borrowed


@external
def set_account(account: address, supplied: uint256, borrowed: uint256, asset: address, held: uint128):
    self.balanceOf[account] = supplied
    self.borrowBalanceOf[account] = borrowed
    self.collateral[account][asset] = held


@external
def pause(supply: bool, transfer: bool, withdraw: bool, absorb: bool, buy: bool):
    self.isSupplyPaused = supply
    self.isTransferPaused = transfer
    self.isWithdrawPaused = withdraw
    self.isAbsorbPaused = absorb
    self.isBuyPaused = buy


@view
@external
def userCollateral(account: address, asset: address) -> (uint128, uint128):
    return self.collateral[account][asset], 0


@view
@external
def getAssetInfo(i: uint8) -> AssetInfo:
    assert i < self.numAssets, "BadAsset"
    return self.assets[i]


@view
@external
def getPrice(feed: address) -> uint256:
    return self._price(feed)


@view
@external
def getUtilization() -> uint256:
    if self.totalSupply == 0:
        return 0
    return self.totalBorrow * ONE // self.totalSupply


@view
@external
def getSupplyRate(utilization: uint256) -> uint64:
    return self._rate(utilization, 0, 1_030_568_239, 12_683_916_793)


@view
@external
def getBorrowRate(utilization: uint256) -> uint64:
    return self._rate(utilization, 475_646_879, 1_109_842_719, 7_927_447_995)


@view
@external
def isLiquidatable(account: address) -> bool:
    debt: uint256 = self.borrowBalanceOf[account] * self._price(baseTokenPriceFeed) // baseScale
    backing: uint256 = 0
    for i: uint256 in range(convert(self.numAssets, uint256), bound=15):
        info: AssetInfo = self.assets[i]
        held: uint256 = convert(self.collateral[account][info.asset], uint256)
        worth: uint256 = held * self._price(info.priceFeed) // convert(info.scale, uint256)
        backing += worth * convert(info.liquidateCollateralFactor, uint256) // ONE
    return debt > backing


@view
@internal
def _price(feed: address) -> uint256:
    answer: int256 = (staticcall Feed(feed).latestRoundData())[1]
    assert answer > 0, "BadPrice"
    return convert(answer, uint256)


@pure
@internal
def _rate(utilization: uint256, base: uint256, low: uint256, high: uint256) -> uint64:
    rate: uint256 = base + low * min(utilization, KINK) // ONE
    if utilization > KINK:
        rate += high * (utilization - KINK) // ONE
    return convert(rate, uint64)
