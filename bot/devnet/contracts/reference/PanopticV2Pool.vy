# Reference, not the protocol: implements the documented ABI subset of PanopticPoolV2 with honest minimal economics.
# pragma version ==0.4.3
# pragma optimize codesize
"""
@title Perpetual options on chunks of a real Uniswap v3 pool
@notice A sold option is liquidity put into the chunk of its tokenId, a bought one is such liquidity taken out again.
        Buyers stream to sellers what the chunk would have earned, more of it the more of the chunk is taken out.
@dev Own code, not Panoptic's; it is also the position manager. Left out: loans and credits (width 0), liquidation and
     forced exercise, the median oracle, builder codes, margin without its other token at a high utilization. Simpler than the protocol:
     sellers are paid premium in the order in which they ask, and a seller's margin is 20 % of the notional plus the
     loss of its chunk. Two numbers in one word: token0 in the lower 128 bits, token1 in the upper ones.
"""

interface Uniswap:
    def token0() -> address: view
    def token1() -> address: view
    def tickSpacing() -> int24: view
    def feeGrowthGlobal0X128() -> uint256: view
    def feeGrowthGlobal1X128() -> uint256: view
    def slot0() -> (uint160, int24, uint16, uint16, uint16, uint8, bool): view
    def ticks(tick: int24) -> (uint128, int128, uint256, uint256, int56, uint160, uint32, bool): view
    def mint(recipient: address, lower: int24, upper: int24, amount: uint128, data: Bytes[32]) -> (uint256, uint256): nonpayable
    def burn(lower: int24, upper: int24, amount: uint128) -> (uint256, uint256): nonpayable
    def collect(recipient: address, lower: int24, upper: int24, most0: uint128, most1: uint128) -> (uint128, uint128): nonpayable
    def swap(recipient: address, zeroForOne: bool, amount: int256, limit: uint160, data: Bytes[32]) -> (int256, int256): nonpayable

interface ERC20:
    def approve(spender: address, amount: uint256) -> bool: nonpayable
    def transfer(receiver: address, amount: uint256) -> bool: nonpayable

interface Tracker:
    def assetsOf(owner: address) -> uint256: view
    def accrueInterest(): nonpayable
    def settleMint(owner: address, long_amount: uint256, short_amount: uint256, amm_delta: int256): nonpayable
    def settleBurn(owner: address, long_amount: uint256, short_amount: uint256, amm_delta: int256, premium: int256): nonpayable

interface RiskEngine:
    def SELLER_COLLATERAL_RATIO() -> uint256: view
    def BUYER_COLLATERAL_RATIO() -> uint256: view
    def BP_DECREASE_BUFFER() -> uint32: view
    def MAX_SPREAD() -> uint24: view
    def MAX_OPEN_LEGS() -> uint256: view
    def MAX_TICKS_DELTA() -> int256: view
    def MAX_TWAP_DELTA_DISPATCH() -> uint16: view
    def VEGOID() -> uint8: view

event OptionMinted:
    recipient: indexed(address)
    tokenId: indexed(uint256)
    balanceData: uint256

event OptionBurnt:
    recipient: indexed(address)
    positionSize: uint128
    tokenId: indexed(uint256)
    premiaByLeg: int256[4]

event PremiumSettled:
    user: indexed(address)
    tokenId: indexed(uint256)
    legIndex: uint256
    settledAmounts: int256

struct Chunk:
    net: uint256  # sold liquidity that lies in Uniswap
    removed: uint256  # sold liquidity that buyers took out
    inside: uint256[2]  # fee growth inside of it when it was last touched, X128
    gross: uint256[2]  # premium of a seller per liquidity so far, X64
    owed: uint256[2]  # premium of a buyer per liquidity so far, X64
    settled: uint256[2]  # premium that came in and no seller has had yet

struct Leg:
    asset: uint256
    ratio: uint256
    is_long: bool
    token_type: uint256
    lower: int256
    upper: int256
    key: bytes32

UNIT: constant(uint256) = 10_000_000  # of collateral ratios
LN2: constant(uint256) = 6_931_472
Q64: constant(uint256) = 2**64
Q96: constant(uint256) = 2**96
MASK: constant(uint256) = 2**128 - 1
EPOCH_S: constant(uint256) = 64
PERIODS_S: constant(int256[4]) = [60, 120, 240, 960]  # of the four averages: spot, fast, slow, eons
LEAST_SQRT: constant(uint160) = 4295128739
MOST_SQRT: constant(uint160) = 1461446703485210103287273052203988822378723970342

uniswapPool: public(immutable(address))
riskEngine: public(immutable(address))
poolId: public(immutable(uint64))
tickSpacing: public(immutable(int24))

collateralToken0: public(address)
collateralToken1: public(address)

balances: HashMap[address, HashMap[uint256, uint256]]  # packed as the protocol's PositionBalance
entries: HashMap[address, HashMap[uint256, uint256[2][4]]]  # premium per liquidity at mint, by leg
hashes: HashMap[address, uint256]  # of all positions, and in the top eight bits their legs
chunks: HashMap[bytes32, Chunk]
averages: int256[4]
epoch: uint256
lock_mode: uint8
moved: transient(uint256)  # ticks that dispatches of this transaction moved the price


