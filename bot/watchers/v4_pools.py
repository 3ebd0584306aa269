"""A Uniswap v4 pool as it is configured, and how its state is read from the PoolManager.

A v4 pool has no contract of its own: it is an id, the hash of its key, inside the one PoolManager, whose
token balances are those of all pools together. Its state is read through a StateView where one is
configured, else from storage by ``extsload``; both give the same numbers (a devnet test compares them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.ports import Call
from bot.watchers.pools import ERC20, MAX_SQRT_RATIO, MIN_SQRT_RATIO, Pool, check_price_at_tick
from bot.watchers.rows import BadRead, need

POOL_MANAGER = Abi.load("PoolManager")
STATE_VIEW = Abi.load("StateView")

ZERO_ADDRESS = "0x" + "00" * 20
NATIVE = ZERO_ADDRESS  # how a pool key writes the chain's own coin; it sorts first
NATIVE_DECIMALS = 18
DYNAMIC_FEE = 0x800000  # LPFeeLibrary.DYNAMIC_FEE_FLAG: the hook sets the fee
_MAX_FEE = 1_000_000
_MAX_TICK_SPACING = 32_767
_CHANGES_SWAPS = 0b1100  # Hooks.BEFORE_SWAP_RETURNS_DELTA_FLAG, AFTER_SWAP_RETURNS_DELTA_FLAG

# StateLibrary of v4-core: the pools mapping and the fields of Pool.State.
_POOLS_SLOT = 6
_FEE_GROWTH, _LIQUIDITY, _TICKS, _BITMAP, _POSITIONS = 1, 3, 4, 5, 6


class Slot0(NamedTuple):
    """A pool's price and fees. Fees in millionths of the input."""

    sqrt_price_x96: int
    tick: int
    protocol_fee: int  # two 12-bit halves: low when token0 is sold, high when token1 is
    lp_fee: int  # what holds now, also where the hook sets it


