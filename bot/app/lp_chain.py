"""Where the LP monitor looks on a chain, from a configuration or from the known deployments alone.

A token counts as 1 USD only where its address is vouched for as a stable: by the configuration, which prices
an underlying in it, or by the known deployments. A symbol is never enough.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from bot.app.parts import pools
from bot.chain.reader import MULTICALL3
from bot.deployments import Contract, known
from bot.model.lp_position import LpPosition
from bot.model.market import Block
from bot.ports import ChainReader
from bot.settings import ChainSettings, Settings
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.positions.finder import LpContracts, V4Contracts
from bot.watchers.positions.tokens import NATIVE, KnownTokens

STABLES = ("USDC", "USDT", "DAI", "USDC.e")  # of the known tokens, those that stand for 1 USD
WRAPPED = {"WETH": "ETH", "WBTC": "BTC"}  # of the known tokens, those that a feed of another name prices
PAR = "counts as 1 USD"
COINS = {137: "POL", 43114: "AVAX", 1088: "METIS"}  # chains whose own coin is not ETH


@dataclass(frozen=True, slots=True, kw_only=True)
class LpChain:
    """One chain to watch: how to reach it and what is known of it."""

    url: str = field(repr=False)  # may carry a key
    chain_id: int | None = None  # None: whatever chain the node is on
    poll_s: float = 2.0
    timeout_s: float = 10.0
    settings: Settings | None = None
    v3_manager: str | None = None  # in place of what is known
    v4: V4Contracts | None = None

    @property
    def multicall3(self) -> str:
        settings = self.settings
        if settings is not None:
            return next(item.multicall3 for item in settings.all_chains if item.id == self.chain_id)
        return MULTICALL3


def configured_chains(settings: Settings) -> tuple[LpChain, ...]:
    return tuple(_configured(settings, item) for item in settings.all_chains)


def _configured(settings: Settings, item: ChainSettings) -> LpChain:
    return LpChain(
        url=item.urls[0],
        chain_id=item.id,
        poll_s=item.poll_s,
        timeout_s=item.timeout_s,
        settings=settings,
    )


def chain_name(chain_id: int) -> str:
    return known(chain_id).chain


def contracts_of(chain_id: int, plan: LpChain) -> LpContracts:
    """Return the contracts of a chain: those that are named, configured, or known, in this order."""
    deployed, settings = known(chain_id).contracts, plan.settings
    manager = _address(deployed.get("uniswap_v3.position_manager"))
    v4_manager = _address(deployed.get("uniswap_v4.position_manager"))
    view = _address(deployed.get("uniswap_v4.state_view"))
    found = []
    if settings is not None:
        own = [item for item in settings.pools if settings.chain_of(item) == chain_id]
        labels = {item.label: item.kind for item in own}
        found = [pool for label, pool in pools(settings).items() if label in labels]
        if settings.managers is not None and chain_id == settings.chain.id:
            manager = settings.managers.v3_position_manager
            if settings.managers.v4_position_manager is not None:
                v4_manager, view = settings.managers.v4_position_manager, settings.managers.v4_state_view
    own_v4 = V4Contracts(position_manager=v4_manager, state_view=view) if v4_manager else None
    return LpContracts(
        v3_manager=plan.v3_manager or manager,
        v4=plan.v4 or own_v4,
        pools=tuple(pool for pool in found if pool.label.startswith("v3:")),
        pairs=tuple(pool for pool in found if pool.label.startswith("v2:")),
        factories={
            item.address.lower(): name.removesuffix(".factory").replace("_", "-")
            for name, item in deployed.items()
            if item.kind == "uniswap_v2_factory"
        },
    )


def blind_spot(contracts: LpContracts, chain_id: int) -> str:
    """Return why a wallet's NFTs can be found nowhere on a chain; "" where they can."""
    if contracts.v3_manager is not None or contracts.v4 is not None:
        return ""
    return (
        f"no position manager is known on chain {chain_id}, so no v3 or v4 position is found: name one with "
        "--v3-manager or --v4-manager, or under [managers] in a configuration"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UsdPrices:
    """What prices tokens in USD on one chain: feeds by token address, and stables at par."""

    tokens: KnownTokens
    feeds: dict[str, ChainlinkWatcher]

    async def read(self, chain: ChainReader, *, block: Block) -> dict[str, tuple[float, str]]:
        """Return (USD, where from) by token address; NaN with the reason where a feed fails."""
        found = {address: (1.0, PAR) for address in self.tokens.stables}
        read: dict[str, tuple[float, str]] = {}  # each feed once
        for address, feed in self.feeds.items():
            if feed.address not in read:
                (item,) = await feed.read(chain, block=block, read_at_s=float(block.timestamp_s))
                read[feed.address] = (item.value, item.why_unknown or f"priced by the feed {feed.label}")
            found[address] = read[feed.address]
        return found


def priced(position: LpPosition, prices: dict[str, tuple[float, str]]) -> tuple[float, str]:
    """Return (USD per quote token, where from): by the quote's own price, else by the base's."""
    quote = prices.get(position.quote.address.lower())
    if quote is not None and math.isfinite(quote[0]):
        return quote[0], f"{position.quote.symbol} counts as 1 USD" if quote[1] == PAR else quote[1]
    base = prices.get(position.base.address.lower())
    if base is not None and math.isfinite(base[0]) and base[1] != PAR:
        return base[0] / position.spot, base[1]
    failed = next((item[1] for item in (quote, base) if item is not None), "")
    names = f"{position.quote.symbol} {position.quote.address}"
    return math.nan, failed or f"no price is known for {names}"


def usd_prices(chain_id: int, settings: Settings | None) -> UsdPrices:
    """Return what the configuration and the known deployments vouch for on a chain."""
    symbols: dict[str, str] = {}
    stables: set[str] = set()
    feeds = dict(_known_feeds(chain_id, symbols, stables))
    if settings is not None:
        feeds |= dict(_configured_feeds(chain_id, settings, symbols, stables))
    coin = COINS.get(chain_id, "ETH")
    return UsdPrices(
        tokens=KnownTokens(symbols=symbols, stables=frozenset(stables), priced=frozenset(feeds), coin=coin),
        feeds=feeds,
    )


def _known_feeds(
    chain_id: int, symbols: dict[str, str], stables: set[str]
) -> Iterator[tuple[str, ChainlinkWatcher]]:
    deployed = known(chain_id).contracts
    tokens = [item for item in deployed.values() if item.kind == "token"]
    for token in tokens:
        at = token.address.lower()
        symbols[at] = token.symbol
        if token.symbol in STABLES:
            stables.add(at)
        feed = deployed.get(f"chainlink.{WRAPPED.get(token.symbol, token.symbol)}/USD")
        if feed is not None:
            yield at, _feed(feed)
    coin = deployed.get(f"chainlink.{COINS.get(chain_id, 'ETH')}/USD")
    if coin is not None:
        yield NATIVE, _feed(coin)


def _configured_feeds(
    chain_id: int, settings: Settings, symbols: dict[str, str], stables: set[str]
) -> Iterator[tuple[str, ChainlinkWatcher]]:
    feeds = {item.underlying: item for item in settings.feeds if settings.chain_of(item) == chain_id}
    for pool in settings.pools:
        if settings.chain_of(pool) != chain_id:
            continue
        symbols |= {pool.base.lower(): pool.base_symbol, pool.quote.lower(): pool.quote_symbol}
        stables.add(pool.quote.lower())
        for symbol, address in ((pool.base_symbol, pool.base), (pool.quote_symbol, pool.quote)):
            feed = feeds.get(symbol)
            if feed is not None:
                yield (
                    address.lower(),
                    ChainlinkWatcher(
                        label=feed.label,
                        underlying=feed.underlying,
                        address=feed.address,
                        heartbeat_s=feed.heartbeat_s,
                    ),
                )


def _feed(item: Contract) -> ChainlinkWatcher:
    label = item.name.removeprefix("chainlink.")
    return ChainlinkWatcher(
        label=label,
        underlying=label.partition("/")[0],
        address=item.address,
        heartbeat_s=float(item.heartbeat_s or 0),
        decimals=item.decimals if item.decimals is not None else 8,
    )


def _address(item: Contract | None) -> str | None:
    return item.address if item is not None else None
