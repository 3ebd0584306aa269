"""What a Safe transaction would do, in words: each call by the rule that allows it, with its bounds.

A call that no rule of the configured venues describes is named as far as a known ABI names it, and marked:
the bot would never propose it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eth_abi.grammar import TupleType, parse
from eth_utils.crypto import keccak

from bot.chain.abi import Abi, decode_or_none
from bot.chain.safe import SAFE
from bot.chain.safe_batch import InnerCall
from bot.errors import InvariantError
from bot.model.signing import BOUGHT_TOKEN, CallRule, Path, Permission
from bot.model.units import iso_utc

ERC20 = Abi.load("ERC20")
STANDING_RAW = 2**127  # an allowance from here on is a standing one, which no order gives
_YEAR_3000_S = 32_503_680_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    symbol: str
    decimals: int

    def amount(self, raw: int) -> str:
        return f"{raw / 10**self.decimals:,.{min(self.decimals, 6)}f} {self.symbol}"


class Allowance(NamedTuple):
    """What a call lets somebody take; 0 takes an allowance back."""

    token: str  # lower case
    spender: str
    raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadCall:
    """One call, as a person may judge it."""

    to: str
    name: str  # of the function
    words: str
    is_allowed: bool  # a rule of a configured venue describes it
    gives: Allowance | None = None


def read_call(
    call: InnerCall,
    *,
    permissions: Sequence[Permission],
    tokens: Mapping[str, Token],
    labels: Mapping[str, str],
) -> ReadCall:
    """Return a call in words. ``tokens`` and ``labels`` are by lower-case address."""
    where = labels.get(call.to.lower(), call.to)
    coin = f" with {call.value_wei} wei" if call.value_wei else ""
    if call.data[:4] == ERC20.function("approve").selector:
        return _approval(call, where, tokens, labels, permissions)
    for rule in permissions:
        if isinstance(rule, CallRule) and rule.target == call.to.lower():
            values = _values(rule.function, call.data)
            if values is not None:
                words = "; ".join(_bounds(rule, values)) or rule.guard.value
                name = f"{rule.name} of {where}{coin}"
                return ReadCall(to=call.to, name=name, words=words, is_allowed=True)
    return _unknown(call, where, coin)


def _approval(
    call: InnerCall,
    where: str,
    tokens: Mapping[str, Token],
    labels: Mapping[str, str],
    permissions: Sequence[Permission],
) -> ReadCall:
    _, given = ERC20.decode_input(call.data)
    spender, raw = str(given["spender"]), int(given["value"])
    token = tokens.get(call.to.lower())
    amount = token.amount(raw) if token else f"{raw} units of {where}"
    to = labels.get(spender, spender)
    known = any(
        not isinstance(rule, CallRule)
        and rule.spender == spender
        and rule.token in (call.to.lower(), BOUGHT_TOKEN)
        for rule in permissions
    )
    return ReadCall(
        to=call.to,
        name=f"approve of {where}",
        words=f"{to} may take {amount}" if raw else f"{to} may take nothing any more",
        is_allowed=known and raw < STANDING_RAW and not call.value_wei,
        gives=Allowance(call.to.lower(), spender, raw),
    )


def _unknown(call: InnerCall, where: str, coin: str) -> ReadCall:
    """Name what the Safe does to itself, or to a token; anything else by its selector."""
    for abi in (SAFE, ERC20):
        try:
            signature, arguments = abi.decode_input(call.data)
        except InvariantError:
            continue
        said = ", ".join(f"{name}={_short(value)}" for name, value in arguments.items())
        name = f"{signature.partition('(')[0]} of {where}{coin}"
        return ReadCall(to=call.to, name=name, words=said, is_allowed=False)
    name = f"0x{call.data[:4].hex()} of {where}{coin}" if call.data else f"transfer to {where}{coin}"
    return ReadCall(to=call.to, name=name, words=f"{len(call.data)} bytes", is_allowed=False)


def _values(function: str, data: bytes) -> tuple[Any, ...] | None:
    if keccak(text=function)[:4] != data[:4]:
        return None
    found = parse(f"({function.partition('(')[2]}")
    parts = found.components if isinstance(found, TupleType) else ()
    return decode_or_none(tuple(part.to_type_str() for part in parts), data[4:], allow_empty=True)


def _bounds(rule: CallRule, values: tuple[Any, ...]) -> list[str]:
    said = []
    if rule.most is not None:
        said.append(f"pays at most {_at(values, rule.most)} raw")
    if rule.least is not None:
        said.append(f"brings at least {_at(values, rule.least)} raw")
    if rule.deadline is not None and _at(values, rule.deadline) < _YEAR_3000_S:
        said.append(f"until {iso_utc(_at(values, rule.deadline))}")
    return said


def _at(values: tuple[Any, ...], path: Path) -> int:
    found: Any = values
    for step in path:
        found = found[step]
    return int(found)


def _short(value: object) -> str:
    text = f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