@deploy
def __init__(pool: address, engine: address):
    uniswapPool = pool
    riskEngine = engine
    spacing: int24 = staticcall Uniswap(pool).tickSpacing()
    tickSpacing = spacing
    found: uint256 = convert(pool, uint256) >> 120
    found += convert(staticcall RiskEngine(engine).VEGOID(), uint256) << 40
    poolId = convert(found + (convert(spacing, uint256) << 48), uint64)
    tick: int256 = convert((staticcall Uniswap(pool).slot0())[1], int256)
    self.averages = [tick, tick, tick, tick]
    self.epoch = block.timestamp // EPOCH_S


@external
def initialize(tracker0: address, tracker1: address):
    """
    @notice Name the collateral trackers, once. In the protocol they are part of the code
    """
    if self.collateralToken0 != empty(address):
        raw_revert(method_id("AlreadyInitialized()"))
    self.collateralToken0 = tracker0
    self.collateralToken1 = tracker1
    extcall ERC20(staticcall Uniswap(uniswapPool).token0()).approve(tracker0, max_value(uint256), default_return_value=True)
    extcall ERC20(staticcall Uniswap(uniswapPool).token1()).approve(tracker1, max_value(uint256), default_return_value=True)


@external
def setLockMode(mode: uint8):
    assert msg.sender == riskEngine, "risk engine only"
    self.lock_mode = mode


@external
@nonreentrant
def dispatch(
    positionIdList: DynArray[uint256, 26],
    finalPositionIdList: DynArray[uint256, 26],
    positionSizes: DynArray[uint128, 26],
    tickAndSpreadLimits: DynArray[int24[3], 26],
    usePremiaAsCollateral: bool,
    builderCode: uint256,
):
    """
    @notice Mint what the caller does not hold, settle premium where the size is the one held, burn otherwise
    @param tickAndSpreadLimits Exclusive bounds of the tick after each: ascending as they are, descending with a swap
           of what is in the money; third, the most removed over net liquidity, of 10_000
    """
    engine: RiskEngine = RiskEngine(riskEngine)
    safe_mode: uint8 = self._safe_mode()
    at: int256 = self._tick()
    for i: uint256 in range(len(positionIdList), bound=26):
        token_id: uint256 = positionIdList[i]
        if convert(token_id & (2**64 - 1), uint64) != poolId:
            raw_revert(method_id("WrongPoolId()"))
        first: int256 = convert(tickAndSpreadLimits[i][0], int256)
        second: int256 = convert(tickAndSpreadLimits[i][1], int256)
        swaps: bool = first > second and safe_mode <= 1
        low: int256 = min(first, second)
        high: int256 = max(first, second)
        held: uint256 = self.balances[msg.sender][token_id]
        if held == 0:
            if safe_mode > 2:
                raw_revert(method_id("StaleOracle()"))
            spread: uint256 = convert(convert(tickAndSpreadLimits[i][2], int256), uint256)
            self._mint(token_id, convert(positionSizes[i], uint256), swaps, low, high, spread)
        elif held & MASK == convert(positionSizes[i], uint256):
            self._settle_premium(token_id, held & MASK)
        else:
            self._burn(token_id, held & MASK, swaps, low, high)
        now: int256 = self._tick()
        self.moved += convert(abs(now - at), uint256)
        at = now
    if self.moved > 2 * convert(staticcall engine.MAX_TWAP_DELTA_DISPATCH(), uint256):
        raw_revert(method_id("PriceImpactTooLarge()"))
    self._observe()
    self._check_solvent(msg.sender, finalPositionIdList, usePremiaAsCollateral)


@external
def multicall(data: DynArray[Bytes[4096], 8]) -> DynArray[Bytes[4096], 8]:
    """
    @notice Call this contract several times in one, each as the caller
    """
    results: DynArray[Bytes[4096], 8] = []
    for call: Bytes[4096] in data:
        ok: bool = False
        answer: Bytes[4096] = b""
        ok, answer = raw_call(self, call, max_outsize=4096, is_delegate_call=True, revert_on_failure=False)
        if not ok:
            raw_revert(answer)
        results.append(answer)
    return results


@external
def pokeOracle():
    extcall Tracker(self.collateralToken0).accrueInterest()
    extcall Tracker(self.collateralToken1).accrueInterest()
    self._observe()


@external
def uniswapV3MintCallback(owed0: uint256, owed1: uint256, data: Bytes[32]):
    self._pay(owed0, owed1)


@external
def uniswapV3SwapCallback(delta0: int256, delta1: int256, data: Bytes[32]):
    self._pay(convert(max(delta0, 0), uint256), convert(max(delta1, 0), uint256))


@view
@external
def getAssetsOf(account: address) -> (uint256, uint256):
    return self._assets_of(account)


