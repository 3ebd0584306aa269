"""Signed actions of the Derive exchange (v3): their EIP-712 digest, and what a session key may sign of them.

An action moves money without a transaction: whoever holds its signature may execute it until it expires. So
the process that holds the key builds the digest itself, from fields that it has checked, and signs no hash
that it is given. The domain follows from the chain id, so no wrong constant makes it sign for mainnet
(EIP-712 domain "Matching" "1.0"; encoding as in docs.derive.xyz, "Action signing", read 2026-11).

Amounts are integers of 1e-18. The exchange keeps 12 decimals and refuses words that carry more.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from bot.chain.address import checksummed
from bot.chain.signer import MAINNETS, real_money_sentence
from bot.errors import ConfigError, InvariantError, VenueRejected

ACTION_KIND = "derive_action"  # requests to the signer's process
LOGIN_KIND = "derive_login"
E18 = 10**18
PRECISION = 10**6  # e18 words are whole multiples of it: 12 decimals
NANO = 10**9
NONCE_WINDOW_S = 240.0  # the exchange takes nonces within 300 s of its clock; ours may be a minute off
ACTION_TYPE = (
    "Action(uint256 subaccountId,uint256 nonce,address module,bytes data,uint256 expiry,address owner,"
    "address signer)"
)
ACTION_TYPEHASH = keccak(text=ACTION_TYPE)
_DOMAIN_TYPEHASH = keccak(
    text="EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
_MOST = 2**127  # nothing that is traded here is worth more


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveDomain:
    """Where an action is valid. One per network; the modules say what kind of action it is."""

    chain_id: int
    matching: str  # the verifying contract of the domain
    trade_module: str
    rfq_module: str

    @property
    def separator(self) -> bytes:
        return _separator(self.chain_id, self.matching)


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeData:
    """An order on the book."""

    asset: str
    sub_id: int
    limit_price_e18: int  # a contract
    amount_e18: int  # contracts
    max_fee_e18: int  # a contract
    recipient_id: int  # subaccount that the option goes to
    is_bid: bool

    @property
    def worst_usd_e18(self) -> int:
        """Most that a buy may take, fees included; of a sale, only the fees."""
        price = self.limit_price_e18 if self.is_bid else 0
        return _up(self.amount_e18 * (price + self.max_fee_e18))

    @property
    def fee_e18(self) -> int:
        return _up(self.amount_e18 * self.max_fee_e18)

    @property
    def notional_e18(self) -> int:
        return _up(self.amount_e18 * self.limit_price_e18)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteData:
    """Taking a maker's quote on one option, which settles whole and at once or not at all."""

    asset: str
    sub_id: int
    price_e18: int  # a contract
    amount_e18: int  # contracts
    max_fee_e18: int  # of the whole trade
    is_bid: bool  # we buy

    @property
    def worst_usd_e18(self) -> int:
        return self.max_fee_e18 + (self.notional_e18 if self.is_bid else 0)

    @property
    def fee_e18(self) -> int:
        return self.max_fee_e18

    @property
    def notional_e18(self) -> int:
        return _up(self.amount_e18 * self.price_e18)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveAction:
    """One action, complete but for its signature."""

    subaccount_id: int
    nonce: int  # nanoseconds since the epoch
    expiry_s: int
    owner: str  # of the subaccount
    signer: str  # the session key
    data: TradeData | QuoteData


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAction:
    action: DeriveAction
    digest: str  # 0x hex
    signature: str  # 0x hex, 65 bytes, v 27 or 28


@dataclass(frozen=True, slots=True, kw_only=True)
class DeriveActionRule:
    """What one session key may sign. Raises ConfigError for real money without its sentence."""

    domain: DeriveDomain
    owner: str
    session_key: str
    subaccount_id: int
    assets: frozenset[str]  # option contracts that may be traded, e.g. that of ETH
    max_order_usd: float  # most that one action may take, fees included
    max_notional_usd: float  # price times contracts of one sale
    max_fee_usd: float  # fees of one action
    max_day_usd: float  # purchases, fees included, in any 24 hours
    max_uncovered_contracts: float  # sold in any 24 hours beyond those whose purchase was signed
    min_price_usd: float = 0.1  # of a contract, bought or sold
    max_life_s: float = 900.0  # from signing to expiry
    real_money: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        chain_id = self.domain.chain_id
        if chain_id in MAINNETS and real_money_sentence(chain_id) not in self.real_money:
            raise ConfigError(
                f"Derive on chain {chain_id} ({MAINNETS[chain_id]}) holds real money and is refused "
                f"unless the settings say {real_money_sentence(chain_id)!r}"
            )
        if self.owner.lower() == self.session_key.lower():
            raise ConfigError(
                "the Derive session key is the owner's own key, which could also withdraw; register a "
                "session key with the scope of trading only"
            )
        for name in (
            "max_order_usd", "max_notional_usd", "max_fee_usd", "max_day_usd", "max_life_s", "min_price_usd",
        ):  # fmt: skip
            if not 0.0 < getattr(self, name) < _MOST / E18:
                raise ConfigError(f"derive {name} must be > 0 and finite, was {getattr(self, name)}")
        if not 0.0 <= self.max_uncovered_contracts < _MOST / E18:
            raise ConfigError(
                f"derive max_uncovered_contracts must be >= 0 and finite, was {self.max_uncovered_contracts}"
            )
        object.__setattr__(self, "assets", frozenset(checksummed(asset) for asset in self.assets))