@dataclass(frozen=True, kw_only=True)
class V4Pool:
    """One pool of a Uniswap v4 PoolManager. The base is priced, the quote is the stable that prices it."""

    label: str  # subject of its observations, "v4:ETH/USDC"
    manager: Address  # the PoolManager
    state_view: Address | None = None
    base: str  # "ETH"
    quote: str  # "USDC"
    base_token: Address  # the zero address for the chain's own coin
    quote_token: Address
    base_decimals: int
    quote_decimals: int
    fee: int  # millionths of the input, or 0x800000 (8388608) where the hook sets it
    tick_spacing: int
    hooks: Address = ZERO_ADDRESS

    def __post_init__(self) -> None:
        if self.fee != DYNAMIC_FEE and not 0 <= self.fee <= _MAX_FEE:
            raise ConfigError(
                f"pool {self.label}: fee must be 0..{_MAX_FEE} or {DYNAMIC_FEE} (dynamic), was {self.fee}"
            )
        if not 1 <= self.tick_spacing <= _MAX_TICK_SPACING:
            raise ConfigError(
                f"pool {self.label}: tick_spacing must be 1..{_MAX_TICK_SPACING}, was {self.tick_spacing}"
            )
        if self.is_dynamic and self.hooks == ZERO_ADDRESS:
            raise ConfigError(f"pool {self.label}: a dynamic fee needs hooks, and there are none")
        for token, decimals in self._tokens:
            if token == NATIVE and decimals != NATIVE_DECIMALS:
                raise ConfigError(f"pool {self.label}: the chain's coin has 18 decimals, was {decimals}")
        _ = self.pair  # checks that there are two tokens

    @cached_property
    def pair(self) -> Pool:
        """What a price and a liquidity mean in whole units, as for any pool of the two tokens."""
        return Pool(
            label=self.label,
            address=self.manager,
            base=self.base,
            quote=self.quote,
            base_token=self.base_token,
            quote_token=self.quote_token,
            base_decimals=self.base_decimals,
            quote_decimals=self.quote_decimals,
        )

    @property
    def _tokens(self) -> tuple[tuple[str, int], tuple[str, int]]:
        return (self.base_token, self.base_decimals), (self.quote_token, self.quote_decimals)

    @property
    def is_dynamic(self) -> bool:
        """True where the hook sets the fee."""
        return self.fee == DYNAMIC_FEE

    @property
    def hook_changes_swaps(self) -> bool:
        """True where the hook may add to or take from what a swap pays, as its address says."""
        return bool(int(self.hooks, 16) & _CHANGES_SWAPS)

    @property
    def base_is_token0(self) -> bool:
        return self.pair.base_is_token0

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """The PoolKey: currency0, currency1, fee, tickSpacing, hooks."""
        first, second = sorted((self.base_token, self.quote_token), key=lambda token: int(token, 16))
        return first, second, self.fee, self.tick_spacing, self.hooks

    @cached_property
    def pool_id(self) -> bytes:
        """PoolId of v4-core: the hash of the key."""
        return keccak(encode(["address", "address", "uint24", "int24", "address"], self.key))

    @cached_property
    def state_slot(self) -> int:
        """Where Pool.State lies in the PoolManager's storage."""
        return int.from_bytes(keccak(self.pool_id + _POOLS_SLOT.to_bytes(32, "big")), "big")

    def ordered(self, amount0: int, amount1: int) -> tuple[float, float]:
        return self.pair.ordered(amount0, amount1)

    def price_from_sqrt(self, sqrt_price_x96: int) -> float:
        return self.pair.price_from_sqrt(sqrt_price_x96)

    def price_from_tick(self, tick: float) -> float:
        return self.pair.price_from_tick(tick)

    def whole_liquidity(self, liquidity: float) -> float:
        return self.pair.whole_liquidity(liquidity)

    # -- reads: the call, and what its result means ----------------------------------------------------

    @property
    def check_calls(self) -> tuple[Call, ...]:
        """The calls whose results :meth:`check` takes."""
        calls: list[Call] = [
            ERC20.fixed_call("decimals", token) for token, _ in self._tokens if token != NATIVE
        ]
        if self.state_view:
            calls.append(STATE_VIEW.fixed_call("poolManager", self.state_view))
        return tuple(calls)

    def check(self, results: Sequence[tuple[Any, ...] | None]) -> None:
        """Raise BadRead when a token has other decimals, or the StateView reads another PoolManager."""
        found = iter(results)
        for token, wanted in self._tokens:
            if token == NATIVE:
                continue
            (decimals,) = need(next(found), f"{self.label} decimals of {token}")
            if decimals != wanted:
                raise BadRead(f"{self.label}: {token} has {decimals} decimals, configured are {wanted}")
        if self.state_view:
            (manager,) = need(next(found), f"{self.label} poolManager of the StateView {self.state_view}")
            if manager.lower() != self.manager.lower():
                raise BadRead(
                    f"{self.label}: the StateView at {self.state_view} reads the PoolManager {manager}, "
                    f"configured is {self.manager}"
                )

    @property
    def slot0_call(self) -> Call:
        return self._call("getSlot0", self.state_slot)

    @property
    def liquidity_call(self) -> Call:
        return self._call("getLiquidity", self.state_slot + _LIQUIDITY)

    def slot0(self, result: tuple[Any, ...] | None) -> Slot0:
        """Return price and fees. Raises BadRead for a pool that does not exist and for what cannot be."""
        found = need(result, f"{self.label} getSlot0 of pool {self.pool_id.hex()}")
        slot0 = Slot0(*found) if self.state_view else _unpack_slot0(found[0])
        if slot0.sqrt_price_x96 == 0:
            raise BadRead(
                f"{self.label}: the PoolManager at {self.manager} has no pool {self.pool_id.hex()}; "
                "check tokens, fee, tick_spacing and hooks"
            )
        self._check(slot0)
        return slot0

    def liquidity(self, result: tuple[Any, ...] | None) -> int:
        """Return the liquidity in range."""
        (found,) = need(result, f"{self.label} getLiquidity")
        return int(found) if self.state_view else _low(found)

    def slots_call(self, slots: Sequence[int]) -> Call:
        """Return the call that reads many storage words at once; :func:`words` takes its result."""
        return POOL_MANAGER.call(
            "extsload(bytes32[])", self.manager, [slot.to_bytes(32, "big") for slot in slots]
        )

    def bitmap_slot(self, word: int) -> int:
        return _mapped(word, self.state_slot + _BITMAP)

    def tick_slot(self, tick: int) -> int:
        """Where (liquidityNet << 128 | liquidityGross) of a tick lies; fee growths 0 and 1 follow it."""
        return _mapped(tick, self.state_slot + _TICKS)

    def fee_growth_slots(self) -> tuple[int, int]:
        return self.state_slot + _FEE_GROWTH, self.state_slot + _FEE_GROWTH + 1

    def position_slot(self, owner: str, lower_tick: int, upper_tick: int, salt: bytes) -> int:
        """Where a position's liquidity lies; its last fee growths inside follow it.

        The owner of a PositionManager's NFT is the PositionManager, the salt is the token id.
        """
        ticks = b"".join(tick.to_bytes(3, "big", signed=True) for tick in (lower_tick, upper_tick))
        key = keccak(bytes.fromhex(owner[2:]) + ticks + salt.rjust(32, b"\0"))
        return _mapped(int.from_bytes(key, "big"), self.state_slot + _POSITIONS)

    def _call(self, function: str, slot: int) -> Call:
        if self.state_view:
            return STATE_VIEW.call(function, self.state_view, self.pool_id)
        return POOL_MANAGER.call("extsload(bytes32)", self.manager, slot.to_bytes(32, "big"))

    def _check(self, slot0: Slot0) -> None:
        """Raise BadRead for a price out of bounds, a tick that is not its tick, or an impossible fee."""
        at = slot0.sqrt_price_x96
        if not MIN_SQRT_RATIO <= at < MAX_SQRT_RATIO:
            raise BadRead(f"{self.label}: sqrtPriceX96 {at} is out of Uniswap's bounds")
        check_price_at_tick(at, slot0.tick, self.label)
        if slot0.lp_fee > _MAX_FEE or (not self.is_dynamic and slot0.lp_fee != self.fee):
            raise BadRead(f"{self.label}: the pool's fee is {slot0.lp_fee}, configured is {self.fee}")


