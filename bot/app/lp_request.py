"""What a person asks the LP monitor for: a wallet, positions by name, entry prices."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bot.chain.address import checksummed
from bot.errors import ConfigError
from bot.model.look_back import DEFAULT_LOOK_BACK
from bot.model.lp_position import LpPosition
from bot.model.refused import refused
from bot.watchers.positions.finder import NamedPosition

_DIGITS = 78  # of 2^256
_FORMS = "v3:TOKEN_ID, v3:TOKEN_ID@STAKER, v4:TOKEN_ID, v2:PAIR[:HOLDER] or v2:PAIR@STAKER:HOLDER[:PID]"
_TOKEN = re.compile(r"(?P<kind>v[34]):(?P<id>\d+)(@(?P<staker>0x\w+))?")
_PAIR = re.compile(r"v2:(?P<pair>0x\w+)(@(?P<staker>0x\w+))?(:(?P<holder>0x\w+))?(:(?P<pid>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class LpRequest:
    """What to watch. ``look_back`` bounds how many blocks of logs are searched."""

    wallet: str | None = None
    positions: tuple[NamedPosition, ...] = ()
    entry_prices: Mapping[str, float] = field(default_factory=dict)  # by position id, "" for every one
    look_back: int = DEFAULT_LOOK_BACK
    with_deposits: bool = True  # read the logs of what was put in, too

    def entry_price(self, position: LpPosition) -> float | None:
        return self.entry_prices.get(position.id, self.entry_prices.get(""))


def parse_request(
    *,
    wallet: str | None,
    positions: Sequence[str],
    entry_prices: Sequence[str] = (),
    look_back: int = DEFAULT_LOOK_BACK,
) -> LpRequest:
    """Return the request of command-line texts. Raises ConfigError naming the text and what is allowed."""
    if wallet is None and not positions:
        raise ConfigError("whose positions? Give --wallet 0x…, or --position v3:TOKEN_ID")
    return LpRequest(
        wallet=None if wallet is None else _address(wallet, "--wallet"),
        positions=tuple(parse_position(text) for text in positions),
        entry_prices=dict(_entry_price(text) for text in entry_prices),
        look_back=look_back,
    )


def parse_position(text: str) -> NamedPosition:
    """Return a position by its name, with its chain before a slash where there are several: 8453/v3:12."""
    chain, slash, name = text.rpartition("/")
    if slash and not (chain.isdecimal() and len(chain) <= _DIGITS):
        raise ConfigError(
            f"--position {refused(text)}: a chain id must stand before the slash, as in 8453/v3:12"
        )
    chain_id = int(chain) if slash else None
    token, pair = _TOKEN.fullmatch(name), _PAIR.fullmatch(name)
    option = f"--position {refused(text)}"
    if token is not None and not (token["kind"] == "v4" and token["staker"]):
        return NamedPosition(
            text=text,
            kind=token["kind"],
            chain_id=chain_id,
            token_id=_token_id(token["id"], option),
            staker=_address(token["staker"], option) if token["staker"] else "",
        )
    if pair is None or bool(pair["pid"]) > bool(pair["staker"]):
        raise ConfigError(f"{option}: must be {_FORMS}")
    return NamedPosition(
        text=text,
        kind="v2",
        chain_id=chain_id,
        pair=_address(pair["pair"], option),
        holder=_address(pair["holder"], option) if pair["holder"] else "",
        staker=_address(pair["staker"], option) if pair["staker"] else "",
        pool_id=_token_id(pair["pid"], option) if pair["pid"] else None,
    )


def _token_id(digits: str, option: str) -> int:
    if len(digits) > _DIGITS or int(digits) >= 2**256:
        raise ConfigError(f"{option}: a token id is below 2^256")
    return int(digits)


def _entry_price(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        price = float(number)
    except ValueError:
        price = math.nan
    if not 0.0 < price < math.inf:
        raise ConfigError(
            f"--entry-price {text!r}: must be a price > 0 in the pool's own pricing, as in 2500 or v3:12=2500"
        )
    return name, price


def parse_address(text: str | None, option: str) -> str | None:
    """Return an address in its checksummed form. Raises ConfigError naming the option."""
    return None if text is None else _address(text, option)


def _address(text: str, option: str) -> str:
    try:
        return checksummed(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {text[:60]!r} {error}") from None
