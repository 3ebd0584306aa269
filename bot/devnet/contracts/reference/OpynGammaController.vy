# Reference, not the protocol: implements the documented ABI subset of Opyn Gamma's Controller with honest minimal economics.
# pragma version ==0.4.3
"""
@title Vaults that write options, and redemption by whoever holds them
@dev Fully collateralised vaults of one short series only: actions 0, 1, 5, 7 and 8. Any other action is refused by name.
     The margin arithmetic (1e27 fixed point, cut) is in here; Gamma keeps it in a MarginCalculator, whose wording it has.
"""

from ethereum.ercs import IERC20Detailed

interface AddressBook:
    def getWhitelist() -> address: view
    def getOracle() -> address: view
    def getMarginPool() -> address: view

interface Whitelist:
    def isWhitelistedCollateral(asset: address) -> bool: view
    def isWhitelistedOtoken(otoken: address) -> bool: view

interface Oracle:
    def getExpiryPrice(asset: address, expiry: uint256) -> (uint256, bool): view
    def isDisputePeriodOver(asset: address, expiry: uint256) -> bool: view

interface Otoken:
    def getOtokenDetails() -> (address, address, address, uint256, uint256, bool): view
    def expiryTimestamp() -> uint256: view
    def mintOtoken(account: address, amount: uint256): nonpayable
    def burnOtoken(account: address, amount: uint256): nonpayable

interface Pool:
    def transferToPool(asset: address, user: address, amount: uint256): nonpayable
    def transferToUser(asset: address, user: address, amount: uint256): nonpayable

struct ActionArgs:
    actionType: uint8
    owner: address
    secondAddress: address
    asset: address
    vaultId: uint256
    amount: uint256
    index: uint256
    data: Bytes[32]

struct Vault:
    shortOtokens: DynArray[address, 1]
    longOtokens: DynArray[address, 1]
    collateralAssets: DynArray[address, 1]
    shortAmounts: DynArray[uint256, 1]
    longAmounts: DynArray[uint256, 1]
    collateralAmounts: DynArray[uint256, 1]

struct Series:
    collateral: address
    underlying: address
    strike: address
    strike_price: uint256
    expiry: uint256
    is_put: bool

event VaultOpened:
    accountOwner: indexed(address)
    vaultId: uint256
    vaultType: indexed(uint256)

event CollateralAssetDeposited:
    asset: indexed(address)
    accountOwner: indexed(address)
    sender: indexed(address)
    vaultId: uint256
    amount: uint256

event ShortOtokenMinted:
    otoken: indexed(address)
    AccountOwner: indexed(address)
    to: indexed(address)
    vaultId: uint256
    amount: uint256

event Redeem:
    otoken: indexed(address)
    redeemer: indexed(address)
    receiver: indexed(address)
    collateralAsset: address
    otokenBurned: uint256
    payout: uint256

event VaultSettled:
    accountOwner: indexed(address)
    oTokenAddress: indexed(address)
    to: address
    payout: uint256
    vaultId: uint256
    vaultType: indexed(uint256)

event SystemPartiallyPaused:
    isPaused: bool

event SystemFullyPaused:
    isPaused: bool

OPEN_VAULT: constant(uint8) = 0
MINT_SHORT: constant(uint8) = 1
DEPOSIT_COLLATERAL: constant(uint8) = 5
SETTLE_VAULT: constant(uint8) = 7
REDEEM: constant(uint8) = 8
ONE: constant(uint256) = 10**27
BASE: constant(uint256) = 10**8  # of oTokens, strikes and prices

addressbook: public(immutable(address))
whitelist: public(immutable(address))
oracle: public(immutable(address))
pool: public(immutable(address))
owner: public(address)
systemPartiallyPaused: public(bool)
systemFullyPaused: public(bool)
getAccountVaultCounter: public(HashMap[address, uint256])
vaults: HashMap[address, HashMap[uint256, Vault]]
updated_at: HashMap[address, HashMap[uint256, uint256]]


