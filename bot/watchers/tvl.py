"""Tokens held by a pool, vault or bridge: amounts, never their price (S1's flow part)."""

from dataclasses import dataclass

from bot.chain.address import Address
from bot.errors import ConfigError
from bot.model.market import Block, Metric, Observation, SeriesKey
from bot.ports import ChainReader
from bot.watchers.amounts import check_decimals, whole_units
from bot.watchers.pools import ERC20
from bot.watchers.rows import BadRead, Rows, Unknown

SOURCE = "balances"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token whose balance is watched."""

    symbol: str
    address: Address
    decimals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TvlWatcher:
    """Watches the balances of one holder; the subject of each series is ``<label>/<symbol>``.

    Donations and fees count: this is what lies there, not what positions are owed.
    """

    label: str
    holder: Address
    tokens: tuple[Token, ...]

    def __post_init__(self) -> None:
        symbols = [token.symbol for token in self.tokens]
        if not symbols or len(set(symbols)) != len(symbols):
            raise ConfigError(f"TVL of {self.label}: token symbols must be given once each, were {symbols}")

    @property
    def name(self) -> str:
        return f"tvl {self.label}"

    @property
    def series(self) -> tuple[SeriesKey, ...]:
        return tuple(
            SeriesKey(Metric.TOKEN_UNITS, f"{self.label}/{token.symbol}", SOURCE) for token in self.tokens
        )

    async def read(self, chain: ChainReader, *, block: Block, read_at_s: float) -> list[Observation]:
        rows = Rows(block=block, read_at_s=read_at_s)
        calls = [ERC20.call("balanceOf", token.address, self.holder) for token in self.tokens]
        calls += [ERC20.call("decimals", token.address) for token in self.tokens]
        results = await chain.read(calls, block=block)
        balances, decimals = results[: len(self.tokens)], results[len(self.tokens) :]
        return [
            rows.row(key, self._units(token, balance, found))
            for key, token, balance, found in zip(self.series, self.tokens, balances, decimals, strict=True)
        ]

    def _units(
        self, token: Token, balance: tuple[int, ...] | None, decimals: tuple[int, ...] | None
    ) -> float | Unknown:
        what = f"{token.symbol} at {token.address}"
        try:
            check_decimals(decimals, token.decimals, what)
            return whole_units(balance, token.decimals, f"balance of {what}")
        except BadRead as error:
            return Unknown(str(error))