def digest_of(action: DeriveAction, domain: DeriveDomain) -> bytes:
    """Return the 32 bytes that are signed."""
    return keccak(preimage_of(action, domain))


def preimage_of(action: DeriveAction, domain: DeriveDomain) -> bytes:
    """Return what the signed digest is the Keccak-256 of."""
    module = domain.trade_module if isinstance(action.data, TradeData) else domain.rfq_module
    hashed = keccak(
        encode(
            ("bytes32", "uint256", "uint256", "address", "bytes32", "uint256", "address", "address"),
            (
                ACTION_TYPEHASH,
                action.subaccount_id,
                action.nonce,
                module,
                keccak(data_bytes(action.data)),
                action.expiry_s,
                action.owner,
                action.signer,
            ),
        )
    )
    return b"\x19\x01" + domain.separator + hashed


def login_preimage(timestamp_ms: int) -> bytes:
    """Return what a login's signature is over (EIP-191 of the time as text): it can be no action."""
    text = str(timestamp_ms).encode()
    return b"\x19Ethereum Signed Message:\n%d%b" % (len(text), text)


def data_bytes(data: TradeData | QuoteData) -> bytes:
    """Return the module's own part of an action, ABI encoded."""
    if isinstance(data, TradeData):
        return encode(
            ("address", "uint256", "int256", "int256", "uint256", "uint256", "bool"),
            (
                data.asset,
                data.sub_id,
                data.limit_price_e18,
                data.amount_e18,
                data.max_fee_e18,
                data.recipient_id,
                data.is_bid,
            ),
        )
    # The legs are hashed as the maker signed them: what we buy, he sells.
    amount = -data.amount_e18 if data.is_bid else data.amount_e18
    legs = encode(
        ("(address,uint256,uint256,int256)[]",), ([(data.asset, data.sub_id, data.price_e18, amount)],)
    )
    return encode(("bytes32", "uint256"), (keccak(legs), data.max_fee_e18))


def check_action(action: DeriveAction, rule: DeriveActionRule, *, now_s: float, paused: str = "") -> None:
    """Refuse an action that the rule does not allow. ``now_s`` is the wall clock of the signing process.

    ``paused`` says why nothing that opens is signed. That a sale only reduces is a flag of the request, which
    is not signed: the signer holds it to its notional, its price and, by its memory, to what was bought.
    Raises VenueRejected where a cap, time or a pause refuses, InvariantError for what should never have been
    asked.
    """
    data = action.data
    _check_parties(action, rule)
    for name, value in (("price", _price(data)), ("amount", data.amount_e18)):
        if not 0 < value < _MOST:
            raise InvariantError(f"a Derive action's {name} must be > 0 and under 2**127, was {value}")
    if not 0 <= data.max_fee_e18 < _MOST or not 0 <= data.sub_id < 2**96:
        raise InvariantError(f"Derive fee {data.max_fee_e18} or sub-id {data.sub_id} is out of range")
    if _price(data) % PRECISION or data.amount_e18 % PRECISION or data.max_fee_e18 % PRECISION:
        raise InvariantError("a Derive action carries more than 12 decimals, which the exchange refuses")
    _check_price(data, rule)
    _check_money(data, rule)
    _check_time(action, rule, now_s)
    if paused and data.is_bid:
        raise VenueRejected(f"nothing that opens is signed: {paused}")


def _check_parties(action: DeriveAction, rule: DeriveActionRule) -> None:
    data = action.data
    for name, found, allowed in (
        ("owner", action.owner.lower(), rule.owner.lower()),
        ("signer", action.signer.lower(), rule.session_key.lower()),
        ("subaccount", action.subaccount_id, rule.subaccount_id),
        ("recipient", getattr(data, "recipient_id", rule.subaccount_id), rule.subaccount_id),
    ):
        if found != allowed:
            raise InvariantError(f"{name} {found} of a Derive action is not {allowed}, the one allowed")
    if checksummed(data.asset) not in rule.assets:
        raise InvariantError(f"asset {data.asset} of a Derive action is not on the signer's allow-list")


