# pragma version 0.4.3
# @title Reference of the OP stack's predeploy GasPriceOracle, from specs.optimism.io (predeploys, exec-engine).
# @notice Implements getL1Fee, getL1FeeUpperBound and getOperatorFee of the documented ABI. The fee is that of
#   Ecotone with a blob scalar of 0: calldata gas (16 a byte, 4 a zero byte, 68 bytes for the signature) times the
#   L1 base fee times baseFeeScalar / 1e6. The operator's fee is Isthmus': gas * scalar / 1e6 + constant.
#   Setters stand in for the L1Block predeploy that holds these values on a real chain.

l1_base_fee: public(uint256)
base_fee_scalar: public(uint256)
operator_scalar: public(uint256)
operator_constant: public(uint256)
is_isthmus: public(bool)


@external
def set_fees(l1_base_fee: uint256, base_fee_scalar: uint256):
    self.l1_base_fee = l1_base_fee
    self.base_fee_scalar = base_fee_scalar


@external
def set_operator(scalar: uint256, constant_wei: uint256):
    self.is_isthmus = True
    self.operator_scalar = scalar
    self.operator_constant = constant_wei


@external
@view
def getL1Fee(_data: Bytes[8192]) -> uint256:
    gas: uint256 = 68 * 16
    for i: uint256 in range(len(_data), bound=8192):
        if slice(_data, i, 1) == b"\x00":
            gas += 4
        else:
            gas += 16
    return gas * self.l1_base_fee * self.base_fee_scalar // 10**6


@external
@view
def getL1FeeUpperBound(_unsignedTxSize: uint256) -> uint256:
    return (_unsignedTxSize + 68) * 16 * self.l1_base_fee * self.base_fee_scalar // 10**6


@external
@view
def getOperatorFee(_gasUsed: uint256) -> uint256:
    assert self.is_isthmus, "GasPriceOracle: Isthmus is not active"
    return _gasUsed * self.operator_scalar // 10**6 + self.operator_constant