@deploy
def __init__(address_book: address):
    addressbook = address_book
    whitelist = staticcall AddressBook(address_book).getWhitelist()
    oracle = staticcall AddressBook(address_book).getOracle()
    pool = staticcall AddressBook(address_book).getMarginPool()
    self.owner = msg.sender


@external
def setSystemPartiallyPaused(paused: bool):
    """
    @notice Stop writing; redeeming and settling go on
    """
    assert msg.sender == self.owner, "C2"
    self.systemPartiallyPaused = paused
    log SystemPartiallyPaused(isPaused=paused)


@external
def setSystemFullyPaused(paused: bool):
    """
    @notice Stop everything, redeeming included
    """
    assert msg.sender == self.owner, "C1"
    self.systemFullyPaused = paused
    log SystemFullyPaused(isPaused=paused)


@nonreentrant
@external
def operate(actions: DynArray[ActionArgs, 10]):
    assert not self.systemFullyPaused, "C5"
    vault_updated: bool = False
    vault_owner: address = empty(address)
    vault_id: uint256 = 0
    for action: ActionArgs in actions:
        if action.actionType in [OPEN_VAULT, MINT_SHORT, DEPOSIT_COLLATERAL]:
            if vault_updated:
                assert vault_owner == action.owner, "C12"
                assert vault_id == action.vaultId, "C13"
            vault_updated = True
            vault_owner = action.owner
            vault_id = action.vaultId
        self._run(action)
    if vault_updated:
        excess: uint256 = 0
        is_valid: bool = False
        excess, is_valid = self._excess(self.vaults[vault_owner][vault_id])
        assert is_valid, "C14"
        self.updated_at[vault_owner][vault_id] = block.timestamp


@view
@external
def getPayout(otoken: address, amount: uint256) -> uint256:
    """
    @return What redeeming `amount` brings, in units of the collateral, cut
    """
    return self._payout(otoken, amount)


@view
@external
def isSettlementAllowed(otoken: address) -> bool:
    series: Series = self._series(otoken)
    return self._can_settle(series.underlying, series.strike, series.collateral, series.expiry)


@view
@external
def canSettleAssets(underlying: address, strike: address, collateral: address, expiry: uint256) -> bool:
    return self._can_settle(underlying, strike, collateral, expiry)


@view
@external
def hasExpired(otoken: address) -> bool:
    return block.timestamp >= staticcall Otoken(otoken).expiryTimestamp()


@view
@external
def getProceed(account: address, vault_id: uint256) -> uint256:
    """
    @return What settling or emptying the vault would bring now; 0 while it lacks collateral
    """
    excess: uint256 = 0
    is_excess: bool = False
    excess, is_excess = self._excess(self.vaults[account][vault_id])
    return excess if is_excess else 0


@view
@external
def getVaultWithDetails(account: address, vault_id: uint256) -> (Vault, uint256, uint256):
    """
    @return The vault, its type (0: fully collateralised), when it was last changed
    """
    return self.vaults[account][vault_id], 0, self.updated_at[account][vault_id]


@internal
def _run(action: ActionArgs):
    if action.actionType == OPEN_VAULT:
        self._open(action)
    elif action.actionType == DEPOSIT_COLLATERAL:
        self._deposit(action)
    elif action.actionType == MINT_SHORT:
        self._mint(action)
    elif action.actionType == SETTLE_VAULT:
        self._settle(action)
    elif action.actionType == REDEEM:
        self._redeem(action)
    else:
        raise "reference: this action is not implemented"


@internal
def _open(action: ActionArgs):
    assert action.owner != empty(address), "A2"
    self._may_write(action.owner)
    assert action.vaultId == self.getAccountVaultCounter[action.owner] + 1, "C15"
    self.getAccountVaultCounter[action.owner] = action.vaultId
    log VaultOpened(accountOwner=action.owner, vaultId=action.vaultId, vaultType=0)


