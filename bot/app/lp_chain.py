"""Where the LP monitor looks on a chain, from a configuration or from the known deployments alone.

A token counts as 1 USD only where its address is vouched for as a stable: by the configuration, which prices
an underlying in it, or by the known deployments. A symbol is never enough.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from bot.app.lp_parts import managers_of, pair_terms, pools
from bot.app.nodes import connect
from bot.chain.node_url import endpoint
from bot.chain.reader import MULTICALL3
from bot.chain.rpc import Node, Rpc
from bot.deployments import Contract, known
from bot.errors import BotError
from bot.model.lp_position import LpPosition
from bot.model.market import Block
from bot.ports import ChainReader
from bot.settings import ChainSettings, FeedSettings, Settings
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.pools import Pool
from bot.watchers.positions.finder import LpContracts, V4Contracts
from bot.watchers.positions.tokens import NATIVE, KnownTokens
from bot.watchers.positions.v2 import PairTerms

STABLES = ("USDC", "USDT", "DAI", "USDC.e")  # of the known tokens, those that stand for 1 USD
WRAPPED = {"WETH": "ETH", "WBTC": "BTC"}  # of the known tokens, those that a feed of another name prices
PAR = "counts as 1 USD"
COINS = {137: "POL", 43114: "AVAX", 1088: "METIS"}  # chains whose own coin is not ETH


@dataclass(frozen=True, slots=True, kw_only=True)
class LpChain:
    """One chain to watch: how to reach it and what is known of it."""

    url: str = field(default="", repr=False)  # may carry a key
    chain_id: int | None = None  # None: whatever chain the node is on
    poll_s: float = 2.0
    timeout_s: float = 10.0
    settings: Settings | None = None  # of a configured chain, with its providers
    v3_manager: str | None = None  # in place of what is known
    v4: V4Contracts | None = None

    @property
    def configured(self) -> ChainSettings | None:
        """The chain's own section of the configuration, None for a plain node."""
        if self.settings is None or self.chain_id is None:
            return None
        return self.settings.chain_named(self.chain_id)

    @property
    def multicall3(self) -> str:
        return self.configured.multicall3 if self.configured is not None else MULTICALL3

    @property
    def name(self) -> str:
        """What it is called before it answered, without a key."""
        if self.chain_id is not None:
            return chain_name(self.chain_id)
        host, port, _ = endpoint(self.url)
        return f"the node at {host}:{port}"

    def open(self, *, on_trouble: Callable[[BotError], None] = lambda _: None) -> Node:
        """Return the connection: all providers of a configured chain behind one surface, or the node."""
        if self.configured is not None:
            return connect(self.configured, on_trouble=on_trouble)
        return Rpc(self.url, timeout_s=self.timeout_s)


def configured_chains(settings: Settings) -> tuple[LpChain, ...]:
    return tuple(_configured(settings, item) for item in settings.all_chains)


def _configured(settings: Settings, item: ChainSettings) -> LpChain:
    return LpChain(
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
    managers = managers_of(settings, chain_id)
    own_v4 = None
    if managers.v4_position_manager is not None:
        own_v4 = V4Contracts(position_manager=managers.v4_position_manager, state_view=managers.v4_state_view)
    kinds: dict[str, list[Pool]] = {"uniswap_v2": [], "uniswap_v3": []}
    terms: dict[str, PairTerms] = {}
    if settings is not None:
        of_label = pools(settings)
        for item in settings.pools:
            if settings.chain_of(item) == chain_id and item.label in of_label:
                kinds[item.kind].append(of_label[item.label])
        terms = pair_terms(settings)
    return LpContracts(
        v3_manager=plan.v3_manager or managers.v3_position_manager,
        v4=plan.v4 or own_v4,
        pools=tuple(kinds["uniswap_v3"]),
        pairs=tuple(kinds["uniswap_v2"]),
        terms=terms,
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
        "--v3-manager or --v4-manager, or under [managers] in a configuration (alvh init: --like FILE)"
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
                yield address.lower(), _configured_feed(feed)
    coin = feeds.get(COINS.get(chain_id, "ETH"))
    if coin is not None:
        yield NATIVE, _configured_feed(coin)


def _configured_feed(item: FeedSettings) -> ChainlinkWatcher:
    return ChainlinkWatcher(
        label=item.label,
        underlying=item.underlying,
        address=item.address,
        heartbeat_s=item.heartbeat_s,
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