@view
@external
def getFullPositionsData(
    user: address, includePendingPremium: bool, positionIdList: DynArray[uint256, 26]
) -> (uint256, uint256, DynArray[uint256, 26], DynArray[uint256, 26], DynArray[int256, 26]):
    """
    @return Premium of sold legs, premium owed by bought legs, position balances, collateral each needs, net premium of each
    """
    tick: int256 = self._tick()
    short_premium: uint256[2] = [0, 0]
    long_premium: uint256[2] = [0, 0]
    found: DynArray[uint256, 26] = []
    required: DynArray[uint256, 26] = []
    net: DynArray[int256, 26] = []
    for token_id: uint256 in positionIdList:
        size: uint256 = self._held(user, token_id)
        premium: int256[2] = [0, 0]
        for i: uint256 in range(self._legs(token_id), bound=4):
            leg: Leg = self._leg(token_id, i)
            due: uint256[2] = self._premium(user, token_id, size, i, includePendingPremium)
            for t: uint256 in range(2):
                if leg.is_long:
                    long_premium[t] += due[t]
                    premium[t] -= convert(due[t], int256)
                else:
                    short_premium[t] += due[t]
                    premium[t] += convert(due[t], int256)
        found.append(self.balances[user][token_id])
        required.append(self._pack(self._required(token_id, size, tick)))
        net.append(self._pack_signed(premium))
    return self._pack(short_premium), self._pack(long_premium), found, required, net


@view
@external
def getChunkData(tickLower: int24, tickUpper: int24) -> (uint256, uint256, uint256, uint256):
    """
    @return Of token type 0 and 1: removed liquidity (upper half) and net liquidity (lower); then their settled premium
    """
    lower: int256 = convert(tickLower, int256)
    upper: int256 = convert(tickUpper, int256)
    spacing: int256 = convert(tickSpacing, int256)
    if lower % spacing != 0 or upper % spacing != 0 or lower >= upper:
        raw_revert(method_id("InvalidTickBound()"))
    chunk0: Chunk = self.chunks[self._key(0, lower, upper)]
    chunk1: Chunk = self.chunks[self._key(1, lower, upper)]
    return (
        self._pack([chunk0.net, chunk0.removed]),
        self._pack([chunk1.net, chunk1.removed]),
        self._pack(chunk0.settled),
        self._pack(chunk1.settled),
    )


@view
@external
def validateCollateralWithdrawable(
    user: address, positionIdList: DynArray[uint256, 26], usePremiaAsCollateral: bool
):
    self._check_solvent(user, positionIdList, usePremiaAsCollateral)


@view
@external
def numberOfLegs(user: address) -> uint256:
    return self.hashes[user] >> 248


@view
@external
def getCurrentTick() -> int24:
    return convert(self._tick(), int24)


