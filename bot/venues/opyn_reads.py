"""What Opyn Gamma says: the option series, who may hold what, and how far settlement has come.

Contract sources: opynfinance/GammaProtocol, contracts/core. oTokens, strikes and prices have 8 decimals,
payouts those of the collateral.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.chain.abi import Abi
from bot.errors import TransientError
from bot.model.market import Block
from bot.model.units import from_fixed
from bot.ports import Call, ChainReader
from bot.venues.opyn_terms import OTOKEN_DECIMALS, OpynContracts, Series
from bot.venues.steps import ERC20

CONTROLLER = Abi.load("GammaController")
FACTORY = Abi.load("GammaOtokenFactory")
OTOKEN = Abi.load("GammaOtoken")
ORACLE = Abi.load("GammaOracle")
PRICER = Abi.load("GammaChainlinkPricer")
WHITELIST = Abi.load("GammaWhitelist")


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """The Controller at one block, and the contracts that it says it works with."""

    whitelist: str
    oracle: str
    is_paused: bool  # in full: nothing can be redeemed; a partial pause only stops writing
    series_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """How far the settlement of an expired series has come at one block."""

    is_allowed: bool  # every price is final
    price_raw: int  # of the underlying at expiry, 8 decimals; 0 while nobody pushed one
    is_locked: bool  # the price cannot be pushed yet
    locking_s: int
    dispute_s: int
    pricer: str  # of the underlying

    @property
    def is_pushed(self) -> bool:
        return self.price_raw > 0


class OpynReads:
    """Pinned reads of one system. Raises TransientError where a view cannot be read."""

    def __init__(self, reader: ChainReader, contracts: OpynContracts) -> None:
        self.reader = reader
        self.contracts = contracts

    async def system(self, block: Block) -> System:
        c = self.contracts
        calls = (
            CONTROLLER.call("whitelist", c.controller),
            CONTROLLER.call("oracle", c.controller),
            CONTROLLER.call("systemFullyPaused", c.controller),
            FACTORY.call("getOtokensLength", c.factory),
            # Controllers before v2 lack it, and what is read of settlement: nothing is bought of those.
            CONTROLLER.call("canSettleAssets", c.controller, c.underlying_token, c.token, c.token, 0),
        )
        (whitelist,), (oracle,), (paused,), (count,), _ = await self._all(calls, "the Controller", block)
        return System(
            whitelist=str(whitelist), oracle=str(oracle), is_paused=bool(paused), series_count=int(count)
        )

    async def all_series(self, system: System, block: Block) -> tuple[Series, ...]:
        """Return every series of the configured underlying and strike asset, expired ones included."""
        factory = self.contracts.factory
        calls = [FACTORY.fixed_call("otokens", factory, number) for number in range(system.series_count)]
        addresses = [str(row[0]) for row in await self._all(calls, "otokens", block)]
        details = await self.reader.read([_details(address) for address in addresses], block=block)
        owners = await self.reader.read([_controller(address) for address in addresses], block=block)
        found = [
            _series(address, row)
            for address, row, owner in zip(addresses, details, owners, strict=True)
            if row is not None and owner is not None and self._is_own(row, str(owner[0]))
        ]
        return tuple(found)

    async def series(self, otoken: str, block: Block) -> Series | None:
        """Return the terms of one oToken of this system, None where it is none."""
        details, owner = await self.reader.read([_details(otoken), _controller(otoken)], block=block)
        if details is None or owner is None or not self._is_own(details, str(owner[0])):
            return None
        return _series(otoken, details)

    async def whitelisted(self, system: System, otokens: Sequence[str], block: Block) -> list[bool]:
        calls = [WHITELIST.call("isWhitelistedOtoken", system.whitelist, item) for item in otokens]
        return [bool(row[0]) for row in await self._all(calls, "the whitelist", block)]

    async def balances(self, otokens: Sequence[str], account: str, block: Block) -> list[int]:
        calls = [ERC20.call("balanceOf", item, account) for item in otokens]
        return [int(row[0]) for row in await self._all(calls, "oToken balances", block)]

    async def spot(self, system: System, block: Block) -> float:
        """Return Opyn's own price of the underlying, USD; NaN when its oracle gives none."""
        call = ORACLE.call("getPrice", system.oracle, self.contracts.underlying_token)
        row = (await self.reader.read([call], block=block))[0]
        return float("nan") if row is None else from_fixed(row[0], decimals=OTOKEN_DECIMALS)

    async def settlement(self, system: System, series: Series, block: Block) -> Settlement:
        """Return how far an expired series has come; the strike asset's price is stable and always final."""
        oracle, asset, expiry_s = system.oracle, series.underlying, series.expiry_s
        first = (
            CONTROLLER.call("isSettlementAllowed", self.contracts.controller, series.otoken),
            ORACLE.call("getExpiryPrice", oracle, asset, expiry_s),
            ORACLE.call("isLockingPeriodOver", oracle, asset, expiry_s),
            ORACLE.call("getPricer", oracle, asset),
        )
        (allowed,), (price, _), (unlocked,), (pricer,) = await self._all(first, "settlement", block)
        periods = (
            ORACLE.call("getPricerLockingPeriod", oracle, pricer),
            ORACLE.call("getPricerDisputePeriod", oracle, pricer),
        )
        (locking,), (dispute,) = await self._all(periods, "oracle periods", block)
        return Settlement(
            is_allowed=bool(allowed),
            price_raw=int(price),
            is_locked=not unlocked,
            locking_s=int(locking),
            dispute_s=int(dispute),
            pricer=str(pricer).lower(),
        )

    async def payout_raw(self, series: Series, amount_raw: int, block: Block) -> int:
        """Return what redeeming brings in units of the collateral; only once settlement is allowed."""
        call = CONTROLLER.call("getPayout", self.contracts.controller, series.otoken, amount_raw)
        return int((await self._all([call], "getPayout", block))[0][0])

    def _is_own(self, details: tuple[Any, ...], controller: str) -> bool:
        c = self.contracts
        collateral, underlying, strike, _, _, is_put = details
        backing = c.token if is_put else c.underlying_token
        return (
            controller.lower() == c.controller.lower()
            and str(underlying).lower() == c.underlying_token.lower()
            and str(strike).lower() == c.token.lower()
            and str(collateral).lower() == backing.lower()
        )

    async def _all(self, calls: Sequence[Call], what: str, block: Block) -> list[tuple[Any, ...]]:
        rows = await self.reader.read(calls, block=block) if calls else []
        if any(row is None for row in rows):
            raise TransientError(f"{what} of Opyn could not be read at block {block.number}")
        return [row for row in rows if row is not None]


def _details(otoken: str) -> Call:
    return OTOKEN.fixed_call("getOtokenDetails", otoken)


def _controller(otoken: str) -> Call:
    return OTOKEN.fixed_call("controller", otoken)


def _series(otoken: str, details: tuple[Any, ...]) -> Series:
    collateral, underlying, strike, strike_raw, expiry_s, is_put = details
    return Series(
        otoken=otoken.lower(),
        collateral=str(collateral).lower(),
        underlying=str(underlying).lower(),
        strike_asset=str(strike).lower(),
        strike_raw=int(strike_raw),
        expiry_s=int(expiry_s),
        is_put=bool(is_put),
    )
