"""What every venue can do, next to VENUES: one entry each. Adapters take theirs as ``capabilities``.

Facts of the protocols, not of a market: whether a venue has liquidity now, its quotes say.
"""

from collections.abc import Mapping

from bot.model.venue import Deed, Product, Route, VenueCapabilities

_OPTIONS = (Product.PUT, Product.CALL)
_ALL = (
    VenueCapabilities(
        name="lyra",
        title="Lyra v1 (Avalon)",
        products=_OPTIONS,
        deeds=(Deed.QUOTE, Deed.BUY, Deed.SELL, Deed.SETTLE),
        trait="European, cash; no trade in the last 12 hours.",
    ),
    VenueCapabilities(
        name="opyn",
        title="Opyn Gamma",
        products=_OPTIONS,
        deeds=(Deed.QUOTE, Deed.BUY, Deed.SELL, Deed.SETTLE),
        trait="European; oTokens trade on Uniswap v3; redeemed after a dispute period.",
    ),
    VenueCapabilities(
        name="hegic",
        title="Hegic Herge",
        products=_OPTIONS,
        deeds=(Deed.QUOTE, Deed.BUY, Deed.EXERCISE),
        trait="American; strike set at the fill; dies unless exercised before expiry.",
    ),
    VenueCapabilities(
        name="panoptic",
        title="Panoptic v2",
        products=(Product.PUT,),
        deeds=(Deed.QUOTE, Deed.BUY, Deed.SELL),
        trait="Perpetual options on Uniswap ranges; premium streams; collateral needed.",
    ),
    VenueCapabilities(
        name="derive",
        title="Derive v3",
        products=_OPTIONS,
        deeds=(Deed.QUOTE, Deed.BUY, Deed.SELL),
        route=Route.MESSAGES,
        trait="Order book off the chain; settles in cash by itself.",
    ),
    VenueCapabilities(
        name="perp_v2",
        title="Perp v2 (curie)",
        products=(Product.PERPETUAL,),
        deeds=(Deed.QUOTE, Deed.SHORT, Deed.CLOSE),
        trait="Funding on chain; margin can be liquidated.",
    ),
    VenueCapabilities(
        name="nexus",
        title="Nexus Mutual",
        products=(Product.COVER,),
        deeds=(Deed.QUOTE, Deed.BUY, Deed.CLAIM),
        trait="Covers a protocol's failure, never a fall of the price.",
    ),
    VenueCapabilities(
        name="aave_v3",
        title="Aave v3",
        products=(Product.LOAN,),
        deeds=(Deed.TOP_UP, Deed.REPAY),
        trait="Keeps a loan of the position alive (R20, R21).",
    ),
    VenueCapabilities(
        name="uniswap",
        title="Uniswap v2, v3, v4",
        products=(Product.LIQUIDITY,),
        deeds=(Deed.EXIT,),
        trait="Takes liquidity out, whole or in part, with least amounts (R29).",
    ),
    VenueCapabilities(
        name="safe",
        title="Safe 1.4.1",
        products=(Product.CUSTODY,),
        deeds=(Deed.PROPOSE,),
        trait="Holds money and positions; its owners sign what the bot proposes.",
    ),
)
CAPABILITIES: Mapping[str, VenueCapabilities] = {item.name: item for item in _ALL}