def words(result: tuple[Any, ...] | None, count: int, what: str) -> list[bytes]:
    """Return the words of :meth:`V4Pool.slots_call`. Raises BadRead unless there are ``count``."""
    (found,) = need(result, what)
    if len(found) != count:
        raise BadRead(f"{what} returned {len(found)} words, {count} were asked for")
    return list(found)


def tick_liquidity(word: bytes) -> tuple[int, int]:
    """Return (liquidityNet, liquidityGross) of TickInfo's first word."""
    return int.from_bytes(word[:16], "big", signed=True), int.from_bytes(word[16:], "big")


def _unpack_slot0(word: bytes) -> Slot0:
    """From the top: 24 empty bits, lpFee 24, protocolFee 24, tick 24 signed, sqrtPriceX96 160."""
    return Slot0(
        sqrt_price_x96=int.from_bytes(word[12:], "big"),
        tick=int.from_bytes(word[9:12], "big", signed=True),
        protocol_fee=int.from_bytes(word[6:9], "big"),
        lp_fee=int.from_bytes(word[3:6], "big"),
    )


def _low(word: bytes) -> int:
    """The low 128 bits; the rest of the word belongs to another field."""
    return int.from_bytes(word[16:], "big")


def _mapped(key: int, slot: int) -> int:
    """Return where Solidity keeps ``mapping[key]``."""
    place = (key % 2**256).to_bytes(32, "big") + (slot % 2**256).to_bytes(32, "big")
    return int.from_bytes(keccak(place), "big")