@internal
def _deposit(action: ActionArgs):
    assert action.owner != empty(address), "A9"
    self._may_write(action.owner)
    self._vault_exists(action)
    assert action.secondAddress in [msg.sender, action.owner], "C20"
    assert staticcall Whitelist(whitelist).isWhitelistedCollateral(action.asset), "C21"
    assert action.amount > 0, "V7"
    vault: Vault = self.vaults[action.owner][action.vaultId]
    if action.index == len(vault.collateralAssets):
        assert action.index == 0, "MarginCalculator: Too many collateral assets in the vault"
        vault.collateralAssets.append(action.asset)
        vault.collateralAmounts.append(action.amount)
    else:
        assert action.index < len(vault.collateralAssets), "V8"
        assert vault.collateralAssets[0] == action.asset, "V9"
        vault.collateralAmounts[0] += action.amount
    self.vaults[action.owner][action.vaultId] = vault
    extcall Pool(pool).transferToPool(action.asset, action.secondAddress, action.amount)
    log CollateralAssetDeposited(
        asset=action.asset,
        accountOwner=action.owner,
        sender=action.secondAddress,
        vaultId=action.vaultId,
        amount=action.amount,
    )


@internal
def _mint(action: ActionArgs):
    assert action.owner != empty(address), "A5"
    self._may_write(action.owner)
    self._vault_exists(action)
    assert staticcall Whitelist(whitelist).isWhitelistedOtoken(action.asset), "C23"
    assert block.timestamp < staticcall Otoken(action.asset).expiryTimestamp(), "C24"
    assert action.amount > 0, "V1"
    vault: Vault = self.vaults[action.owner][action.vaultId]
    if action.index == len(vault.shortOtokens):
        assert action.index == 0, "MarginCalculator: Too many short otokens in the vault"
        vault.shortOtokens.append(action.asset)
        vault.shortAmounts.append(action.amount)
    else:
        assert action.index < len(vault.shortOtokens), "V2"
        assert vault.shortOtokens[0] == action.asset, "V3"
        vault.shortAmounts[0] += action.amount
    self.vaults[action.owner][action.vaultId] = vault
    extcall Otoken(action.asset).mintOtoken(action.secondAddress, action.amount)
    log ShortOtokenMinted(
        otoken=action.asset,
        AccountOwner=action.owner,
        to=action.secondAddress,
        vaultId=action.vaultId,
        amount=action.amount,
    )


@internal
def _redeem(action: ActionArgs):
    assert action.secondAddress != empty(address), "A14"
    assert staticcall Whitelist(whitelist).isWhitelistedOtoken(action.asset), "C27"
    series: Series = self._series(action.asset)
    assert block.timestamp >= series.expiry, "C28"
    assert self._can_settle(series.underlying, series.strike, series.collateral, series.expiry), "C29"
    payout: uint256 = self._payout(action.asset, action.amount)
    extcall Otoken(action.asset).burnOtoken(msg.sender, action.amount)
    extcall Pool(pool).transferToUser(series.collateral, action.secondAddress, payout)
    log Redeem(
        otoken=action.asset,
        redeemer=msg.sender,
        receiver=action.secondAddress,
        collateralAsset=series.collateral,
        otokenBurned=action.amount,
        payout=payout,
    )


@internal
def _settle(action: ActionArgs):
    assert action.owner != empty(address), "A16"
    assert action.secondAddress != empty(address), "A17"
    assert msg.sender == action.owner, "C6"
    self._vault_exists(action)
    vault: Vault = self.vaults[action.owner][action.vaultId]
    assert len(vault.shortOtokens) > 0, "C30"
    series: Series = self._series(vault.shortOtokens[0])
    assert block.timestamp >= series.expiry, "C31"
    assert self._can_settle(series.underlying, series.strike, series.collateral, series.expiry), "C29"
    payout: uint256 = 0
    is_valid: bool = False
    payout, is_valid = self._excess(vault)
    assert is_valid, "C32"
    self.vaults[action.owner][action.vaultId] = empty(Vault)
    extcall Pool(pool).transferToUser(series.collateral, action.secondAddress, payout)
    log VaultSettled(
        accountOwner=action.owner,
        oTokenAddress=vault.shortOtokens[0],
        to=action.secondAddress,
        payout=payout,
        vaultId=action.vaultId,
        vaultType=0,
    )


@view
@internal
def _may_write(account: address):
    assert not self.systemPartiallyPaused, "C4"
    assert msg.sender == account, "C6"


