# Reference, not the protocol: implements the documented ABI subset of Hegic's PolynomialPriceCalculator with honest minimal economics.
# pragma version ==0.4.3
"""
@title Premium of an option as a polynomial of its period; neither spot nor volatility enters it
"""

event SetCoefficients:
    values: int256[5]

event SetPeriodLimits:
    shortest: uint256
    longest: uint256

COEFFICIENT_DECIMALS: constant(uint256) = 10**24

owner: public(address)
minPeriod: public(uint256)
maxPeriod: public(uint256)
coefficients: public(int256[5])
spot_unit: immutable(uint256)


@deploy
def __init__(first_coefficients: int256[5], spot_decimals: uint8):
    """
    @param first_coefficients Of period^0 to period^4, period in seconds; their sum is the premium of one unit, times 1e24
    """
    self.owner = msg.sender
    self.minPeriod = 7 * 86_400
    self.maxPeriod = 45 * 86_400
    self.coefficients = first_coefficients
    spot_unit = 10 ** convert(spot_decimals, uint256)


@external
def setCoefficients(values: int256[5]):
    assert msg.sender == self.owner, "Ownable: caller is not the owner"
    self.coefficients = values
    log SetCoefficients(values=values)


@external
def setPeriodLimits(shortest: uint256, longest: uint256):
    assert msg.sender == self.owner, "AccessControl: owner only"
    assert shortest >= 86_400 and longest <= 90 * 86_400, "PriceCalculator: Period limits are wrong"
    self.minPeriod = shortest
    self.maxPeriod = longest
    log SetPeriodLimits(shortest=shortest, longest=longest)


@view
@external
def calculatePremium(period: uint256, amount: uint256, strike: uint256) -> uint256:
    assert period >= self.minPeriod, "PriceCalculator: The period is too short"
    assert period <= self.maxPeriod, "PriceCalculator: The period is too long"
    total: int256 = 0
    power: int256 = 1
    for coefficient: int256 in self.coefficients:
        total += coefficient * power
        power *= convert(period, int256)
    return convert(total, uint256) // COEFFICIENT_DECIMALS * amount // spot_unit
