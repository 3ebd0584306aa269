# pragma version 0.4.3
# @title Reference of Arbitrum's NodeInterface (0xc8), from docs.arbitrum.io: no contract there, the node answers.
# @notice Implements gasEstimateL1Component of the documented ABI: gas = bytes of calldata and a fixed 140 for the rest
#   of a transaction, 16 units each, times the L1 price over the L2 base fee.

l1_price: public(uint256)
base_fee: public(uint256)


@external
def set_prices(l1_price: uint256, base_fee: uint256):
    self.l1_price = l1_price
    self.base_fee = base_fee


@external
@payable
def gasEstimateL1Component(
    to: address, contractCreation: bool, data: Bytes[8192]
) -> (uint64, uint256, uint256):
    units: uint256 = (len(data) + 140) * 16
    return convert(units * self.l1_price // self.base_fee, uint64), self.base_fee, self.l1_price
