"""Curve pools, old StableSwap, StableSwap-NG and the crypto pools: shares, virtual price, EMA prices, depth.

They differ in what an index is (int128 or uint256), in whether they keep a price oracle, and in what a
balance is worth; both index types are asked and the one that answers is taken, the rest is configured. A
known trap of ``get_virtual_price`` is that it can be read in the middle of a withdrawal of an old ETH pool;
a pinned block's state is never inside a transaction, so it cannot be fooled that way here. The oracles of
StableSwap-NG pools made before 2023-12-12 jump when coins differ in decimals or have rates (Curve's
documentation, "Stableswap-NG Oracles"): configure ``has_oracle = false`` for those.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.chain.abi import Abi
from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import Call, ChainReader
from bot.watchers.amounts import check_decimals, whole_units
from bot.watchers.curve_depth import DepthRequest, read_depth
from bot.watchers.pools import ERC20, from_raw
from bot.watchers.rows import BadRead, Rows, Unknown, need

CURVE = Abi.load("CurvePool")
SOURCE = "curve"
COIN = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"  # how Curve writes the chain's own coin
_COIN_DECIMALS = 18
_ONE = 10**18
_HIGHEST_VIRTUAL_PRICE = 1e3  # it starts at 1 and grows with fees; more is no LP token
_INDEX_TYPES = ("uint256", "int128")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveCoin:
    """One coin of a pool, in the pool's order."""

    symbol: str
    address: Address
    decimals: int

    @property
    def is_native(self) -> bool:
        """True for the chain's own coin, which has no contract to ask."""
        return self.address.lower() == COIN.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveWatcher:
    """Watches one pool.

    Shares are by value: ``value_by`` "par" counts each coin alike (old StableSwap), "rates" multiplies by the
    pool's own stored_rates (StableSwap-NG), "oracle" by its EMA prices (crypto pools). TOKEN_UNITS are what
    the pool owes its LPs, admin fees left out. Prices come from the pool's EMA oracle, never from its spot:
    PRICE_USD where ``quote_is_usd``, EXCHANGE_RATE of "<coin>/<quote>" otherwise.
    """

    label: str  # "curve:3pool"
    pool: Address
    coins: tuple[CurveCoin, ...]
    value_by: Literal["par", "rates", "oracle"] = "par"
    has_oracle: bool = False
    quote: str = ""  # symbol of the coin that the others are priced in; none: no prices and no depth
    quote_is_usd: bool = False  # true where the quote is a dollar stable

    def __post_init__(self) -> None:
        symbols = [coin.symbol for coin in self.coins]
        if len(symbols) < 2 or len(set(symbols)) != len(symbols):
            raise ConfigError(f"pool {self.label}: two or more coins, each once, are needed, were {symbols}")
        if self.quote and self.quote not in symbols:
            raise ConfigError(f"pool {self.label}: quote {self.quote!r} is no coin of {symbols}")
        if self.value_by == "oracle" and not self.has_oracle:
            raise ConfigError(f'pool {self.label}: value_by = "oracle" needs has_oracle = true')
        for coin in self.coins:
            if coin.is_native and coin.decimals != _COIN_DECIMALS:
                raise ConfigError(f"pool {self.label}: {coin.symbol} has 18 decimals, was {coin.decimals}")

    @property
    def name(self) -> str:
        return f"curve {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        coins = [f"{self.label}/{coin.symbol}" for coin in self.coins]
        return (
            *(SeriesKey(Metric.TOKEN_UNITS, coin, SOURCE) for coin in coins),
            *(SeriesKey(Metric.POOL_SHARE, coin, SOURCE) for coin in coins),
            SeriesKey(Metric.VIRTUAL_PRICE, self.label, SOURCE),
            *self._price_keys,
            *self._depth_keys,
        )

    @property
    def _price_keys(self) -> tuple[SeriesKey, ...]:
        if not (self.has_oracle and self.quote):
            return ()
        others = (coin.symbol for coin in self.coins if coin.symbol != self.quote)
        source = f"{SOURCE}:{self.label}"
        if self.quote_is_usd:
            return tuple(SeriesKey(Metric.PRICE_USD, other, source) for other in others)
        return tuple(SeriesKey(Metric.EXCHANGE_RATE, f"{other}/{self.quote}", source) for other in others)

    @property
    def _depth_keys(self) -> tuple[SeriesKey, ...]:
        if not (self.quote and self.quote_is_usd):
            return ()
        return (SeriesKey(Metric.POOL_DEPTH_USD, self.label, SOURCE),)

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        answers = _Answers(self, await chain.read(_calls(self), block=block))
        try:
            answers.check_coins()
            units = answers.units()
        except BadRead as error:
            return rows.unknown(self.series, str(error))
        count = len(units)
        values: dict[SeriesKey, float | Unknown] = dict(zip(self.series[:count], units, strict=True))
        values |= _all_or_why(self.series[count : 2 * count], lambda: answers.shares(units))
        values |= _all_or_why(self.series[2 * count : 2 * count + 1], answers.virtual_price)
        values |= _all_or_why(self._price_keys, answers.prices)
        for key in self._depth_keys:
            values[key] = await self._depth(chain, block, answers)
        return [rows.row(key, values[key]) for key in self.series]

    async def _depth(self, chain: ChainReader, block: Block, answers: "_Answers") -> float | Unknown:
        """Return the least USD that move a price against the quote by 2 %, over coins and directions."""
        quote = [coin.symbol for coin in self.coins].index(self.quote)
        try:
            worth = answers.worth()
            usd = [each / worth[quote] for each in worth]
            request = DepthRequest(
                label=self.label,
                pool=self.pool,
                decimals=tuple(coin.decimals for coin in self.coins),
                usd_each=tuple(usd),
                total_usd=sum(unit * each for unit, each in zip(answers.units(), usd, strict=True)),
                quote=quote,
            )
            return await read_depth(chain, request, block=block)
        except BadRead as error:
            return Unknown(str(error))


