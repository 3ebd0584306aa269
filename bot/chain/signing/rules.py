"""What may be signed: stated when the signer starts, by its own configuration, and never changed after."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from eth_utils.address import is_hex_address

from bot.chain.fees import GWEI
from bot.chain.signer import MAINNETS, real_money_sentence
from bot.errors import ConfigError
from bot.model.signing import Permission
from bot.model.units import DAY_S

COIN = "0x" + "00" * 20  # stands for the chain's own coin among tokens
WINDOW_S = DAY_S  # of the rolling cap


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """Most of one token that purchases may take, of the coin with all gas, in its smallest unit."""

    transaction_raw: int
    day_raw: int  # in any 24 hours

    def __post_init__(self) -> None:
        if not 0 <= self.transaction_raw <= self.day_raw:
            raise ConfigError(
                f"a cap must have 0 <= per transaction <= per day, was {self.transaction_raw}, {self.day_raw}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRules:
    """What may be signed on one chain. Addresses are lower case.

    Where ``caps`` are stated a token without one is never spent; gas counts where the coin has one. ``safe``
    and ``multi_send`` are the Safe that the account is an owner of and its MultiSendCallOnly, both or none.
    """

    chain_id: int
    permissions: tuple[Permission, ...]
    gas_ceiling: int = 10_000_000
    max_fee_wei: int = 600 * GWEI  # per unit of gas, cancels included
    max_value_wei: int = 0  # of the chain's own coin, per transaction
    caps: Mapping[str, Cap] = field(default_factory=dict)  # by token; COIN for the chain's own
    safe: str = ""
    multi_send: str = ""
    accept_nonce: int = 0  # a person's word that the nonces below it are known to them
    most_skew_s: float = (
        math.inf
    )  # between chain time and the signer's clock; inf on a devnet, which warps time
    most_ahead_s: float = math.inf  # that a request may stay valid

    def __post_init__(self) -> None:
        if bool(self.safe) != bool(self.multi_send):
            raise ConfigError("a Safe needs its MultiSendCallOnly beside it, and the reverse")
        for address in (*filter(None, (self.safe, self.multi_send)), *self.caps):
            if not is_hex_address(address) or address != address.lower():
                raise ConfigError(f"a signing rule must name a lower-case address, was {address!r:.60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningRules:
    """What may be signed at all. Chains in MAINNETS need their sentence in ``real_money``.

    ``expires_s`` is when the owners' grant of the policy ends (R22): past it nothing that opens is signed.
    Raises ConfigError.
    """

    chains: tuple[ChainRules, ...]
    real_money: frozenset[str] = frozenset()
    policy_hash: str = ""
    expires_s: float = math.inf

    def __post_init__(self) -> None:
        ids = self.chain_ids
        if len(set(ids)) != len(ids):
            raise ConfigError(f"each chain has one set of signing rules, named were {ids}")
        for chain_id in sorted(MAINNETS.keys() & set(ids)):
            if real_money_sentence(chain_id) not in self.real_money:
                raise ConfigError(
                    f"chain {chain_id} ({MAINNETS[chain_id]}) holds real money and is refused unless the "
                    f"settings say {real_money_sentence(chain_id)!r}"
                )
            if not next(chain.caps for chain in self.chains if chain.chain_id == chain_id):
                raise ConfigError(
                    f"chain {chain_id} ({MAINNETS[chain_id]}) holds real money: state caps for every token "
                    "that is spent"
                )

    @property
    def chain_ids(self) -> list[int]:
        return [chain.chain_id for chain in self.chains]