@view
@external
def getTWAP() -> int24:
    return convert((6 * self.averages[1] + 3 * self.averages[2] + self.averages[3]) // 10, int24)


@view
@external
def isSafeMode() -> uint8:
    return self._safe_mode()


@internal
def _mint(token_id: uint256, size: uint256, swaps: bool, low: int256, high: int256, spread: uint256):
    if size == 0:
        raw_revert(method_id("ChunkHasZeroLiquidity()"))
    self._check_form(token_id)
    most: uint256 = convert(staticcall RiskEngine(riskEngine).MAX_SPREAD(), uint256)
    delta: int256[2] = self._move(token_id, size, True, swaps, low, high)
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        if leg.is_long:
            self._check_spread(leg.key, min(spread, most))
            self.entries[msg.sender][token_id][i] = self.chunks[leg.key].owed
        else:
            self._check_spread(leg.key, most)
            self.entries[msg.sender][token_id][i] = self.chunks[leg.key].gross
    self._book_hash(token_id, True)
    longs: uint256[2] = [0, 0]
    shorts: uint256[2] = [0, 0]
    longs, shorts = self._notionals(token_id, size, True)
    extcall Tracker(self.collateralToken0).settleMint(msg.sender, longs[0], shorts[0], delta[0])
    extcall Tracker(self.collateralToken1).settleMint(msg.sender, longs[1], shorts[1], delta[1])
    tick: uint256 = convert(self._tick() & (2**24 - 1), uint256)
    swapped: uint256 = 1 if swaps else 0
    packed: uint256 = size + (tick << 160) + (block.timestamp << 184) + (block.number << 216) + (swapped << 255)
    self.balances[msg.sender][token_id] = packed
    log OptionMinted(recipient=msg.sender, tokenId=token_id, balanceData=packed)


@internal
def _burn(token_id: uint256, size: uint256, swaps: bool, low: int256, high: int256):
    delta: int256[2] = self._move(token_id, size, False, swaps, low, high)
    by_leg: int256[4] = [0, 0, 0, 0]
    premium: int256[2] = [0, 0]
    by_leg, premium = self._pay_premium(token_id, size, True)
    longs: uint256[2] = [0, 0]
    shorts: uint256[2] = [0, 0]
    longs, shorts = self._notionals(token_id, size, False)
    self.balances[msg.sender][token_id] = 0
    self._book_hash(token_id, False)
    log OptionBurnt(
        recipient=msg.sender, positionSize=convert(size, uint128), tokenId=token_id, premiaByLeg=by_leg
    )
    extcall Tracker(self.collateralToken0).settleBurn(msg.sender, longs[0], shorts[0], delta[0], premium[0])
    extcall Tracker(self.collateralToken1).settleBurn(msg.sender, longs[1], shorts[1], delta[1], premium[1])


@internal
def _settle_premium(token_id: uint256, size: uint256):
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        lower: int24 = convert(leg.lower, int24)
        upper: int24 = convert(leg.upper, int24)
        self.chunks[leg.key] = self._accrued(self.chunks[leg.key], leg.lower, leg.upper)
        extcall Uniswap(uniswapPool).burn(lower, upper, 0)
        extcall Uniswap(uniswapPool).collect(self, lower, upper, max_value(uint128), max_value(uint128))
    by_leg: int256[4] = [0, 0, 0, 0]
    premium: int256[2] = [0, 0]
    by_leg, premium = self._pay_premium(token_id, size, False)
    extcall Tracker(self.collateralToken0).settleBurn(msg.sender, 0, 0, 0, premium[0])
    extcall Tracker(self.collateralToken1).settleBurn(msg.sender, 0, 0, 0, premium[1])


@internal
def _pay_premium(token_id: uint256, size: uint256, closes: bool) -> (int256[4], int256[2]):
    """
    @notice Move premium between the chunks' purse and the caller
    """
    by_leg: int256[4] = [0, 0, 0, 0]
    total: int256[2] = [0, 0]
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        due: uint256[2] = self._premium(msg.sender, token_id, size, i, False)
        signed: int256[2] = [0, 0]
        for t: uint256 in range(2):
            if leg.is_long:
                self.chunks[leg.key].settled[t] += due[t]
                signed[t] = -convert(due[t], int256)
            else:
                self.chunks[leg.key].settled[t] -= due[t]
                signed[t] = convert(due[t], int256)
            total[t] += signed[t]
        by_leg[i] = self._pack_signed(signed)
        if closes:
            self.entries[msg.sender][token_id][i] = [0, 0]
        elif by_leg[i] != 0:
            chunk: Chunk = self.chunks[leg.key]
            self.entries[msg.sender][token_id][i] = chunk.owed if leg.is_long else chunk.gross
            log PremiumSettled(user=msg.sender, tokenId=token_id, legIndex=i, settledAmounts=by_leg[i])
    return by_leg, total


@internal
def _move(
    token_id: uint256, size: uint256, is_mint: bool, swaps: bool, low: int256, high: int256
) -> int256[2]:
    """
    @notice Put the legs into Uniswap or take them out
    @return What Uniswap took of each token, negative: gave
    """
    delta: int256[2] = [0, 0]
    in_money: int256[2] = [0, 0]
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        moved: int256[2] = self._move_leg(leg, self._liquidity(leg, size), is_mint)
        delta[0] += moved[0]
        delta[1] += moved[1]
        in_money[1 - leg.token_type] += moved[1 - leg.token_type]
    if swaps:
        swapped: int256[2] = self._swap(in_money, token_id >> 64 & 1)
        delta[0] += swapped[0]
        delta[1] += swapped[1]
    tick: int256 = self._tick()
    if tick >= high or tick <= low:
        raw_revert(abi_encode(convert(tick, int24), method_id=method_id("PriceBoundFail(int24)")))
    return delta


@internal
def _move_leg(leg: Leg, liquidity: uint256, is_mint: bool) -> int256[2]:
    if liquidity == 0:
        raw_revert(method_id("ChunkHasZeroLiquidity()"))
    pool: Uniswap = Uniswap(uniswapPool)
    lower: int24 = convert(leg.lower, int24)
    upper: int24 = convert(leg.upper, int24)
    net: uint256 = self.chunks[leg.key].net
    if net > 0:  # before: with the last liquidity Uniswap forgets what its ticks have seen
        self.chunks[leg.key] = self._accrued(self.chunks[leg.key], leg.lower, leg.upper)
    moved: int256[2] = [0, 0]
    amounts: uint256[2] = [0, 0]
    if leg.is_long == is_mint:  # liquidity leaves Uniswap
        if net < liquidity:
            raw_revert(method_id("NotEnoughLiquidityInChunk()"))
        amounts[0], amounts[1] = extcall pool.burn(lower, upper, convert(liquidity, uint128))
        moved = [-convert(amounts[0], int256), -convert(amounts[1], int256)]
    else:
        amounts[0], amounts[1] = extcall pool.mint(self, lower, upper, convert(liquidity, uint128), b"")
        moved = [convert(amounts[0], int256), convert(amounts[1], int256)]
    if net > 0:
        extcall pool.collect(self, lower, upper, max_value(uint128), max_value(uint128))
    chunk: Chunk = self.chunks[leg.key]
    if leg.is_long == is_mint:
        chunk.net -= liquidity
        chunk.removed += liquidity if leg.is_long else 0
    else:
        chunk.net += liquidity
        chunk.removed -= liquidity if leg.is_long else 0
    chunk.inside = self._fee_growth(leg.lower, leg.upper)
    self.chunks[leg.key] = chunk
    return moved


@internal
def _swap(in_money: int256[2], asset: uint256) -> int256[2]:
    """
    @notice Swap back what a position moved of the token that is not its own
    """
    amount: int256 = -in_money[0]
    zero_for_one: bool = in_money[0] < 0
    if in_money[0] == 0 or (in_money[1] != 0 and asset == 1):
        amount = -in_money[1]
        zero_for_one = in_money[1] > 0
        if amount == 0:
            return [0, 0]
    limit: uint160 = LEAST_SQRT + 1 if zero_for_one else MOST_SQRT - 1
    swapped: int256[2] = [0, 0]
    swapped[0], swapped[1] = extcall Uniswap(uniswapPool).swap(self, zero_for_one, amount, limit, b"")
    return swapped


@internal
def _pay(amount0: uint256, amount1: uint256):
    assert msg.sender == uniswapPool, "Uniswap pool only"
    if amount0 > 0:
        assert extcall ERC20(staticcall Uniswap(uniswapPool).token0()).transfer(uniswapPool, amount0, default_return_value=True)
    if amount1 > 0:
        assert extcall ERC20(staticcall Uniswap(uniswapPool).token1()).transfer(uniswapPool, amount1, default_return_value=True)


@internal
def _observe():
    """
    @notice Bring the four averages up to now, at most once in 64 s, none by more than three quarters
    """
    epoch: uint256 = block.timestamp // EPOCH_S
    if epoch == self.epoch:
        return
    passed: int256 = convert((epoch - self.epoch) * EPOCH_S, int256)
    self.epoch = epoch
    tick: int256 = self._tick()
    for k: uint256 in range(4):
        i: uint256 = 3 - k
        passed = min(passed, 3 * PERIODS_S[i] // 4)
        self.averages[i] += passed * (tick - self.averages[i]) // PERIODS_S[i]


@internal
def _book_hash(token_id: uint256, adds: bool):
    hashed: uint256 = self.hashes[msg.sender]
    legs: uint256 = hashed >> 248
    if adds:
        legs += self._legs(token_id)
        if legs > staticcall RiskEngine(riskEngine).MAX_OPEN_LEGS():
            raw_revert(method_id("TooManyLegsOpen()"))
    else:
        legs -= self._legs(token_id)
    self.hashes[msg.sender] = (hashed & (2**248 - 1) ^ self._hash(token_id)) | (legs << 248)


@view
@internal
def _check_solvent(user: address, ids: DynArray[uint256, 26], use_premia: bool):
    """
    @notice The list is complete, and what the account has covers what its positions need, a buffer included
    """
    hashed: uint256 = 0
    legs: uint256 = 0
    for i: uint256 in range(len(ids), bound=26):
        for j: uint256 in range(i, bound=26):
            if ids[j] == ids[i]:
                raw_revert(method_id("DuplicateTokenId()"))
        hashed = hashed ^ self._hash(ids[i])
        legs += self._legs(ids[i])
    if self.hashes[user] != hashed | (legs << 248):
        raw_revert(method_id("InputListFail()"))
    if len(ids) == 0:
        return
    tick: int256 = self._tick()
    spot: int256 = self.averages[0]
    far: bool = abs(tick - spot) > staticcall RiskEngine(riskEngine).MAX_TICKS_DELTA()
    apart: bool = self._safe_mode() > 0
    solvent: uint256 = 0
    ticks: uint256 = 1
    if self._is_solvent(user, ids, use_premia, spot, apart):
        solvent += 1
    if far or apart:
        ticks += 1
        if self._is_solvent(user, ids, use_premia, tick, apart):
            solvent += 1
    if solvent != ticks:
        raw_revert(abi_encode(solvent, ticks, method_id=method_id("AccountInsolvent(uint256,uint256)")))


@view
@internal
def _is_solvent(user: address, ids: DynArray[uint256, 26], use_premia: bool, tick: int256, apart: bool) -> bool:
    """
    @notice Both tokens in token1 at the tick: one may stand for the other, but not in safe mode
    """
    has: uint256[2] = [0, 0]
    needs: uint256[2] = [0, 0]
    has[0], has[1] = self._assets_of(user)
    for token_id: uint256 in ids:
        size: uint256 = self._held(user, token_id)
        base: uint256[2] = self._required(token_id, size, tick)
        for i: uint256 in range(self._legs(token_id), bound=4):
            is_long: bool = self._leg(token_id, i).is_long
            due: uint256[2] = self._premium(user, token_id, size, i, False)
            for t: uint256 in range(2):
                if is_long:
                    base[t] += due[t]
                elif use_premia:
                    has[t] += due[t]
        needs[0] += base[0]
        needs[1] += base[1]
    buffer: uint256 = convert(staticcall RiskEngine(riskEngine).BP_DECREASE_BUFFER(), uint256)
    if apart:
        return has[0] >= self._div(needs[0], buffer, UNIT) + 1 and has[1] >= self._div(needs[1], buffer, UNIT) + 1
    sqrt_price: uint256 = self._sqrt_ratio(tick)
    worth: uint256 = has[1] + self._in_token1(has[0], sqrt_price)
    return worth >= self._div(needs[1] + self._in_token1(needs[0], sqrt_price), buffer, UNIT) + 1


@view
@internal
def _required(token_id: uint256, size: uint256, tick: int256) -> uint256[2]:
    """
    @notice Up to 10 % of the notional of what is bought; 20 % of what is sold and the loss of its chunk at the tick
    """
    needs: uint256[2] = [0, 0]
    engine: RiskEngine = RiskEngine(riskEngine)
    sqrt_price: uint256 = self._sqrt_ratio(tick)
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        liquidity: uint256 = self._liquidity(leg, size)
        full: uint256[2] = self._full_amounts(leg, liquidity, True)
        notional: uint256 = full[leg.token_type]
        if leg.is_long:
            base: uint256 = self._div(notional, staticcall engine.BUYER_COLLATERAL_RATIO(), UNIT) + 1
            needs[leg.token_type] += self._faded(base, leg.lower, leg.upper, tick)
            continue
        need: uint256 = self._div(notional, staticcall engine.SELLER_COLLATERAL_RATIO(), UNIT) + 1
        held: uint256[2] = self._amounts(leg, liquidity, sqrt_price)
        worth: uint256 = held[1] + self._in_token1(held[0], sqrt_price)
        if leg.token_type == 0:
            worth = self._div(self._div(worth, Q96, sqrt_price), Q96, sqrt_price)
        if notional > worth:
            need += notional - worth
        needs[leg.token_type] += need
    return needs


@pure
@internal
def _faded(base: uint256, lower: int256, upper: int256, tick: int256) -> uint256:
    """
    @notice A buyer's margin falls with the distance of the price from the strike: base / (x e^x), x in widths
    """
    width: uint256 = convert(upper - lower, uint256)
    away: uint256 = max((width + 1) // 2, convert(abs(tick - lower - (upper - lower) // 2), uint256))
    x: uint256 = away * UNIT // width
    rest: uint256 = x % LN2
    second: uint256 = rest * rest // (2 * UNIT)
    third: uint256 = second * rest // (3 * UNIT)
    grown: uint256 = UNIT + rest + second + third + third * rest // (4 * UNIT)
    if x // LN2 < 128:
        grown = grown << (x // LN2)
    else:
        grown = convert(max_value(uint128), uint256)
    return min(base, UNIT * base * width // (away * grown) + 10_000)


@view
@internal
def _premium(user: address, token_id: uint256, size: uint256, i: uint256, pending: bool) -> uint256[2]:
    """
    @notice What a leg owes (bought) or has to get (sold); without ``pending`` no more than has come in
    """
    leg: Leg = self._leg(token_id, i)
    chunk: Chunk = self.chunks[leg.key]
    if chunk.net > 0:
        chunk = self._accrued(chunk, leg.lower, leg.upper)
    liquidity: uint256 = self._liquidity(leg, size)
    entry: uint256[2] = self.entries[user][token_id][i]
    due: uint256[2] = [0, 0]
    for t: uint256 in range(2):
        rate: uint256 = chunk.owed[t] if leg.is_long else chunk.gross[t]
        due[t] = (rate - entry[t]) * liquidity // Q64
        if not leg.is_long and not pending:
            due[t] = min(due[t], chunk.settled[t])
    return due


@view
@internal
def _accrued(before: Chunk, lower: int256, upper: int256) -> Chunk:
    """
    @notice The chunk with the fees up to now. Buyers owe the fees of their liquidity times 1 + R / (v N) (v the
            VEGOID, R removed, N net); sellers together get those and what Uniswap paid
    """
    chunk: Chunk = before
    inside: uint256[2] = self._fee_growth(lower, upper)
    vegoid: uint256 = convert(staticcall RiskEngine(riskEngine).VEGOID(), uint256)
    total: uint256 = chunk.net + chunk.removed
    for t: uint256 in range(2):
        collected: uint256 = self._div(unsafe_sub(inside[t], chunk.inside[t]), chunk.net, 2**128)
        base: uint256 = collected * Q64 // chunk.net
        chunk.settled[t] += collected
        chunk.owed[t] += self._div(base, chunk.net + chunk.removed // vegoid, chunk.net)
        gross: uint256 = total * total - total * chunk.removed + chunk.removed * chunk.removed // vegoid
        chunk.gross[t] += self._div(base, gross, total * chunk.net)
    chunk.inside = inside
    return chunk


@view
@internal
def _fee_growth(lower: int256, upper: int256) -> uint256[2]:
    """
    @notice Fee growth inside two ticks, X128; differences of it count, modulo 2**256
    """
    pool: Uniswap = Uniswap(uniswapPool)
    low: (uint128, int128, uint256, uint256, int56, uint160, uint32, bool) = staticcall pool.ticks(convert(lower, int24))
    high: (uint128, int128, uint256, uint256, int56, uint160, uint32, bool) = staticcall pool.ticks(convert(upper, int24))
    tick: int256 = self._tick()
    if tick < lower:
        return [unsafe_sub(low[2], high[2]), unsafe_sub(low[3], high[3])]
    if tick >= upper:
        return [unsafe_sub(high[2], low[2]), unsafe_sub(high[3], low[3])]
    return [
        unsafe_sub(unsafe_sub(staticcall pool.feeGrowthGlobal0X128(), low[2]), high[2]),
        unsafe_sub(unsafe_sub(staticcall pool.feeGrowthGlobal1X128(), low[3]), high[3]),
    ]


@view
@internal
def _notionals(token_id: uint256, size: uint256, opens: bool) -> (uint256[2], uint256[2]):
    """
    @notice Notional of bought and of sold legs by token; what is sold rounds up at mint, what is bought at burn
    """
    longs: uint256[2] = [0, 0]
    shorts: uint256[2] = [0, 0]
    for i: uint256 in range(self._legs(token_id), bound=4):
        leg: Leg = self._leg(token_id, i)
        full: uint256[2] = self._full_amounts(leg, self._liquidity(leg, size), leg.is_long != opens)
        if leg.is_long:
            longs[leg.token_type] += full[leg.token_type]
        else:
            shorts[leg.token_type] += full[leg.token_type]
    return longs, shorts


@view
@internal
def _check_form(token_id: uint256):
    spacing: int256 = convert(tickSpacing, int256)
    legs: uint256 = self._legs(token_id)
    if legs == 0 or token_id >> (64 + 48 * legs) != 0:
        raw_revert(abi_encode(convert(1, uint256), method_id=method_id("InvalidTokenIdParameter(uint256)")))
    for i: uint256 in range(legs, bound=4):
        leg: Leg = self._leg(token_id, i)
        if leg.lower % spacing != 0 or leg.upper % spacing != 0 or leg.lower >= leg.upper:
            raw_revert(method_id("InvalidTickBound()"))
        for j: uint256 in range(i, bound=4):
            if self._leg(token_id, j).key == leg.key:
                raw_revert(abi_encode(convert(6, uint256), method_id=method_id("InvalidTokenIdParameter(uint256)")))


@view
@internal
def _check_spread(key: bytes32, most: uint256):
    chunk: Chunk = self.chunks[key]
    if chunk.net == 0:
        raw_revert(method_id("NetLiquidityZero()"))
    if chunk.removed * 10_000 // chunk.net > most:
        raw_revert(method_id("EffectiveLiquidityAboveThreshold()"))


@view
@internal
def _held(user: address, token_id: uint256) -> uint256:
    size: uint256 = self.balances[user][token_id] & MASK
    if size == 0:
        raw_revert(method_id("PositionNotOwned()"))
    return size


@view
@internal
def _safe_mode() -> uint8:
    """
    @notice One for a price far from its average, one for averages far from each other, three for the guardian's lock
    """
    most: int256 = staticcall RiskEngine(riskEngine).MAX_TICKS_DELTA()
    mode: uint8 = self.lock_mode
    if abs(self._tick() - self.averages[0]) > most:
        mode += 1
    if abs(self.averages[0] - self.averages[1]) > most // 2:
        mode += 1
    return mode


@view
@internal
def _tick() -> int256:
    return convert((staticcall Uniswap(uniswapPool).slot0())[1], int256)


@view
@internal
def _assets_of(account: address) -> (uint256, uint256):
    return (
        staticcall Tracker(self.collateralToken0).assetsOf(account),
        staticcall Tracker(self.collateralToken1).assetsOf(account),
    )


@view
@internal
def _leg(token_id: uint256, i: uint256) -> Leg:
    bits: uint256 = token_id >> (64 + 48 * i)
    strike: int256 = convert(bits >> 12 & (2**24 - 1), int256)
    if strike >= 2**23:
        strike -= 2**24
    span: int256 = convert(bits >> 36 & 4095, int256) * convert(tickSpacing, int256)
    lower: int256 = strike - span // 2
    token_type: uint256 = bits >> 9 & 1
    return Leg(
        asset=bits & 1,
        ratio=bits >> 1 & 127,
        is_long=bits >> 8 & 1 == 1,
        token_type=token_type,
        lower=lower,
        upper=lower + span,
        key=self._key(token_type, lower, lower + span),
    )


@pure
@internal
def _legs(token_id: uint256) -> uint256:
    legs: uint256 = 0
    for i: uint256 in range(4):
        if token_id >> (65 + 48 * i) & 127 != 0:
            legs = i + 1
    return legs


@pure
@internal
def _key(token_type: uint256, lower: int256, upper: int256) -> bytes32:
    return keccak256(abi_encode(token_type, lower, upper))


@pure
@internal
def _hash(token_id: uint256) -> uint256:
    return convert(keccak256(abi_encode(token_id)), uint256) >> 8


@pure
@internal
def _pack(pair: uint256[2]) -> uint256:
    return (pair[1] << 128) | pair[0]


@pure
@internal
def _pack_signed(pair: int256[2]) -> int256:
    return unsafe_add(pair[1] << 128, pair[0] & (2**128 - 1))


@view
@internal
def _liquidity(leg: Leg, size: uint256) -> uint256:
    low: uint256 = self._sqrt_ratio(leg.lower)
    high: uint256 = self._sqrt_ratio(leg.upper)
    amount: uint256 = size * leg.ratio
    if leg.asset == 0:
        return self._div(amount, self._div(low, high, Q96), high - low)
    return self._div(amount, Q96, high - low)


@view
@internal
def _full_amounts(leg: Leg, liquidity: uint256, up: bool) -> uint256[2]:
    """
    @notice The chunk wholly in token0 and wholly in token1: the notional of calls and of puts
    """
    low: uint256 = self._sqrt_ratio(leg.lower)
    high: uint256 = self._sqrt_ratio(leg.upper)
    return [self._amount0(liquidity, low, high, up), self._amount1(liquidity, low, high, up)]


@view
@internal
def _amounts(leg: Leg, liquidity: uint256, sqrt_price: uint256) -> uint256[2]:
    """
    @notice What the chunk's liquidity is at a price, rounded down
    """
    low: uint256 = self._sqrt_ratio(leg.lower)
    high: uint256 = self._sqrt_ratio(leg.upper)
    at: uint256 = min(max(sqrt_price, low), high)
    return [self._amount0(liquidity, at, high, False), self._amount1(liquidity, low, at, False)]


@pure
@internal
def _amount0(liquidity: uint256, low: uint256, high: uint256, up: bool) -> uint256:
    if not up:
        return self._div(liquidity << 96, high - low, high) // low
    product: uint256 = self._div(liquidity << 96, high - low, high)
    if uint256_mulmod(liquidity << 96, high - low, high) > 0:
        product += 1
    return (product + low - 1) // low


@pure
@internal
def _amount1(liquidity: uint256, low: uint256, high: uint256, up: bool) -> uint256:
    amount: uint256 = self._div(liquidity, high - low, Q96)
    if up and uint256_mulmod(liquidity, high - low, Q96) > 0:
        amount += 1
    return amount


@pure
@internal
def _in_token1(amount0: uint256, sqrt_price: uint256) -> uint256:
    return self._div(self._div(amount0, sqrt_price, Q96), sqrt_price, Q96)


@pure
@internal
def _div(a: uint256, b: uint256, c: uint256) -> uint256:
    """
    @notice a * b / c, rounded down, the product in 512 bits (Remco Bloemen's method)
    """
    low: uint256 = unsafe_mul(a, b)
    rest: uint256 = uint256_mulmod(a, b, max_value(uint256))
    high: uint256 = unsafe_sub(unsafe_sub(rest, low), 1 if rest < low else 0)
    if high == 0:
        return low // c
    assert c > high, "too large"
    rest = uint256_mulmod(a, b, c)
    if rest > low:
        high = unsafe_sub(high, 1)
    low = unsafe_sub(low, rest)
    twos: uint256 = unsafe_sub(0, c) & c
    odd: uint256 = c // twos
    low = low // twos
    low = low | unsafe_mul(high, unsafe_add(unsafe_sub(0, twos) // twos, 1))
    inverse: uint256 = unsafe_mul(3, odd) ^ 2
    for _: uint256 in range(6):
        inverse = unsafe_mul(inverse, unsafe_sub(2, unsafe_mul(odd, inverse)))
    return unsafe_mul(low, inverse)


@pure
@internal
def _sqrt_ratio(tick: int256) -> uint256:
    """
    @notice sqrt(1.0001**tick) * 2**96, as Uniswap's TickMath has it
    """
    steps: uint256[19] = [
        340248342086729790484326174814286782778,
        340214320654664324051920982716015181260,
        340146287995602323631171512101879684304,
        340010263488231146823593991679159461444,
        339738377640345403697157401104375502016,
        339195258003219555707034227454543997025,
        338111622100601834656805679988414885971,
        335954724994790223023589805789778977700,
        331682121138379247127172139078559817300,
        323299236684853023288211250268160618739,
        307163716377032989948697243942600083929,
        277268403626896220162999269216087595045,
        225923453940442621947126027127485391333,
        149997214084966997727330242082538205943,
        66119101136024775622716233608466517926,
        12847376061809297530290974190478138313,
        485053260817066172746253684029974020,
        691415978906521570653435304214168,
        1404880482679654955896180642,
    ]
    size: uint256 = convert(abs(tick), uint256)
    assert size <= 887272, "tick"
    ratio: uint256 = 340265354078544963557816517032075149313 if size & 1 != 0 else 2**128
    for i: uint256 in range(19):
        if size >> (i + 1) & 1 != 0:
            ratio = ratio * steps[i] >> 128
    if tick > 0:
        ratio = max_value(uint256) // ratio
    root: uint256 = ratio >> 32
    if ratio & (2**32 - 1) != 0:
        root += 1
    return root
