"""Finds readers of positions in any pool: those of a wallet, and those that a person names."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.chain.abi import Abi
from bot.errors import ConfigError, NotFoundError, StaleDataError, TransientError
from bot.model.lp_position import LpToken
from bot.model.market import Block
from bot.ports import BlockLog, ChainReader
from bot.watchers.pools import ERC20, V2_PAIR, Pool
from bot.watchers.positions import v4
from bot.watchers.positions.find import MAX_TOKENS, held_pairs, token_ids_of, v3_positions
from bot.watchers.positions.history import address_topic, logs_back
from bot.watchers.positions.pairs import held_of, pairs_of_known
from bot.watchers.positions.reading import LpReader, check_contract
from bot.watchers.positions.staked import LpStaker, NftStaker
from bot.watchers.positions.tokens import KnownTokens, read_tokens
from bot.watchers.positions.v2 import UNISWAP_V2, PairTerms, V2PositionReader
from bot.watchers.positions.v3 import MANAGER, V3PositionReader
from bot.watchers.rows import Unknown, need
from bot.watchers.v4_pools import V4Pool

FACTORY = Abi.load("UniswapV3Factory")
_ZERO = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class V4Contracts:
    """Uniswap v4 on one chain."""

    position_manager: str
    state_view: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LpContracts:
    """Where positions of one chain are looked for."""

    v3_manager: str | None = None
    v4: V4Contracts | None = None
    pools: tuple[Pool, ...] = ()  # configured; found again by address
    pairs: tuple[Pool, ...] = ()  # v2 pairs that a wallet is looked for in
    terms: Mapping[str, PairTerms] = field(default_factory=dict)  # of the configured pairs, by label
    factories: Mapping[str, str] = field(default_factory=dict)  # v2 factory, lower case -> "sushi-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPosition:
    """A position as a person names it; see :func:`parse_position`."""

    text: str
    kind: str  # "v2", "v3", "v4"
    chain_id: int | None = None
    token_id: int = 0  # v3, v4
    pair: str = ""  # v2
    holder: str = ""  # v2: whose
    staker: str = ""
    pool_id: int | None = None  # v2: MasterChef's pid


class LpFinder:
    """Finds readers for positions in any pool of one chain; remembers what cannot change."""

    def __init__(
        self, chain: ChainReader, contracts: LpContracts, known: KnownTokens, *, look_back: int
    ) -> None:
        self._chain = chain
        self._contracts = contracts
        self._known = known
        self._look_back = look_back
        self._tokens: dict[str, LpToken | Unknown] = {}
        self._configured = {pool.address.lower(): pool for pool in (*contracts.pools, *contracts.pairs)}
        self._v3_pools: dict[tuple[Any, ...], str] = {}  # (token0, token1, fee) -> address
        self._pairs: tuple[str, ...] | None = None  # v2 pairs of known money, once they were asked for
        self._v4_ids: set[int] = set()  # that came to the wallet once

    async def wallet(self, wallet: str, *, block: Block) -> tuple[list[LpReader], list[str]]:
        """Return (readers, one line on each position that was left out) of everything the wallet holds."""
        readers: list[LpReader] = []
        left_out: list[str] = []
        if self._contracts.v3_manager is not None:
            ids = await token_ids_of(self._chain, wallet, self._contracts.v3_manager, block=block)
            found, lines = await self._v3(ids, wallet, block)
            readers, left_out = [*readers, *found], [*left_out, *lines]
        if self._contracts.v4 is not None:
            ids, lines = await self._v4_ids_of(wallet, block)
            named, more = await self._v4(ids, block)
            readers, left_out = [*readers, *named], [*left_out, *lines, *more]
        contracts = self._contracts
        readers += await held_pairs(self._chain, contracts.pairs, wallet, block=block, terms=contracts.terms)
        return [*readers, *await self._known_pairs(wallet, block)], left_out

    async def named(self, item: NamedPosition, *, wallet: str | None, block: Block) -> LpReader:
        """Return the reader of one position. Raises NotFoundError, ConfigError, TransientError."""
        if item.kind == "v2":
            return await self._pair(item, item.holder or wallet or "", block)
        if item.kind == "v4":
            readers, lines = await self._v4([item.token_id], block)
        else:
            readers, lines = await self._named_v3(item, wallet, block)
        if lines:
            raise NotFoundError(lines[0])
        return readers[0]

    # -- v3 --

    async def _named_v3(
        self, item: NamedPosition, wallet: str | None, block: Block
    ) -> tuple[list[LpReader], list[str]]:
        manager = self._contracts.v3_manager
        if manager is None:
            raise ConfigError(
                f"{item.text}: no v3 position manager is known on chain {block.chain_id}; "
                "configure managers.v3_position_manager"
            )
        calls = [MANAGER.call("factory", manager), MANAGER.call("positions", manager, item.token_id)]
        factory, position = await self._chain.read(calls, block=block)
        await check_contract(self._chain, manager, factory, "NonfungiblePositionManager", block)
        if position is None:
            raise NotFoundError(
                f"position v3:{item.token_id} does not exist at {manager} on chain {block.chain_id}; "
                "it may have been burned"
            )
        staker = NftStaker(address=item.staker, depositor=wallet) if item.staker else None
        return await self._v3([item.token_id], wallet or "", block, staker=staker)

    async def _v3(
        self, ids: Sequence[int], wallet: str, block: Block, *, staker: NftStaker | None = None
    ) -> tuple[list[LpReader], list[str]]:
        manager = self._contracts.v3_manager
        if manager is None or not ids:
            return [], []
        positions = await v3_positions(self._chain, ids, manager, wallet, block)
        keys = {position[2:5] for _, position in positions if position[7] > 0}
        addresses = await self._v3_addresses(manager, keys, block)
        tokens = await self._read_tokens((token for key in keys for token in key[:2]), block)
        readers: list[LpReader] = []
        left_out = []
        for token_id, position in positions:
            key = position[2:5]
            if position[7] == 0:
                left_out.append(f"v3:{token_id} holds no liquidity")
                continue
            pool = self._pool("v3", addresses[key], tokens[key[0]], tokens[key[1]])
            if isinstance(pool, Unknown):
                left_out.append(f"v3:{token_id}: {pool.why}")
            else:
                readers.append(V3PositionReader(token_id=token_id, pool=pool, manager=manager, staker=staker))
        return readers, left_out

    async def _v3_addresses(
        self, manager: str, keys: Iterable[tuple[Any, ...]], block: Block
    ) -> dict[tuple[Any, ...], str]:
        new = [key for key in keys if key not in self._v3_pools]
        if new:
            (factory,) = await self._chain.read([MANAGER.call("factory", manager)], block=block)
            (home,) = need(factory, f"factory of {manager}")
            found = await self._chain.read([FACTORY.call("getPool", home, *key) for key in new], block=block)
            for key, result in zip(new, found, strict=True):
                (address,) = need(result, f"getPool of {home}")
                self._v3_pools[key] = address
        return self._v3_pools

    # -- v4 --

    async def _v4_ids_of(self, wallet: str, block: Block) -> tuple[list[int], list[str]]:
        """Return the ids that a wallet owns, from Transfer logs: v4 position NFTs cannot be enumerated."""
        contracts = self._contracts.v4
        if contracts is None:
            return [], []
        manager = contracts.position_manager
        (balance,) = await self._chain.read([ERC20.call("balanceOf", manager, wallet)], block=block)
        await check_contract(self._chain, manager, balance, "v4 PositionManager", block)
        count = need(balance, f"balance of {manager}")[0]
        owned = await self._owned(manager, self._v4_ids, wallet, block)
        if len(owned) < count:
            oldest = block.number - self._look_back
            try:
                logs = await logs_back(
                    self._chain,
                    address=manager,
                    topics=[[v4.MANAGER.topic("Transfer")], [], [address_topic(wallet)]],
                    oldest=oldest,
                    to=block,
                    enough=lambda found: len({_token_id(log) for log in found}) >= count,
                )
            except StaleDataError:
                raise
            except TransientError as error:
                return owned, [f"{count - len(owned)} v4 positions could not be searched for: {error}"]
            self._v4_ids |= {_token_id(log) for log in logs}
            owned = await self._owned(manager, self._v4_ids, wallet, block)
        missing = count - len(owned)
        if missing <= 0:
            return owned, []
        return owned, [
            f"{missing} of {count} v4 positions came before block {max(block.number - self._look_back, 0)}; "
            "name them as v4:TOKEN_ID or search further back with --look-back"
        ]

    async def _owned(self, manager: str, ids: Iterable[int], wallet: str, block: Block) -> list[int]:
        wanted = sorted(ids)[:MAX_TOKENS]
        calls = [v4.MANAGER.call("ownerOf", manager, token_id) for token_id in wanted]
        owners = await self._chain.read(calls, block=block)
        return [
            token_id
            for token_id, owner in zip(wanted, owners, strict=True)
            if owner is not None and owner[0] == wallet.lower()
        ]

    async def _v4(self, ids: Sequence[int], block: Block) -> tuple[list[LpReader], list[str]]:
        contracts = self._contracts.v4
        if contracts is None:
            raise ConfigError(f"no v4 position manager is known on chain {block.chain_id}")
        manager = contracts.position_manager
        calls = [v4.MANAGER.call("getPoolAndPositionInfo", manager, token_id) for token_id in ids]
        home, *infos = await self._chain.read([v4.MANAGER.call("poolManager", manager), *calls], block=block)
        await check_contract(self._chain, manager, home, "v4 PositionManager", block)
        (pool_manager,) = need(home, f"poolManager of {manager}")
        keys = {info[0] for info in infos if info is not None}
        tokens = await self._read_tokens((token for key in keys for token in key[:2]), block)
        readers: list[LpReader] = []
        left_out = []
        for token_id, info in zip(ids, infos, strict=True):
            if info is None or info[1] == 0:
                left_out.append(f"v4:{token_id} does not exist at {manager}; it may have been burned")
                continue
            key = info[0]
            pool = self._v4_pool(key, pool_manager, tokens[key[0]], tokens[key[1]])
            if isinstance(pool, Unknown):
                left_out.append(f"v4:{token_id}: {pool.why}")
            else:
                readers.append(v4.V4PositionReader(token_id=token_id, pool=pool, manager=manager))
        return readers, left_out

    def _v4_pool(
        self, key: tuple[Any, ...], manager: str, token0: LpToken | Unknown, token1: LpToken | Unknown
    ) -> V4Pool | Unknown:
        pool = self._pool("v4", manager, token0, token1)
        if isinstance(pool, Unknown) or self._contracts.v4 is None:
            return pool if isinstance(pool, Unknown) else Unknown("no v4 contracts are known")
        try:
            return V4Pool(
                label=pool.label,
                manager=manager,
                state_view=self._contracts.v4.state_view,
                base=pool.base,
                quote=pool.quote,
                base_token=pool.base_token,
                quote_token=pool.quote_token,
                base_decimals=pool.base_decimals,
                quote_decimals=pool.quote_decimals,
                fee=key[2],
                tick_spacing=key[3],
                hooks=key[4],
            )
        except ConfigError as error:
            return Unknown(str(error))

    # -- v2 --

    async def _known_pairs(self, wallet: str, block: Block) -> list[LpReader]:
        """Return a reader for each pair of known money, not configured, that the wallet has a part of."""
        if self._pairs is None:
            factories = self._contracts.factories
            self._pairs = await pairs_of_known(self._chain, factories, self._known, block=block)
        pairs = [pair for pair in self._pairs if pair not in self._configured]
        held = await held_of(self._chain, pairs, wallet, block=block)
        named = [NamedPosition(text=f"v2:{pair}", kind="v2", pair=pair) for pair in held]
        return [await self._pair(item, wallet, block) for item in named]

    async def _pair(self, item: NamedPosition, holder: str, block: Block) -> LpReader:
        if not holder:
            raise ConfigError(f"{item.text}: whose? Write v2:PAIR:HOLDER, or give --wallet")
        names = ("token0", "token1", "factory")
        calls = [V2_PAIR.call(name, item.pair) for name in names]
        token0, token1, factory = await self._chain.read(calls, block=block)
        for answer in (token0, token1):
            await check_contract(self._chain, item.pair, answer, "Uniswap v2 pair", block)
        first, second = need(token0, "token0")[0], need(token1, "token1")[0]
        tokens = await self._read_tokens((first, second), block)
        pool = self._pool("v2", item.pair, tokens[first], tokens[second])
        if isinstance(pool, Unknown):
            raise NotFoundError(f"{item.text}: {pool.why}")
        is_configured = item.pair.lower() in self._configured
        terms = self._contracts.terms.get(pool.label) if is_configured else None
        terms = terms or self._terms(factory[0] if factory is not None else "")
        return V2PositionReader(
            holder=holder,
            pool=pool,
            staker=LpStaker(address=item.staker, pool_id=item.pool_id) if item.staker else None,
            fee=terms.fee,
            protocol=terms.protocol,
        )

    def _terms(self, factory: str) -> PairTerms:
        """Return what is known of a factory's pairs: the known ones take 0.3 %, a fork may take anything."""
        name = self._contracts.factories.get(factory)
        if name is None:
            return PairTerms(fee=math.nan, protocol="a v2 fork that is not known")
        return PairTerms(fee=UNISWAP_V2.fee, protocol=name)

    # -- tokens --

    async def _read_tokens(self, addresses: Iterable[str], block: Block) -> dict[str, LpToken | Unknown]:
        new = {address.lower() for address in addresses} - self._tokens.keys()
        if new:
            found = await read_tokens(self._chain, new, self._known, block=block)
            # A read that failed may pass; what a token says is kept.
            self._tokens |= {at: item for at, item in found.items() if isinstance(item, LpToken)}
            return self._tokens | found
        return self._tokens

    def _pool(
        self, version: str, address: str, token0: LpToken | Unknown, token1: LpToken | Unknown
    ) -> Pool | Unknown:
        configured = self._configured.get(address.lower())
        if configured is not None:
            return configured
        if address == _ZERO:
            return Unknown("the factory knows no such pool")
        for token in (token0, token1):
            if isinstance(token, Unknown):
                return token
        base, quote = self._known.orient(token0, token1)  # type: ignore[arg-type]  # narrowed above
        return Pool(
            label=f"{version}:{base.symbol}/{quote.symbol}",
            address=address,
            base=base.symbol,
            quote=quote.symbol,
            base_token=base.address,
            quote_token=quote.address,
            base_decimals=base.decimals,
            quote_decimals=quote.decimals,
        )


def _token_id(log: BlockLog) -> int:
    return int(log.log.topics[3], 16)
