"""Moves a devnet to the next point of a scenario, by transactions and time alone.

One step is a few blocks. Well before the point the whale moves liquidity, arbitrageurs bring the
pools and the perpetual to their prices, and Lyra's market maker sets spot and vols, so that the averages
that contracts keep over time have settled when the point is reached. The last block of the step has exactly
the point's time and carries the oracle's answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bot.chain.rpc import Rpc
from bot.devnet.deployment import Deployment
from bot.devnet.moves import lyra, perp, pools, protocol
from bot.devnet.moves.funds import preparation
from bot.devnet.moves.wire import Ledger, Tx, View, calldata, read_all
from bot.devnet.scenarios import MarketPoint
from bot.errors import InvariantError

MIN_BLOCKS = 7  # of a step: an escalation is confirmed over 6 blocks (R3)
MIN_STEP_S = 2_400
_LEAD_S = 2_100  # from the market's moves to the point; more than the 30 min that averages reach back
_BLOCK_S = 20  # Perp v2 limits how far the price may move in 15 s
_BLOCK_GAS = 28_000_000
_GREEKS_MOVE = 0.035  # of spot, after which cached greeks are renewed; Lyra calls them stale at 5 % or 3 h
_GREEKS_AGE_S = 7_200


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """What a step starts from."""

    v2: pools.V2State
    v3_sqrt: int
    stable_sqrt: int
    perp_sqrt: int
    whale: pools.V3Position
    boards: tuple[lyra.ListedBoard, ...]  # live and not expired at the point, by expiry


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """Liquidity before the first step: what ``lp_share`` is a share of."""

    v2_supply: int
    v3_liquidity: int
    v3_whale: int


class MarketMover:
    """Brings one devnet along one path. Points must ascend in time, at least 40 minutes apart."""

    def __init__(self, rpc: Rpc, deployment: Deployment) -> None:
        self._rpc = rpc
        self._deployment = deployment
        self._start: _Start | None = None
        self._vault_raw = 0  # at the first point, as soon as it is needed
        self._vault_share, self._paused = 1.0, False
        self._greeks: dict[int, tuple[int, float]] = {}  # board -> (time, spot) of the last renewal
        self._eth = pools.eth_market(deployment)
        self._stable = pools.stable_market(deployment)

    async def move(self, point: MarketPoint) -> None:
        """Move every market to ``point``; afterwards the head's time is ``point.at_s``.

        Raises InvariantError when the point is less than 40 minutes after the head, or names the first
        transaction that failed and why. TransientError when the node does not answer.
        """
        async with Ledger(self._rpc) as ledger:
            if point.at_s < ledger.head_s + MIN_STEP_S:
                raise InvariantError(
                    f"market script: a point at {point.at_s} must lie {MIN_STEP_S} s or more after the "
                    f"head, which is at {ledger.head_s}"
                )
            first_block = ledger.head_number
            start = self._start or await self._begin(ledger, point.base_fee_wei)
            state = await self._read(point.at_s)
            at_s = point.at_s - _LEAD_S
            blocks = [await self._events(point), *self._blocks(state, start, point)]
            for block in _split_by_gas(blocks):
                await ledger.mine(block, at_s=at_s, base_fee_wei=point.base_fee_wei)
                at_s += _BLOCK_S
            empty = MIN_BLOCKS - 1 - (ledger.head_number - first_block)
            await ledger.mine_empty(empty, interval_s=_BLOCK_S)
            await ledger.mine([self._answer(point)], at_s=point.at_s, base_fee_wei=point.base_fee_wei)
            await ledger.check()

    async def _begin(self, ledger: Ledger, base_fee_wei: int) -> _Start:
        """Fund and approve what the steps spend, and note the liquidity they are measured against."""
        place = self._deployment
        await ledger.mine(preparation(place), at_s=ledger.head_s + 1, base_fee_wei=base_fee_wei)
        views = [
            View(place.v2_pair, "totalSupply()", (), ("uint256",)),
            pools.position_view(place, place.whale_v3_token_id),
            pools.position_view(place, place.user_v3_token_id),
        ]
        (supply,), whale, user = await read_all(self._rpc, place.multicall3, views)
        whale_liquidity = pools.v3_position(whale).liquidity
        self._start = _Start(
            v2_supply=supply,
            v3_liquidity=whale_liquidity + pools.v3_position(user).liquidity,
            v3_whale=whale_liquidity,
        )
        return self._start

    async def _read(self, at_s: int) -> _State:
        place = self._deployment
        slots = [
            View(pool, pools.SLOT0, (), pools.SLOT0_OUTPUTS)
            for pool in (place.v3_pool, place.stable_pool, place.perp_pool)
        ]
        views = [
            *slots,
            pools.position_view(place, place.whale_v3_token_id),
            lyra.live_boards_view(place),
            *pools.v2_views(place),
        ]
        eth, stable, mark, whale, (board_ids,), *pair = await read_all(self._rpc, place.multicall3, views)
        details = [lyra.board_view(place, board_id) for board_id in board_ids]
        boards = map(lyra.listed_board, await read_all(self._rpc, place.multicall3, details))
        return _State(
            v2=pools.v2_state(place, pair),
            v3_sqrt=eth[0],
            stable_sqrt=stable[0],
            perp_sqrt=mark[0],
            whale=pools.v3_position(whale),
            boards=tuple(sorted((b for b in boards if b.expiry_s > at_s), key=lambda b: b.expiry_s)),
        )

    async def _events(self, point: MarketPoint) -> list[Tx]:
        """What is no market; nothing in most scenarios."""
        place, found = self._deployment, list[Tx]()
        if point.vault_share != self._vault_share:
            ((assets_raw,),) = await read_all(self._rpc, place.multicall3, [protocol.vault_view(place)])
            self._vault_raw, self._vault_share = self._vault_raw or assets_raw, point.vault_share
            wanted_raw = round(self._vault_raw * point.vault_share)
            found += protocol.vault_change(place, change_raw=wanted_raw - assets_raw)
        if point.paused != self._paused:
            views = [protocol.configurator_view(place)]
            ((configurator,),) = await read_all(self._rpc, place.multicall3, views)
            self._paused = point.paused
            found += protocol.pause(place, configurator, is_paused=point.paused)
        return found

    def _blocks(self, state: _State, start: _Start, point: MarketPoint) -> list[list[Tx]]:
        """The transactions before the point: liquidity and index, then prices and vols, then greeks."""
        place = self._deployment
        pool_price = point.eth_usd * (1.0 + point.pool_gap)
        mark, index = perp.mark_and_index(spot=point.eth_usd, premium=point.funding_premium)
        liquidity, v2 = self._liquidity(state, start, point.lp_share)
        trades = perp.mark_trades(place, sqrt_now=state.perp_sqrt, price=mark)
        vols, greeks = self._options(state, point)
        return [
            [
                *liquidity,
                *perp.index_update(place, price=index, updated_at_s=point.at_s - _LEAD_S),
                lyra.spot_update(place, price=point.eth_usd),
            ],
            [
                *pools.v2_swap(place, v2, price=pool_price),
                *self._eth.swap(place, sqrt_now=state.v3_sqrt, price=pool_price),
                *self._stable.swap(place, sqrt_now=state.stable_sqrt, price=point.stable_usd),
                *trades[:1],
                *vols,
            ],
            *([trade] for trade in trades[1:]),
            greeks,
        ]

    def _liquidity(self, state: _State, start: _Start, share: float) -> tuple[list[Tx], pools.V2State]:
        """What the whale adds or takes so that both pools hold ``share`` of their starting liquidity."""
        v2, after = pools.v2_liquidity(
            self._deployment, state.v2, target_supply=round(start.v2_supply * share)
        )
        wanted = start.v3_whale - round(start.v3_liquidity * (1.0 - share))
        change = wanted - state.whale.liquidity
        v3 = pools.v3_liquidity(self._deployment, state.whale, change=change, sqrt_now=state.v3_sqrt)
        return v2 + v3, after

    def _options(self, state: _State, point: MarketPoint) -> tuple[list[Tx], list[Tx]]:
        """(listings and vols, renewals of cached greeks) of Lyra's boards."""
        place, spot, ivs = self._deployment, point.eth_usd, (point.iv_7d, point.iv_30d, point.iv_90d)
        missing = lyra.missing_boards(state.boards, at_s=point.at_s, spot_usd=spot, ivs=ivs)
        expiries = {board.expiry_s for board in state.boards} | {board.expiry_s for board in missing}
        vols = lyra.board_vols(sorted(expiries), at_s=point.at_s, ivs=ivs)
        quotes = [
            lyra.listing(place, replace(board, base_iv=vols[board.expiry_s] / lyra.skew_at(board, spot)))
            for board in missing
        ]
        greeks = []
        for board in state.boards:
            base_iv = vols[board.expiry_s] / lyra.skew_at(board, spot)
            quotes += lyra.vol_update(place, board, base_iv=base_iv)
            quotes += lyra.new_strikes(place, board, at_s=point.at_s, spot_usd=spot, iv=vols[board.expiry_s])
            greeks += self._renewal(board.id, point)
        return quotes, greeks

    def _renewal(self, board_id: int, point: MarketPoint) -> list[Tx]:
        """The renewal of a board's cached greeks, once spot or time have moved on enough."""
        at_s, spot = self._greeks.get(board_id, (0, point.eth_usd))
        if point.at_s - at_s < _GREEKS_AGE_S and abs(point.eth_usd / spot - 1.0) < _GREEKS_MOVE:
            return []
        self._greeks[board_id] = (point.at_s, point.eth_usd)
        return [lyra.greeks_update(self._deployment, board_id)]

    def _answer(self, point: MarketPoint) -> Tx:
        """The oracle's round of this point."""
        return Tx(
            purpose=f"ETH/USD feed to {point.eth_usd}",
            sender=self._deployment.deployer,
            to=self._deployment.feed_eth_usd,
            data=calldata("setAnswer(int256,uint256)", round(point.eth_usd * 10**8), point.at_s),
            gas=200_000,
        )


def _split_by_gas(blocks: Sequence[Sequence[Tx]]) -> list[list[Tx]]:
    """Cut blocks that would not fit the gas limit; empty ones go."""
    cut: list[list[Tx]] = []
    for block in blocks:
        gas = _BLOCK_GAS + 1
        for transaction in block:
            if gas + transaction.gas > _BLOCK_GAS:
                cut.append([])
                gas = 0
            cut[-1].append(transaction)
            gas += transaction.gas
    return cut
