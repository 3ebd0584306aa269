# pragma version 0.4.3
# Reference contract of the interface of a pausable ERC-4626 vault (EIP-4626 and OpenZeppelin's Pausable), with
# shares of 18 decimals over an asset of 6, whose assets lie elsewhere. All answers are set.

asset: public(address)
decimals: public(uint8)
totalAssets: public(uint256)
totalSupply: public(uint256)
paused: public(bool)
liquid: uint256


@deploy
def __init__(asset: address):
    self.asset = asset
    self.decimals = 18


@external
def set_state(assets: uint256, supply: uint256, liquid: uint256, paused: bool):
    self.totalAssets = assets
    self.totalSupply = supply
    self.liquid = liquid
    self.paused = paused


@external
@view
def convertToAssets(shares: uint256) -> uint256:
    return shares * self.totalAssets // self.totalSupply


@external
@view
def maxWithdraw(owner: address) -> uint256:
    return 0 if self.paused else self.liquid
