# Reference, not the protocol: implements the documented ABI subset of Hegic Herge's OperationalTreasury with honest minimal economics.
# pragma version ==0.4.3
"""
@title Sells options of its strategies, takes the premiums and pays what is exercised
@dev Neither a price limit nor a deadline can be given to `buy`. What is locked for an option is its premium, so the
     treasury and its cover pool together may be unable to pay.
"""

from ethereum.ercs import IERC20

interface Strategy:
    def connect(): nonpayable
    def create(
        id: uint256, holder: address, amount: uint256, period: uint256, additional: DynArray[Bytes[32], 4]
    ) -> (uint32, uint256, uint256): nonpayable
    def payOffAmount(id: uint256) -> uint256: view
    def isPayoffAvailable(id: uint256, caller: address, recipient: address) -> bool: view

interface PositionsManager:
    def createOptionFor(holder: address) -> uint256: nonpayable

interface CoverPool:
    def availableForPayment() -> uint256: view
    def payOut(amount: uint256): nonpayable

event Expired:
    id: indexed(uint256)

event Paid:
    id: indexed(uint256)
    account: indexed(address)
    amount: uint256

event Replenished:
    amount: uint256

struct LockedLiquidity:
    state: uint8
    strategy: address
    negativepnl: uint128
    positivepnl: uint128
    expiration: uint32

UNLOCKED: constant(uint8) = 0
LOCKED: constant(uint8) = 1

owner: public(address)
token: public(immutable(address))
manager: public(immutable(address))
coverPool: public(immutable(address))
maxLockupPeriod: public(immutable(uint256))
benchmark: public(uint256)
totalLocked: public(uint256)
lockedPremium: public(uint256)
lockedByStrategy: public(HashMap[address, uint256])
acceptedStrategy: public(HashMap[address, bool])
locks: HashMap[uint256, LockedLiquidity]


@deploy
def __init__(
    payment_token: address, positions: address, max_lockup_period: uint256, cover_pool: address, first_benchmark: uint256
):
    self.owner = msg.sender
    token = payment_token
    manager = positions
    maxLockupPeriod = max_lockup_period
    coverPool = cover_pool
    self.benchmark = first_benchmark


@external
def connectStrategy(strategy: address):
    """
    @notice Sell options of a strategy from now on; the protocol waits for the next epoch of its cover pool
    """
    self._only_owner()
    extcall Strategy(strategy).connect()
    self.acceptedStrategy[strategy] = True


@external
def setBenchmark(balance: uint256):
    self._only_owner()
    self.benchmark = balance


@external
def withdraw(to: address, amount: uint256):
    self._only_owner()
    self._withdraw(to, amount)


@nonreentrant
@external
def buy(strategy: address, holder: address, amount: uint256, period: uint256, additional: DynArray[Bytes[32], 4]):
    """
    @notice Buy at the premium of this moment, struck at the spot of this moment
    """
    id: uint256 = extcall PositionsManager(manager).createOptionFor(holder)
    expiration: uint32 = 0
    locked: uint256 = 0
    premium: uint256 = 0
    expiration, locked, premium = extcall Strategy(strategy).create(id, holder, amount, period, additional)
    assert self.acceptedStrategy[strategy], "Wrong strategy"
    self.totalLocked += locked
    self.lockedPremium += premium
    assert self.totalLocked + self.lockedPremium <= self._funds(), "The negative pnl amount is too large"
    assert block.timestamp + maxLockupPeriod >= convert(expiration, uint256), "The period is too long"
    self.lockedByStrategy[strategy] += locked
    self.locks[id] = LockedLiquidity(
        state=LOCKED,
        strategy=strategy,
        negativepnl=convert(locked, uint128),
        positivepnl=convert(premium, uint128),
        expiration=expiration,
    )
    moved: bool = extcall IERC20(token).transferFrom(msg.sender, self, premium, default_return_value=True)
    assert moved, "SafeERC20: ERC20 operation did not succeed"


@nonreentrant
@external
def payOff(id: uint256, account: address):
    """
    @notice Exercise an option before it expires and pay `account`; by its holder or whom the holder approved
    """
    lock: LockedLiquidity = self.locks[id]
    amount: uint256 = staticcall Strategy(lock.strategy).payOffAmount(id)
    assert convert(lock.expiration, uint256) > block.timestamp, "The option has already expired"
    is_available: bool = staticcall Strategy(lock.strategy).isPayoffAvailable(id, msg.sender, account)
    assert is_available, "You can not execute this option strat"
    self._unlock(id)
    if self._balance() < amount:
        missing: uint256 = self.benchmark + amount + self.lockedPremium - self._balance()
        extcall CoverPool(coverPool).payOut(missing)
        log Replenished(amount=missing)
    self._withdraw(account, amount)
    log Paid(id=id, account=account, amount=amount)


@external
def unlock(id: uint256):
    """
    @notice Free what an expired option locked; by anyone, pays nobody
    """
    expiration: uint256 = convert(self.locks[id].expiration, uint256)
    assert block.timestamp > expiration, "The expiration time has not yet come"
    self._unlock(id)
    log Expired(id=id)


@view
@external
def lockedLiquidity(id: uint256) -> (uint8, address, uint128, uint128, uint32):
    lock: LockedLiquidity = self.locks[id]
    return lock.state, lock.strategy, lock.negativepnl, lock.positivepnl, lock.expiration


@view
@external
def totalBalance() -> uint256:
    return self._balance()


@internal
def _unlock(id: uint256):
    lock: LockedLiquidity = self.locks[id]
    assert lock.state == LOCKED, "The liquidity has already been unlocked"
    self.locks[id].state = UNLOCKED
    self.totalLocked -= convert(lock.negativepnl, uint256)
    self.lockedPremium -= convert(lock.positivepnl, uint256)
    self.lockedByStrategy[lock.strategy] -= convert(lock.negativepnl, uint256)


@internal
def _withdraw(to: address, amount: uint256):
    assert amount + self.totalLocked + self.lockedPremium <= self._funds(), "The amount to withdraw is too large"
    if amount > 0:
        moved: bool = extcall IERC20(token).transfer(to, amount, default_return_value=True)
        assert moved, "SafeERC20: ERC20 operation did not succeed"


@view
@internal
def _balance() -> uint256:
    return staticcall IERC20(token).balanceOf(self)


@view
@internal
def _funds() -> uint256:
    return self._balance() + staticcall CoverPool(coverPool).availableForPayment()


@view
@internal
def _only_owner():
    assert msg.sender == self.owner, "AccessControl: owner only"
