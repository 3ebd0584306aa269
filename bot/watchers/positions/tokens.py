"""What tokens say of themselves, made safe to show: symbols and decimals of pools nobody configured.

Anyone can mint a position of a token with any symbol into any wallet. So a symbol is cut to what can be
printed, never compared with a known one, and never a reason to take a token for a stable.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bot.model.lp_position import LpToken
from bot.model.market import Block
from bot.ports import Call, ChainReader
from bot.watchers.pools import ERC20
from bot.watchers.rows import Unknown

NATIVE = "0x" + "00" * 20
NATIVE_DECIMALS = 18
MAX_SYMBOL = 32  # characters that are kept
MAX_DECIMALS = 36  # what the settings take too


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownTokens:
    """What a person or the deployment data vouch for, by lower-case address."""

    symbols: Mapping[str, str]  # shown in place of what the token says
    stables: Collection[str] = ()  # count as 1 USD
    priced: Collection[str] = ()  # have a feed
    coin: str = "ETH"  # the chain's own

    def orient(self, token0: LpToken, token1: LpToken) -> tuple[LpToken, LpToken]:
        """Return (base, quote): the better known money prices the other, token1 where both are alike."""
        return (token1, token0) if self._rank(token0) > self._rank(token1) else (token0, token1)

    def _rank(self, token: LpToken) -> int:
        return 2 if token.address in self.stables else int(token.address in self.priced)


async def read_tokens(
    chain: ChainReader, addresses: Iterable[str], known: KnownTokens, *, block: Block
) -> dict[str, LpToken | Unknown]:
    """Return each token by lower-case address, Unknown where it has no usable decimals."""
    wanted = sorted({address.lower() for address in addresses})
    calls = [call for address in wanted for call in _calls(address)]
    results = await chain.read(calls, block=block)
    found: dict[str, LpToken | Unknown] = {}
    for index, address in enumerate(wanted):
        found[address] = _token(address, results[3 * index : 3 * index + 3], known)
    return found


def plain_symbol(raw: str) -> str:
    """Return a symbol as it may be shown: printable, without spaces, cut to MAX_SYMBOL; may be empty."""
    kept: list[str] = []
    for sign in raw[:1_024]:
        if sign.isprintable() and not sign.isspace():
            kept.append(sign)
        if len(kept) == MAX_SYMBOL:
            break
    return "".join(kept)


def short_address(address: str) -> str:
    return f"{address[:6]}…{address[-4:]}"


def _calls(address: str) -> tuple[Call, Call, Call]:
    symbol = ERC20.encode("symbol")
    return (
        ERC20.call("decimals", address),
        Call(address, symbol, ("string",)),
        Call(address, symbol, ("bytes32",)),  # MKR and other early tokens
    )


def _token(address: str, results: list[tuple[Any, ...] | None], known: KnownTokens) -> LpToken | Unknown:
    if address == NATIVE:
        return LpToken(symbol=known.coin, address=address, decimals=NATIVE_DECIMALS)
    decimals, as_string, as_bytes = results
    if decimals is None:
        return Unknown(f"the token {address} does not say its decimals")
    if decimals[0] > MAX_DECIMALS:
        return Unknown(f"the token {address} says it has {decimals[0]} decimals, up to {MAX_DECIMALS} can be")
    symbol = known.symbols.get(address, "")
    if not symbol and as_string is not None:
        symbol = plain_symbol(as_string[0])
    if not symbol and as_bytes is not None:
        symbol = plain_symbol(as_bytes[0].rstrip(b"\0").decode("ascii", "ignore"))
    return LpToken(symbol=symbol or short_address(address), address=address, decimals=int(decimals[0]))
