"""Builds the parts that settings name: pools, watchers, positions, the venue, the chain."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from bot.chain.reader import JsonRpcReader
from bot.chain.rpc import Rpc
from bot.engine.layers import option_types
from bot.engine.policy import Policy
from bot.errors import ConfigError
from bot.model.hedge import Layer
from bot.ports import PositionReader, Transactor, Watcher
from bot.settings import ManagerSettings, PoolSettings, PositionSettings, Settings
from bot.venues.lyra import LyraVenue
from bot.venues.lyra_reads import LyraContracts
from bot.venues.lyra_terms import LyraTerms
from bot.venues.settlement import SettlementSwap, StablePair, SwapLimits
from bot.watchers.chainlink import ChainlinkWatcher
from bot.watchers.lyra_iv import LyraIvWatcher
from bot.watchers.perp_v2_funding import PerpV2FundingWatcher
from bot.watchers.pools import Pool
from bot.watchers.positions import V2PositionReader, V3PositionReader
from bot.watchers.tvl import Token, TvlWatcher
from bot.watchers.uniswap_v2 import UniswapV2Watcher
from bot.watchers.uniswap_v3 import UniswapV3StableWatcher, UniswapV3Watcher

_DELTA_MARGIN = 0.1  # quotes reach a little past the widest delta band, which moves with the market


def pools(settings: Settings) -> dict[str, Pool]:
    """Return the configured pools by label."""
    return {item.label: _pool(item) for item in settings.pools}


def watchers(settings: Settings) -> tuple[Watcher, ...]:
    """Return one watcher per configured source."""
    known = pools(settings)
    underlyings = {item.underlying for item in settings.feeds}
    found: list[Watcher] = [
        ChainlinkWatcher(
            label=item.label,
            underlying=item.underlying,
            address=item.address,
            heartbeat_s=item.heartbeat_s,
        )
        for item in settings.feeds
    ]
    for item in settings.pools:
        found.extend(_pool_watchers(item, known[item.label], settings.managers, underlyings))
    found.extend(
        PerpV2FundingWatcher(
            underlying=item.underlying,
            exchange=item.exchange,
            base_token=item.base_token,
            config=item.config,
        )
        for item in settings.perps
    )
    if (lyra := settings.lyra) is not None:
        found.append(
            LyraIvWatcher(
                underlying=lyra.underlying,
                option_market=lyra.option_market,
                pricer=lyra.pricer,
                synthetix_adapter=lyra.synthetix_adapter,
            )
        )
    return tuple(found)


def position_readers(settings: Settings) -> tuple[PositionReader, ...]:
    """Return one reader per configured position. Raises ConfigError for one that is not complete."""
    known = pools(settings)
    return tuple(position_reader(item, known, settings.managers) for item in settings.positions)


def lyra_venue(
    settings: Settings, reader: JsonRpcReader, policy: Policy, *, transactor: Transactor | None
) -> LyraVenue | None:
    """Return the Lyra venue, None when none is configured. Without a transactor it only quotes.

    Quotes are asked for what the policy's layers could want, not for every strike that is listed.
    """
    lyra = settings.lyra
    if lyra is None:
        return None
    pair = StablePair(
        stable=lyra.stable_symbol,
        stable_token=lyra.stable,
        settlement=lyra.settlement_symbol,
        settlement_token=lyra.settlement,
        router=lyra.swap_router,
        quoter=lyra.quoter,
        pool_fee=lyra.settlement_pool_fee,
        stable_decimals=lyra.stable_decimals,
    )
    limits = SwapLimits(slippage_bps=settings.execution.max_swap_slippage_bps)
    contracts = LyraContracts(
        option_market=lyra.option_market,
        option_token=lyra.option_token,
        pricer=lyra.pricer,
        liquidity_pool=lyra.liquidity_pool,
        short_collateral=lyra.short_collateral,
        synthetix_adapter=lyra.synthetix_adapter,
    )
    return LyraVenue(
        reader=reader,
        contracts=contracts,
        swap=SettlementSwap(reader=reader, pair=pair, limits=limits),
        transactor=transactor,
        account=settings.account.address if settings.account else None,
        terms=LyraTerms(
            underlying=lyra.underlying,
            option_types=option_types(policy),
            max_abs_delta=max(policy.layers.of(layer).delta[1] for layer in Layer) + _DELTA_MARGIN,
        ),
    )


@asynccontextmanager
async def open_chain(settings: Settings) -> AsyncIterator[tuple[Rpc, JsonRpcReader]]:
    """Connect, and check the chain id and that every configured address has code.

    Raises ConfigError naming the field, TransientError when the node does not answer.
    """
    chain = settings.chain
    async with Rpc(chain.rpc_url.get_secret_value(), timeout_s=chain.timeout_s) as rpc:
        reader = await JsonRpcReader.connect(rpc, chain_id=chain.id, multicall3=chain.multicall3)
        head = await reader.head()
        for field, address in _contract_addresses(settings):
            if not await reader.has_code(address, block=head):
                raise ConfigError(
                    f"{field} {address} has no code on chain {chain.id}; correct the address or the chain"
                )
        yield rpc, reader


def _pool_watchers(
    item: PoolSettings, pool: Pool, managers: ManagerSettings | None, underlyings: set[str]
) -> Iterator[Watcher]:
    if item.base_symbol not in underlyings:
        yield UniswapV3StableWatcher(pool=pool)
        return
    if item.kind == "uniswap_v2":
        yield UniswapV2Watcher(pool=pool)
    elif managers is None:
        raise ConfigError(
            f"pool {item.label} needs managers.v3_tick_lens to read its liquidity; add [managers]"
        )
    else:
        yield UniswapV3Watcher(pool=pool, tick_lens=managers.v3_tick_lens)
    tokens = (
        Token(symbol=item.base_symbol, address=item.base, decimals=item.base_decimals),
        Token(symbol=item.quote_symbol, address=item.quote, decimals=item.quote_decimals),
    )
    yield TvlWatcher(label=item.label, holder=item.address, tokens=tokens)


def position_reader(
    item: PositionSettings, known: dict[str, Pool], managers: ManagerSettings | None
) -> PositionReader:
    """Return the reader of one position. Raises ConfigError when something that it needs is not there."""
    pool = known.get(item.pool)
    if pool is None:
        raise ConfigError(
            f"positions: pool {item.pool!r} is not configured; there are {', '.join(known) or 'none'}"
        )
    if item.kind == "uniswap_v2":
        if item.holder is None:
            raise ConfigError(f"positions: the v2 position in {item.pool} needs a holder address")
        return V2PositionReader(holder=item.holder, pool=pool)
    if item.token_id is None or managers is None:
        raise ConfigError(f"positions: the v3 position in {item.pool} needs a token_id, and [managers]")
    return V3PositionReader(token_id=item.token_id, pool=pool, manager=managers.v3_position_manager)


def _contract_addresses(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield (field, address) of everything that must be a contract."""
    for item in settings.feeds:
        yield f"feeds {item.label}", item.address
    for pool in settings.pools:
        for field in ("address", "base", "quote"):
            yield f"pools {pool.label} {field}", getattr(pool, field)
    for perp in settings.perps:
        for field in ("exchange", "base_token", "config"):
            yield f"perps {perp.underlying} {field}", getattr(perp, field)
    for name in ("lyra", "managers"):
        section = getattr(settings, name)
        for field in section.__class__.model_fields if section is not None else ():
            value = getattr(section, field)
            if isinstance(value, str) and value.startswith("0x"):
                yield f"{name}.{field}", value


def _pool(item: PoolSettings) -> Pool:
    return Pool(
        label=item.label,
        address=item.address,
        base=item.base_symbol,
        quote=item.quote_symbol,
        base_token=item.base,
        quote_token=item.quote,
        base_decimals=item.base_decimals,
        quote_decimals=item.quote_decimals,
    )