@view
@internal
def _vault_exists(action: ActionArgs):
    assert 0 < action.vaultId and action.vaultId <= self.getAccountVaultCounter[action.owner], "C35"


@view
@internal
def _series(otoken: address) -> Series:
    found: (address, address, address, uint256, uint256, bool) = staticcall Otoken(otoken).getOtokenDetails()
    return Series(
        collateral=found[0],
        underlying=found[1],
        strike=found[2],
        strike_price=found[3],
        expiry=found[4],
        is_put=found[5],
    )


@view
@internal
def _can_settle(underlying: address, strike: address, collateral: address, expiry: uint256) -> bool:
    for asset: address in [underlying, strike, collateral]:
        if not staticcall Oracle(oracle).isDisputePeriodOver(asset, expiry):
            return False
    return True


@view
@internal
def _payout(otoken: address, amount: uint256) -> uint256:
    """
    @dev The value of one oToken is cut to the collateral's decimals before it is multiplied, as Gamma does
    """
    series: Series = self._series(otoken)
    assert block.timestamp >= series.expiry, "MarginCalculator: Otoken not expired yet"
    value: uint256 = self._converted(self._cash_value(series), series.strike, series.collateral, series.expiry)
    return value // self._unit(series.collateral) * amount // BASE


@view
@internal
def _excess(vault: Vault) -> (uint256, bool):
    """
    @return What the collateral exceeds, or lacks, of what the short needs, and whether it exceeds
    """
    if len(vault.shortOtokens) == 0:
        return (vault.collateralAmounts[0] if len(vault.collateralAmounts) > 0 else 0), True
    series: Series = self._series(vault.shortOtokens[0])
    unit: uint256 = self._unit(series.collateral)
    held: uint256 = 0
    if len(vault.collateralAssets) > 0:
        marginable: bool = vault.collateralAssets[0] == series.collateral
        assert marginable, "MarginCalculator: collateral asset not marginable for short asset"
        held = vault.collateralAmounts[0] * unit
    needed: uint256 = self._needed(series, vault.shortAmounts[0] * (ONE // BASE))
    if held >= needed:
        return (held - needed) // unit, True
    return (needed - held + unit - 1) // unit, False


@view
@internal
def _needed(series: Series, amount: uint256) -> uint256:
    """
    @dev All in 1e27: before expiry the whole strike (put) or the underlying itself (call), then the payoff
    """
    if block.timestamp < series.expiry:
        if series.is_put:
            return amount * (series.strike_price * (ONE // BASE)) // ONE
        return amount
    value: uint256 = amount * self._cash_value(series) // ONE
    return self._converted(value, series.strike, series.collateral, series.expiry)


@view
@internal
def _cash_value(series: Series) -> uint256:
    """
    @return Payoff of one option in its strike asset, 1e27
    """
    strike: uint256 = series.strike_price * (ONE // BASE)
    spot: uint256 = self._converted(ONE, series.underlying, series.strike, series.expiry)
    if series.is_put:
        return strike - spot if strike > spot else 0
    return spot - strike if spot > strike else 0


@view
@internal
def _converted(amount: uint256, held: address, wanted: address, expiry: uint256) -> uint256:
    if held == wanted:
        return amount
    held_price: uint256 = 0
    wanted_price: uint256 = 0
    is_final: bool = False
    is_wanted_final: bool = False
    held_price, is_final = staticcall Oracle(oracle).getExpiryPrice(held, expiry)
    wanted_price, is_wanted_final = staticcall Oracle(oracle).getExpiryPrice(wanted, expiry)
    assert is_final and is_wanted_final, "MarginCalculator: price at expiry not finalized yet"
    in_usd: uint256 = amount * (held_price * (ONE // BASE)) // ONE
    return in_usd * ONE // (wanted_price * (ONE // BASE))


@view
@internal
def _unit(asset: address) -> uint256:
    """
    @return One smallest unit of the asset in 1e27
    """
    return 10 ** (27 - convert(staticcall IERC20Detailed(asset).decimals(), uint256))
