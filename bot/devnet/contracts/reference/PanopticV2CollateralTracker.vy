# Reference, not the protocol: implements the documented ABI subset of Panoptic v2's CollateralTracker with honest minimal economics.
# pragma version ==0.4.3
# pragma optimize codesize
"""
@title Collateral of one token of a Panoptic reference pool, as shares
@notice Like an ERC-4626 vault, but withdraw works only without open positions; with them, through its form
        that is given all of them. The tokens lie in the pool. Who sold pays interest on what lies in Uniswap.
@dev Own code, not Panoptic's. Left out: mint and redeem, transfers of shares, rates that follow utilization,
     builder fees, donations of virtual shares in liquidations. Vyper also gives withdraw a four-argument form.
"""

interface ERC20:
    def transferFrom(sender: address, receiver: address, amount: uint256) -> bool: nonpayable

interface RiskEngine:
    def NOTIONAL_FEE() -> uint16: view
    def PREMIUM_FEE() -> uint16: view

interface Pool:
    def numberOfLegs(user: address) -> uint256: view
    def riskEngine() -> address: view
    def validateCollateralWithdrawable(user: address, positionIdList: DynArray[uint256, 26], usePremiaAsCollateral: bool): nonpayable

event Deposit:
    sender: indexed(address)
    owner: indexed(address)
    assets: uint256
    shares: uint256

event Withdraw:
    sender: indexed(address)
    receiver: indexed(address)
    owner: indexed(address)
    assets: uint256
    shares: uint256

event Approval:
    owner: indexed(address)
    spender: indexed(address)
    amount: uint256

event CommissionPaid:
    owner: indexed(address)
    builder: indexed(address)
    commissionPaidProtocol: uint128
    commissionPaidBuilder: uint128

MAX_DEPOSIT: constant(uint256) = 2**104 - 1
FEE_UNIT: constant(uint256) = 10_000
WAD: constant(uint256) = 10**18
EPOCH_S: constant(uint256) = 4  # of interest
RATE: constant(uint256) = 40_000_000_000_000_000 // (365 * 86_400)  # a second: 4 % a year, the protocol's at its target

panopticPool: public(immutable(address))
asset: public(immutable(address))

balanceOf: public(HashMap[address, uint256])
allowance: public(HashMap[address, HashMap[address, uint256]])  # of shares
deposited: uint256  # assets that lie in the pool, collected premium apart
in_amm: uint256  # assets that sold options hold in Uniswap
credited: uint256  # shares that stand for what bought options took out of Uniswap
issued: uint256  # shares without the credited ones
unrealized: uint256  # interest that borrowers have not paid yet: assets from the block in which it accrues
index: uint256  # of what was borrowed at the start
accrued_s: uint256
borrowed: HashMap[address, int256]  # sold less bought, in assets
entry: HashMap[address, uint256]  # index up to which an account has paid


@deploy
def __init__(pool: address, token: address):
    panopticPool = pool
    asset = token
    self.issued = 10**6  # virtual shares and one virtual asset, as in the protocol
    self.deposited = 1
    self.index = WAD
    self.accrued_s = block.timestamp // EPOCH_S * EPOCH_S


@external
def accrueInterest():
    self._accrue(msg.sender)


@external
@nonreentrant
def deposit(assets: uint256, receiver: address) -> uint256:
    if assets > MAX_DEPOSIT:
        raw_revert(method_id("DepositTooLarge()"))
    if assets == 0:
        raw_revert(method_id("BelowMinimumRedemption()"))
    self._accrue(msg.sender)
    shares: uint256 = assets * self._supply() // self._assets()
    assert extcall ERC20(asset).transferFrom(msg.sender, panopticPool, assets, default_return_value=True)
    self.balanceOf[receiver] += shares
    self.issued += shares
    self.deposited += assets
    log Deposit(sender=msg.sender, owner=receiver, assets=assets, shares=shares)
    return shares