def _calls(watcher: CurveWatcher) -> list[Call]:
    """All but the depth: for each coin its address and balance by both index types, and its decimals."""
    pool, calls = watcher.pool, []
    for index, coin in enumerate(watcher.coins):
        for function in ("coins", "balances"):
            calls += [CURVE.call(f"{function}({kind})", pool, index) for kind in _INDEX_TYPES]
        calls.append(ERC20.call("decimals", coin.address))
    calls.append(CURVE.call("get_virtual_price", pool))
    rates = CURVE.call("stored_rates", pool)
    calls.append(rates)
    calls.append(rates._replace(outputs=(f"uint256[{len(watcher.coins)}]",)))  # as older pools return them
    calls += [CURVE.call("price_oracle(uint256)", pool, index) for index in range(len(watcher.coins) - 1)]
    calls.append(CURVE.call("price_oracle()", pool))
    return calls


class _Answers:
    """What the pool answered to :func:`_calls`; every method raises BadRead for what cannot be."""

    def __init__(self, watcher: CurveWatcher, results: Sequence[tuple[Any, ...] | None]) -> None:
        self._of = watcher
        count = len(watcher.coins)
        self._coins = [results[5 * index : 5 * index + 5] for index in range(count)]
        self._virtual_price, rates, fixed_rates, *oracles = results[5 * count :]
        self._rates = (
            fixed_rates if rates is None else rates
        )  # a list also reads as an array, not the reverse
        self._oracles = oracles[:-1]
        if count == 2 and self._oracles[0] is None:
            self._oracles = oracles[-1:]  # two coins: the older pools take no index

    def check_coins(self) -> None:
        for coin, (by_uint, by_int, _, _, decimals) in zip(self._of.coins, self._coins, strict=True):
            what = f"{self._of.label} coins at {self._of.pool}"
            (found,) = need(_one_of(by_uint, by_int, what), what)
            if found.lower() != coin.address.lower():
                raise BadRead(
                    f"{self._of.label} holds {found}, configured as {coin.symbol} is {coin.address}"
                )
            if coin.is_native:
                continue
            check_decimals(decimals, coin.decimals, f"{self._of.label}: {coin.symbol} at {coin.address}")

    def units(self) -> list[float]:
        what = f"{self._of.label} balances at {self._of.pool}"
        return [
            whole_units(_one_of(by_uint, by_int, what), coin.decimals, what)
            for coin, (_, _, by_uint, by_int, _) in zip(self._of.coins, self._coins, strict=True)
        ]

    def shares(self, units: Sequence[float]) -> list[float]:
        values = [unit * each for unit, each in zip(units, self.worth(), strict=True)]
        total = sum(values)
        if total <= 0:
            raise BadRead(f"{self._of.label} is empty")
        return [value / total for value in values]

    def virtual_price(self) -> list[float]:
        (raw,) = need(self._virtual_price, f"{self._of.label} get_virtual_price")
        price = from_raw(raw, 18)
        if not 0 < price < _HIGHEST_VIRTUAL_PRICE:
            raise BadRead(
                f"{self._of.label}: virtual price {price}, allowed is 0..{_HIGHEST_VIRTUAL_PRICE:.0f}"
            )
        return [price]

    def worth(self) -> list[float]:
        """Return what one of each coin counts, in units of the first coin at par."""
        if self._of.value_by == "oracle":
            return self._ema()
        if self._of.value_by == "rates":
            return self._stored_rates()
        return [1.0] * len(self._of.coins)

    def prices(self) -> list[float]:
        """Return the EMA price of every coin but the quote, in the quote.

        StableSwap-NG's oracle prices a coin after its rate (it works on the rate-scaled balances).
        """
        rates = self._stored_rates() if self._of.value_by == "rates" else [1.0] * len(self._of.coins)
        in_first = [price * rate for price, rate in zip(self._ema(), rates, strict=True)]
        quote = [coin.symbol for coin in self._of.coins].index(self._of.quote)
        return [price / in_first[quote] for index, price in enumerate(in_first) if index != quote]

    def _ema(self) -> list[float]:
        """Return the prices of all coins in the first coin; oracle i is of coin i + 1."""
        prices = [1.0]
        for index, result in enumerate(self._oracles):
            (raw,) = need(result, f"{self._of.label} price_oracle({index}) at {self._of.pool}")
            prices.append(_positive(raw, f"{self._of.label} price_oracle({index})", digits=18))
        return prices

    def _stored_rates(self) -> list[float]:
        """Return the pool's rates: 10^36 / 10^decimals at par, more for a coin that has accrued."""
        (raw,) = need(self._rates, f"{self._of.label} stored_rates at {self._of.pool}")
        if len(raw) != len(self._of.coins):
            raise BadRead(f"{self._of.label} has {len(raw)} rates for {len(self._of.coins)} coins")
        return [
            _positive(rate, f"{self._of.label} rate of {coin.symbol}", digits=36 - coin.decimals)
            for rate, coin in zip(raw, self._of.coins, strict=True)
        ]


def _all_or_why(
    keys: Sequence[SeriesKey], read: Callable[[], Sequence[float]]
) -> dict[SeriesKey, float | Unknown]:
    """Return a value for each key, or for all of them why there is none."""
    if not keys:
        return {}
    try:
        return dict(zip(keys, read(), strict=True))
    except BadRead as error:
        return dict.fromkeys(keys, Unknown(str(error)))


def _one_of(
    by_uint: tuple[Any, ...] | None, by_int: tuple[Any, ...] | None, what: str
) -> tuple[Any, ...] | None:
    """Return the answer of the index type that the pool has. A contract that answers both must agree."""
    if by_uint is not None and by_int is not None and by_uint != by_int:
        raise BadRead(f"{what} answers {by_uint[0]} by uint256 and {by_int[0]} by int128")
    return by_uint if by_uint is not None else by_int


def _positive(raw: int, what: str, *, digits: int) -> float:
    value = from_raw(raw, digits)
    if not 0 < value < 1e15:
        raise BadRead(f"{what} is {value}")
    return value
