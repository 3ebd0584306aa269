"""Calldata against the rules of the venues: decoded whole, encoded again, every named argument checked.

A call passes when its target and selector have a rule, its bytes are the one canonical encoding of its
arguments (no rest, no dirty padding, no offsets that point elsewhere), and the arguments hold the bounds.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import ABITypeError, ParseError
from eth_abi.grammar import ABIType, BasicType, TupleType, parse
from eth_utils.address import is_hex_address
from eth_utils.crypto import keccak

from bot.chain.abi import decode_or_none
from bot.chain.words import decode_words, layout_of
from bot.errors import ConfigError, InvariantError, VenueRejected
from bot.model.signing import BOUGHT_TOKEN, ActionRule, ApprovalRule, CallRule, Guard, Path, Permission

APPROVE = keccak(text="approve(address,uint256)")[:4]
UNLIMITED = 2**127  # nothing that is bought here is worth more; larger approvals are standing ones
_WORD = 32
_BYTE = 255
_PACKED = ("bytes", "bytes[]")  # codes of actions, and the parameters of each
_ALIAS = re.compile(r"[(,](u?int|byte|u?fixed)[\[,)]")  # short names, which no selector is made of
# Calls that give something away by themselves: an allowance has its own rule, the others have none.
_NEVER = ("approve", "increaseAllowance", "permit", "setApprovalForAll", "transfer", "transferFrom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """An allowance that a checked call gives; 0 takes it back."""

    token: str
    spender: str
    amount_raw: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a checked call does, as far as pauses and caps care."""

    opens: bool
    approval: Approval | None = None
    spends_raw: int = 0  # of the approval's token
    buys: str = ""  # the token that it brings, where its rule leaves that to the chain; lower case


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a call is judged against."""

    recipients: frozenset[str]  # who may receive: the account, its Safe; lower case
    now_s: float
    valid_until_s: float
    allowance: Callable[[str], int]  # amount of the last approval that was signed for a spender
    bought: Callable[[str], bool] = lambda _token: False  # whether a signed call bought a token


class CallBook:
    """The permissions of one chain, ready to judge calls. Raises ConfigError for a senseless rule."""

    def __init__(self, permissions: Iterable[Permission], *, own: frozenset[str]) -> None:
        """``own`` are the account and its Safe: no rule may name them as a target."""
        self._calls: dict[tuple[str, bytes], list[_Compiled]] = {}
        self._opens: dict[tuple[str, str], bool] = {}
        self._spends: set[tuple[str, str]] = set()
        self._tokens: set[str] = set()
        self._sellers: set[str] = set()  # spenders that a token which was bought may be sold through
        for rule in permissions:
            if isinstance(rule, ApprovalRule):
                self._add_approval(rule, own)
            else:
                compiled = _Compiled(rule, own)
                self._calls.setdefault((rule.target, compiled.selector), []).append(compiled)

    def check(self, to: str, data: bytes, bounds: Bounds) -> Effect:
        """Return what a call does. ``to`` is lower case.

        Raises VenueRejected where time refuses, InvariantError for what should never have been asked.
        """
        selector = data[:4]
        if selector == APPROVE and (to in self._tokens or self._sellers):
            return self._approval(to, data, bounds)
        rules = self._calls.get((to, selector))
        if not rules:
            raise InvariantError(f"call 0x{selector.hex()} of {to} is not on the signer's allow-list")
        refusal: InvariantError | None = None
        for rule in rules:
            try:
                buys = rule.check(data, bounds)
            except InvariantError as error:  # another rule of the same function may fit
                refusal = refusal or error
            else:
                return Effect(opens=rule.opens, buys=buys)
        raise refusal or InvariantError("no rule")

    def _add_approval(self, rule: ApprovalRule, own: frozenset[str]) -> None:
        _require_address(rule.spender, own)
        if rule.token == BOUGHT_TOKEN:
            if rule.opens:
                raise ConfigError(
                    f"a signing rule must name the token that a purchase pays {rule.spender} in"
                )
            self._sellers.add(rule.spender)
            return
        _require_address(rule.token, own)
        pair = (rule.token, rule.spender)
        # Both a purchase and a sale may need a pair: it is spend, and it is possible while paused.
        self._opens[pair] = self._opens.get(pair, True) and rule.opens
        if rule.opens:
            self._spends.add(pair)
        self._tokens.add(rule.token)

    def _approval(self, token: str, data: bytes, bounds: Bounds) -> Effect:
        if len(data) != 68 or any(data[4:16]):
            raise InvariantError("an approval must be exactly an address and an amount")
        spender, amount = "0x" + data[16:36].hex(), int.from_bytes(data[36:], "big")
        found = Approval(token=token, spender=spender, amount_raw=amount)
        is_unnamed = token not in self._tokens and spender in self._sellers
        if amount == 0 and (token in self._tokens or is_unnamed):
            return Effect(opens=False, approval=found)
        pair = (token, spender)
        if is_unnamed and not bounds.bought(token):
            raise InvariantError(
                f"token {token} may not be sold through {spender}: the signer signed no purchase of it"
            )
        if pair not in self._opens and not is_unnamed:
            raise InvariantError(f"spender {spender} of token {token} is not on the signer's allow-list")
        if amount >= UNLIMITED:
            raise InvariantError("an unlimited approval is never signed; approve the exact amount")
        return Effect(
            opens=self._opens.get(pair, False),
            approval=found,
            spends_raw=amount if pair in self._spends else 0,
        )


class _Compiled:
    """One CallRule with its selector and decoder."""

    def __init__(self, rule: CallRule, own: frozenset[str]) -> None:
        self._rule = rule
        self.opens = rule.opens
        _require_address(rule.target, own)
        self._types = _types(rule.function)
        self.selector = keccak(text=rule.function)[:4]
        self._layout = None if "[]" in rule.function else layout_of(self._types)
        self._check_rule()

    def check(self, data: bytes, bounds: Bounds) -> str:
        """Return the token that it buys, "" where its rule names none."""
        values = self._decoded(data[4:])
        if values is None:
            raise InvariantError(f"calldata is not the canonical encoding of {self._rule.function}")
        _check_recipients(self._rule, self._rule.name, values, bounds)
        _check_returns(self._rule, self._rule.name, values)
        self._check_amounts(values, bounds)
        self._check_deadline(values, bounds)
        self._check_actions(values, bounds)
        buys = self._rule.buys
        return "" if buys is None else str(_at(values, buys, self._rule.name)).lower()

    def _decoded(self, body: bytes) -> tuple[Any, ...] | None:
        if self._layout is not None:  # words of fixed places: strict values and an exact length are canonical
            exact = len(body) == _WORD * self._layout.words
            return decode_words(self._layout, body) if exact else None
        return _canonical(self._types, body)

    def _check_amounts(self, values: tuple[Any, ...], bounds: Bounds) -> None:
        rule = self._rule
        if rule.most is not None and not 0 < (most := _at(values, rule.most, rule.name)) < UNLIMITED:
            raise InvariantError(f"{rule.name} must bound what is paid by 1 to 2**127 - 1, was {most}")
        for path, wanted in rule.equals:
            found = _at(values, path, rule.name)
            if (found.lower() if isinstance(found, str) else found) != wanted:
                raise InvariantError(f"{rule.name} must have {wanted} as argument {path}, was {found}")
        for path in rule.single:
            if (count := len(_at(values, path, rule.name))) != 1:
                raise InvariantError(f"{rule.name} must hold one item in argument {path}, held {count}")
        if rule.guard is Guard.ALLOWANCE and not 0 < bounds.allowance(rule.target) < UNLIMITED:
            raise InvariantError(
                f"{rule.name} is bounded by an exact allowance alone, and the last one signed for "
                f"{rule.target} is {bounds.allowance(rule.target)}"
            )

    def _check_deadline(self, values: tuple[Any, ...], bounds: Bounds) -> None:
        if self._rule.deadline is None:
            return
        found = _at(values, self._rule.deadline, self._rule.name)
        if found > bounds.valid_until_s:
            raise InvariantError(
                f"{self._rule.name} names deadline {found}, after its valid-until {bounds.valid_until_s:.0f}"
            )
        if not found > bounds.now_s:
            raise VenueRejected(
                f"{self._rule.name} had until {found}, the chain is at {bounds.now_s:.0f}: "
                "ask for a new quote"
            )

    def _check_actions(self, values: tuple[Any, ...], bounds: Bounds) -> None:
        """Judge every packed action: exactly those of the rule, in their order, each as a call is."""
        rule = self._rule
        if rule.packed is None:
            return
        unpacked = _canonical(_PACKED, _at(values, rule.packed, rule.name))
        if unpacked is None:
            raise InvariantError(f"{rule.name} holds no canonical encoding of actions")
        codes, parameters = unpacked
        wanted = bytes(action.code for action in rule.actions)
        if codes != wanted or len(parameters) != len(wanted):
            raise InvariantError(
                f"{rule.name} holds actions 0x{codes.hex()} with {len(parameters)} parameters, allowed are "
                f"exactly 0x{wanted.hex()}"
            )
        for action, body in zip(rule.actions, parameters, strict=True):
            name = f"{rule.name} action 0x{action.code:02x}"
            arguments = _canonical(action.arguments, body)
            if arguments is None:
                raise InvariantError(
                    f"{name} is not the canonical encoding of ({','.join(action.arguments)})"
                )
            _check_recipients(action, name, arguments, bounds)
            _check_returns(action, name, arguments)

    def _check_rule(self) -> None:
        """Refuse a rule that could never guard anything."""
        rule = self._rule
        if rule.name in _NEVER:
            raise ConfigError(
                f"a signing rule must not allow {rule.function}; an allowance is an ApprovalRule"
            )
        bounds = (rule.most, rule.least, *(action.least for action in rule.actions))
        if rule.guard is Guard.BOUND and all(path is None for path in bounds):
            raise ConfigError(f"signing rule {rule.function} is guarded by a bound and names none")
        self._require(self._types, rule.recipients, "address")
        self._require(
            self._types,
            (rule.most, rule.least, rule.deadline, *_paths(rule, int)),
            "uint",
            "int",
        )
        self._require(self._types, (rule.buys, *_paths(rule, str)), "address")
        self._check_action_rules()

    def _check_action_rules(self) -> None:
        """Refuse packed bytes without rules for what is in them, and rules of actions that nothing holds."""
        rule = self._rule
        if (rule.packed is None) is not (not rule.actions):
            raise ConfigError(f"signing rule {rule.function} needs packed and actions together")
        self._require(self._types, (rule.packed,), "bytes")
        for action in rule.actions:
            if not 0 <= action.code <= _BYTE:
                raise ConfigError(f"signing rule {rule.function}: {action.code} is no code of an action")
            if action.arguments != _types(f"{rule.name}({','.join(action.arguments)})"):
                raise ConfigError(f"signing rule {rule.function}: {action.arguments} are no types")
            self._require(action.arguments, action.recipients, "address")
            self._require(action.arguments, (action.least,), "uint", "int")

    def _require(self, types: tuple[str, ...], paths: Iterable[Path | None], *bases: str) -> None:
        """Refuse a path that leads to no single value of one of these kinds."""
        for path in filter(None, paths):
            found: ABIType | None = parse(f"({','.join(types)})")
            for step in path:
                found = _part(found, step)
            if not isinstance(found, BasicType) or found.base not in bases or found.is_array:
                number = ".".join(map(str, path))
                raise ConfigError(f"signing rule {self._rule.function}: argument {number} is no {bases[0]}")


def _paths(rule: CallRule, kind: type) -> Iterator[Path]:
    """Return the arguments that must equal a value of one kind."""
    return (path for path, wanted in rule.equals if isinstance(wanted, kind))


def _canonical(types: tuple[str, ...], body: bytes) -> tuple[Any, ...] | None:
    """Return the values of bytes that are the one encoding of them, else None."""
    values = decode_or_none(types, body, allow_empty=True)
    return None if values is None or encode(types, values) != body else values


def _check_recipients(
    rule: CallRule | ActionRule, name: str, values: tuple[Any, ...], bounds: Bounds
) -> None:
    for path in rule.recipients:
        found = str(_at(values, path, name)).lower()
        if found not in bounds.recipients:
            raise InvariantError(
                f"{name} would pay {found}, allowed is only {' or '.join(sorted(bounds.recipients))}"
            )


def _check_returns(rule: CallRule | ActionRule, name: str, values: tuple[Any, ...]) -> None:
    if rule.least is not None and not (least := _at(values, rule.least, name)) > 0:
        raise InvariantError(f"{name} must ask for at least 1 in return, was {least}")
    for path in rule.zeros:
        found = _at(values, path, name)
        if any(found) if isinstance(found, tuple) else found:
            raise InvariantError(f"{name} must have 0 as argument {path}, was {found}")


def _types(function: str) -> tuple[str, ...]:
    name, _, inside = function.partition("(")
    try:
        found = parse(f"({inside}")
        found.validate()
    except (ParseError, ABITypeError, ValueError):
        raise ConfigError(f"{function!r:.120} is not the signature of a function") from None
    components: tuple[ABIType, ...] = found.components if isinstance(found, TupleType) else ()
    types = tuple(map(_name, components))
    if not name.isidentifier() or function != f"{name}({','.join(types)})" or _ALIAS.search(function):
        raise ConfigError(f"{function!r:.120} is not the canonical signature of a function")
    return types


def _name(kind: ABIType) -> str:
    return str(kind.to_type_str())  # type: ignore[no-untyped-call]


def _part(kind: ABIType | None, step: int) -> ABIType | None:
    if kind is None:
        return None
    if kind.is_array:
        item: ABIType = kind.item_type
        return item
    components: tuple[ABIType, ...] = kind.components if isinstance(kind, TupleType) else ()
    return components[step] if 0 <= step < len(components) else None


def _at(values: Any, path: Path, name: str) -> Any:
    for step in path:
        try:
            values = values[step]
        except IndexError:
            raise InvariantError(f"{name} lacks argument {'.'.join(map(str, path))}") from None
    return values


def _require_address(address: str, own: frozenset[str]) -> None:
    if not is_hex_address(address) or not address.startswith("0x") or address != address.lower():
        raise ConfigError(f"a signing rule must name a lower-case address, was {address!r:.60}")
    if address in own:
        raise ConfigError(f"a signing rule must not name the account or its Safe, {address}, as a target")