@external
@nonreentrant
def withdraw(
    assets: uint256,
    receiver: address,
    owner: address,
    positionIdList: DynArray[uint256, 26] = [],
    usePremiaAsCollateral: bool = False,
) -> uint256:
    """
    @notice Three arguments: only without open positions. Five: the account stays solvent with all of them
    """
    if assets == 0:
        raw_revert(method_id("BelowMinimumRedemption()"))
    self._accrue(owner)
    is_plain: bool = len(msg.data) == 100
    if assets > self._free(owner) or (is_plain and staticcall Pool(panopticPool).numberOfLegs(owner) != 0):
        raw_revert(method_id("ExceedsMaximumRedemption()"))
    shares: uint256 = self._up(assets, self._supply(), self._assets())
    if msg.sender != owner and self.allowance[owner][msg.sender] != max_value(uint256):
        self.allowance[owner][msg.sender] -= shares
    self.balanceOf[owner] -= shares
    self.issued -= shares
    self.deposited -= assets
    if not is_plain:
        extcall Pool(panopticPool).validateCollateralWithdrawable(owner, positionIdList, usePremiaAsCollateral)
    assert extcall ERC20(asset).transferFrom(panopticPool, receiver, assets, default_return_value=True)
    log Withdraw(sender=msg.sender, receiver=receiver, owner=owner, assets=assets, shares=shares)
    return shares


@external
def approve(spender: address, amount: uint256) -> bool:
    """
    @notice Let somebody withdraw so many of the caller's shares
    """
    self.allowance[msg.sender][spender] = amount
    log Approval(owner=msg.sender, spender=spender, amount=amount)
    return True


@external
def settleMint(owner: address, long_amount: uint256, short_amount: uint256, amm_delta: int256):
    """
    @notice Book the opening of a position and take the commission on its notional
    @param amm_delta What Uniswap took of this token, negative: gave
    """
    assert msg.sender == panopticPool, "pool only"
    self._accrue(owner)
    assets: uint256 = self._assets()
    supply: uint256 = self._supply()
    borrowed: int256 = convert(short_amount, int256) - convert(long_amount, int256)
    self.borrowed[owner] += borrowed
    self.credited += self._up(long_amount, supply, assets)
    self.in_amm += short_amount
    self._settle(owner, amm_delta - borrowed, assets, supply)
    self._move_deposits(-amm_delta)
    rate: uint256 = convert(staticcall RiskEngine(staticcall Pool(panopticPool).riskEngine()).NOTIONAL_FEE(), uint256)
    self._commission(owner, self._up(long_amount + short_amount, rate, FEE_UNIT), assets, supply)


@external
def settleBurn(owner: address, long_amount: uint256, short_amount: uint256, amm_delta: int256, premium: int256):
    """
    @notice Book the closing of a position, or with no amounts the settlement of its premium
    @param premium What the owner gets, negative: pays
    """
    assert msg.sender == panopticPool, "pool only"
    self._accrue(owner)
    assets: uint256 = self._assets()
    supply: uint256 = self._supply()
    returned: int256 = convert(long_amount, int256) - convert(short_amount, int256)
    self.borrowed[owner] += returned
    due: int256 = amm_delta - returned - premium
    credit: uint256 = long_amount * supply // assets
    if credit > self.credited:  # Uniswap rounds against us: the owner pays the last unit
        due += convert(self._up(credit - self.credited, assets, supply), int256)
        credit = self.credited
    self.credited -= credit
    self.in_amm -= short_amount
    self._settle(owner, due, assets, supply)
    self._move_deposits(premium - amm_delta)
    if premium != 0:
        engine: RiskEngine = RiskEngine(staticcall Pool(panopticPool).riskEngine())
        fee: uint256 = self._up(convert(abs(premium), uint256), convert(staticcall engine.PREMIUM_FEE(), uint256), FEE_UNIT)
        if long_amount + short_amount > 0:
            rate: uint256 = 10 * convert(staticcall engine.NOTIONAL_FEE(), uint256)
            fee = min(fee, self._up(long_amount + short_amount, rate, FEE_UNIT))
        self._commission(owner, fee, assets, supply)