def _check_price(data: TradeData | QuoteData, rule: DeriveActionRule) -> None:
    """A bid for next to nothing would make contracts out of no money, for sales to be covered by."""
    if _price(data) < int(rule.min_price_usd * E18):
        raise VenueRejected(
            f"price of a Derive action is {_price(data) / E18:g} USD, the signer allows "
            f"{rule.min_price_usd:g} or more (derive.account.min_price_usd)"
        )


def _check_money(data: TradeData | QuoteData, rule: DeriveActionRule) -> None:
    for name, found, most_usd in (
        ("cost", data.worst_usd_e18, rule.max_order_usd),
        ("fee", data.fee_e18, rule.max_fee_usd),
        ("notional", 0 if data.is_bid else data.notional_e18, rule.max_notional_usd),
    ):
        if found > int(most_usd * E18):
            raise VenueRejected(
                f"{name} of a Derive action may reach {found / E18:,.2f} USD, "
                f"the signer allows {most_usd:,.2f}"
            )


def _check_time(action: DeriveAction, rule: DeriveActionRule, now_s: float) -> None:
    off_s = action.nonce / NANO - now_s
    if not abs(off_s) <= NONCE_WINDOW_S:
        raise VenueRejected(
            f"nonce {action.nonce} lies {off_s:,.0f} s from the signer's clock, "
            f"at most {NONCE_WINDOW_S:.0f} is allowed: it must be the time in nanoseconds"
        )
    left_s = action.expiry_s - now_s
    if not 0.0 < left_s <= rule.max_life_s:
        raise VenueRejected(
            f"a Derive action would expire in {left_s:,.0f} s, "
            f"allowed is 0 to {rule.max_life_s:,.0f}: ask anew"
        )


def action_fields(action: DeriveAction) -> dict[str, Any]:
    """Return an action as JSON for the signer's socket; integers as text, since doubles cut nanoseconds."""
    data = action.data
    fields = {name: _plain(getattr(data, name)) for name in type(data).__slots__}
    return {
        "kind": "trade" if isinstance(data, TradeData) else "quote",
        "subaccount_id": str(action.subaccount_id),
        "nonce": str(action.nonce),
        "expiry_s": str(action.expiry_s),
        "owner": action.owner,
        "signer": action.signer,
        "data": fields,
    }


def action_from_fields(fields: Any) -> DeriveAction:
    """Read an action that came over the socket. Raises InvariantError for anything that is not one."""
    if not isinstance(fields, dict):
        raise InvariantError("the signer was asked for no Derive action: it is no object")
    kinds: Mapping[str, type[TradeData] | type[QuoteData]] = {"trade": TradeData, "quote": QuoteData}
    shape = kinds.get(str(fields.get("kind")))
    given = fields.get("data")
    if shape is None or not isinstance(given, dict) or given.keys() != set(shape.__slots__):
        raise InvariantError("the signer was asked for no Derive action: kind or data do not fit")
    if fields.keys() != {"kind", "data", "subaccount_id", "nonce", "expiry_s", "owner", "signer"}:
        raise InvariantError("the signer was asked for no Derive action: its fields do not fit")
    data = shape(**{name: _typed(name, value) for name, value in given.items()})
    return DeriveAction(
        data=data,
        subaccount_id=_integer("subaccount_id", fields["subaccount_id"]),
        nonce=_integer("nonce", fields["nonce"]),
        expiry_s=_integer("expiry_s", fields["expiry_s"]),
        owner=_address("owner", fields["owner"]),
        signer=_address("signer", fields["signer"]),
    )


@cache
def _separator(chain_id: int, matching: str) -> bytes:
    words = (_DOMAIN_TYPEHASH, keccak(text="Matching"), keccak(text="1.0"), chain_id, matching)
    return keccak(encode(("bytes32", "bytes32", "bytes32", "uint256", "address"), words))


def _price(data: TradeData | QuoteData) -> int:
    return data.limit_price_e18 if isinstance(data, TradeData) else data.price_e18


def _plain(value: int | str | bool) -> str | bool:
    return value if isinstance(value, bool | str) else str(value)


def _typed(name: str, value: Any) -> Any:
    if name == "is_bid":
        if not isinstance(value, bool):
            raise InvariantError(f"is_bid of a Derive action must be true or false, was {value!r:.40}")
        return value
    return _address(name, value) if name == "asset" else _integer(name, value)


def _integer(name: str, value: Any) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdecimal() or len(value) > 78:
        raise InvariantError(f"{name} of a Derive action must be an integer as text, was {value!r:.40}")
    return int(value)


def _address(name: str, value: Any) -> str:
    try:
        return checksummed(value)
    except (ValueError, TypeError, AttributeError):
        raise InvariantError(f"{name} of a Derive action must be an address, was {value!r:.60}") from None


def _up(product_e36: int) -> int:
    return -(-product_e36 // E18)
