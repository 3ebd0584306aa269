"""Bridges: what is locked at the origin, and what was minted against it elsewhere (S7).

A watcher reads one chain, a bridge spans two: so one watcher reads the lockboxes on the origin's chain and
one the minted supply on each destination's. ``bot.quant.bridges.coverage`` divides the two columns. Both may
run on one chain, for a token that wraps another. Tokens that are burned and minted (CCTP, OFT, CCIP) have no
lockbox, and their supplies alone prove nothing.
"""

from dataclasses import dataclass

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import Call, ChainReader
from bot.quant.bridges import LOCKED, MINTED
from bot.watchers.amounts import check_decimals, whole_units
from bot.watchers.pools import ERC20
from bot.watchers.rows import BadRead, Rows

MULTICALL = Abi.load("Multicall3")
_MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
_NATIVE_DECIMALS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeLockWatcher:
    """Watches what lies in a bridge's lockboxes on the origin's chain, added up.

    A part of what lies there is on its way (deposits that are not minted yet, withdrawals in their challenge
    period), so the amount moves a little against what is minted even in good order.
    """

    bridge: str  # "arbitrum"
    token: str  # "USDC"; the same word as on the destination's side
    token_address: Address | None = None  # none: the chain's own coin
    decimals: int
    lockboxes: tuple[Address, ...]
    multicall3: Address = _MULTICALL3  # tells balances of the chain's own coin

    def __post_init__(self) -> None:
        if not self.lockboxes or len({box.lower() for box in self.lockboxes}) != len(self.lockboxes):
            raise ConfigError(f"bridge {self.bridge}: each lockbox must be given once, were {self.lockboxes}")
        if self.token_address is None and self.decimals != _NATIVE_DECIMALS:
            raise ConfigError(f"bridge {self.bridge}: the chain's coin has 18 decimals, was {self.decimals}")

    @property
    def name(self) -> str:
        return f"bridge_lock {self.bridge}/{self.token}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return (SeriesKey(Metric.TOKEN_UNITS, f"{self.bridge}/{self.token}", LOCKED),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [self._balance(box) for box in self.lockboxes]
        if self.token_address:
            calls.append(ERC20.call("decimals", self.token_address))
        found = await chain.read(calls, block=block)
        try:
            if self.token_address:
                check_decimals(found[-1], self.decimals, f"{self.token} at {self.token_address}")
            total = sum(
                whole_units(result, self.decimals, f"bridge {self.bridge}: {self.token} in lockbox {box}")
                for box, result in zip(self.lockboxes, found, strict=False)
            )
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], total)]

    def _balance(self, box: str) -> Call:
        if self.token_address:
            return ERC20.call("balanceOf", self.token_address, box)
        return MULTICALL.call("getEthBalance", self.multicall3, box)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSupplyWatcher:
    """Watches how much of a bridged token was minted on one destination's chain."""

    bridge: str
    token: str
    token_address: Address
    decimals: int
    destination: str = ""  # tells the destinations apart where one lockbox backs several

    @property
    def name(self) -> str:
        where = f" on {self.destination}" if self.destination else ""
        return f"bridge_supply {self.bridge}/{self.token}{where}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        source = f"{MINTED}:{self.destination}" if self.destination else MINTED
        return (SeriesKey(Metric.TOKEN_UNITS, f"{self.bridge}/{self.token}", source),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        supply, decimals = await chain.read(
            [ERC20.call("totalSupply", self.token_address), ERC20.call("decimals", self.token_address)],
            block=block,
        )
        what = f"bridge {self.bridge}: {self.token} at {self.token_address}"
        try:
            check_decimals(decimals, self.decimals, what)
            minted = whole_units(supply, self.decimals, f"{what} totalSupply")
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        return [rows.row(self.series[0], minted)]