@view
@external
def assetsOf(owner: address) -> uint256:
    return self._worth(self.balanceOf[owner])


@view
@external
def convertToAssets(shares: uint256) -> uint256:
    return self._worth(shares)


@view
@external
def convertToShares(assets: uint256) -> uint256:
    return assets * self._supply() // self._assets()


@view
@external
def maxWithdraw(owner: address) -> uint256:
    if staticcall Pool(panopticPool).numberOfLegs(owner) != 0:
        return 0
    return self._free(owner)


@view
@external
def totalAssets() -> uint256:
    return self._assets()


@view
@external
def totalSupply() -> uint256:
    return self._supply()


@view
@external
def getPoolData() -> (uint256, uint256, uint256, uint256):
    """
    @return Assets in the pool, assets in Uniswap, credited shares, utilization in basis points
    """
    return self.deposited, self.in_amm, self.credited, self.in_amm * 10_000 // self._assets()


@internal
def _accrue(owner: address):
    """
    @notice Let interest become assets up to this block, and the owner pay what it owes of it
    """
    now: uint256 = block.timestamp // EPOCH_S * EPOCH_S
    growth: uint256 = RATE * (now - self.accrued_s)
    self.unrealized += self._up(self.in_amm, growth, WAD)
    self.index += self._up(self.index, growth, WAD)
    self.accrued_s = now
    entry: uint256 = self.entry[owner]
    self.entry[owner] = self.index
    if self.borrowed[owner] <= 0 or entry == 0 or entry == self.index:
        return
    owed: uint256 = self._up(convert(self.borrowed[owner], uint256), self.index - entry, entry)
    shares: uint256 = min(self._up(owed, self._supply(), self._assets()), self.balanceOf[owner])
    self.balanceOf[owner] -= shares
    self.issued -= shares
    self.unrealized -= min(owed, self.unrealized)


@internal
def _settle(owner: address, due: int256, assets: uint256, supply: uint256):
    """
    @notice Take shares for what is due, or give them for what is owed to the owner
    """
    if due > 0:
        self._take(owner, convert(due, uint256), assets, supply)
    elif due < 0:
        shares: uint256 = convert(-due, uint256) * supply // assets
        self.balanceOf[owner] += shares
        self.issued += shares


@internal
def _commission(owner: address, fee: uint256, assets: uint256, supply: uint256):
    """
    @notice Burn shares: the other depositors get the commission
    """
    if fee > 0:
        self._take(owner, fee, assets, supply)
    log CommissionPaid(
        owner=owner, builder=empty(address), commissionPaidProtocol=convert(fee, uint128), commissionPaidBuilder=0
    )


@internal
def _take(owner: address, amount: uint256, assets: uint256, supply: uint256):
    shares: uint256 = self._up(amount, supply, assets)
    if self.balanceOf[owner] < shares:
        held: uint256 = self.balanceOf[owner] * assets // supply
        raw_revert(abi_encode(self, amount, held, method_id=method_id("NotEnoughTokens(address,uint256,uint256)")))
    self.balanceOf[owner] -= shares
    self.issued -= shares


@internal
def _move_deposits(change: int256):
    self.deposited = convert(convert(self.deposited, int256) + change, uint256)


@view
@internal
def _free(owner: address) -> uint256:
    """
    @notice What the owner has, as far as it lies in the pool and is not credited to buyers
    """
    locked: uint256 = self._worth(self.credited) + 1
    if self.deposited <= locked:
        return 0
    return min(self.deposited - locked, self._worth(self.balanceOf[owner]))


@view
@internal
def _assets() -> uint256:
    return self.deposited + self.in_amm + self.unrealized


@view
@internal
def _supply() -> uint256:
    return self.issued + self.credited


@view
@internal
def _worth(shares: uint256) -> uint256:
    return shares * self._assets() // self._supply()


@pure
@internal
def _up(a: uint256, b: uint256, c: uint256) -> uint256:
    return (a * b + c - 1) // c
