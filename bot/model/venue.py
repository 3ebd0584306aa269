"""What a place of business can do for a hedge, stated once by its adapter and shown to a person."""

from dataclasses import dataclass
from enum import StrEnum


class Product(StrEnum):
    """What is traded or held there."""

    PUT = "puts"
    CALL = "calls"
    PERPETUAL = "perpetuals"
    COVER = "cover"
    LOAN = "loans"
    LIQUIDITY = "liquidity"
    CUSTODY = "custody"


class Deed(StrEnum):
    """What the bot can do there."""

    QUOTE = "quote"
    BUY = "buy"
    SELL = "sell"  # an option held, before it expires
    SHORT = "short"  # a perpetual
    CLOSE = "close"  # a perpetual, or what has no sale of its own
    EXERCISE = "exercise"  # before expiry; where a venue offers it, nobody else does it for us
    SETTLE = "settle"  # after expiry
    CLAIM = "claim"  # a payout that must be asked for
    TOP_UP = "top up"
    REPAY = "repay"
    EXIT = "exit"  # withdraw a liquidity position, whole or in part
    PROPOSE = "propose"  # to the owners of a Safe


class Route(StrEnum):
    """How an order gets there."""

    ONCHAIN = "on chain"
    MESSAGES = "signed messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class VenueCapabilities:
    """What one venue can do. An adapter declares it as its class attribute ``capabilities``."""

    name: str  # key of the registry, "lyra"
    title: str  # for a person: "Lyra v1 (Avalon)"
    products: tuple[Product, ...]
    deeds: tuple[Deed, ...]
    route: Route = Route.ONCHAIN
    trait: str = ""  # what a person must know of it, one short sentence

    def __post_init__(self) -> None:
        if not self.products or not self.deeds:
            raise ValueError(f"{self.name} can do nothing: name its products and deeds")
