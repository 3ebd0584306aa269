"""Implied vols of the real Lyra boards, and boards that are no use (S11-S13)."""

import math
from itertools import pairwise

import pytest
from eth_utils.crypto import keccak

from bot.chain.abi import Abi
from bot.chain.reader import JsonRpcReader
from bot.devnet.deployment import Deployment
from bot.errors import TransientError
from bot.model.market import Metric, Observation
from bot.watchers.lyra_iv import LyraIvWatcher, _points, at_the_money, constant_maturity
from bot.watchers.rows import Unknown

MARKET = Abi.load("OptionMarket")
VIEWER = Abi.load("OptionMarketViewer")
DAY_S = 86_400
WAD = 10**18


async def _rows(chain: JsonRpcReader, at: Deployment) -> dict[Metric, Observation]:
    watcher = LyraIvWatcher(
        underlying="ETH",
        option_market=at.lyra_option_market,
        pricer=at.lyra_pricer,
        synthetix_adapter=at.lyra_synthetix_adapter,
    )
    rows = await watcher.read(chain, block=await chain.head(), read_at_s=0.0)
    return {row.metric: row for row in rows}


async def _boards(chain: JsonRpcReader, at: Deployment) -> list[tuple[float, float]]:
    """(days, at-the-money vol) by another contract and another way of writing it down."""
    block = await chain.head()
    call = VIEWER.call("getLiveBoards", at.lyra_viewer, at.lyra_option_market)
    ((boards,),) = await chain.read([call], block=block)
    found = []
    for _, _, expiry_s, base_iv, _, _, _, _, strikes in boards:
        points = sorted((strike[2] / 1e18, base_iv / 1e18 * strike[3] / 1e18) for strike in strikes)
        for (low, low_vol), (high, high_vol) in pairwise(points):
            if low <= at.start_price_usd <= high:
                share = math.log(at.start_price_usd / low) / math.log(high / low)
                found.append(((expiry_s - block.timestamp_s) / DAY_S, low_vol + share * (high_vol - low_vol)))
                break
    return sorted(found)


@pytest.mark.devnet
async def test_constant_maturities_lie_between_the_boards(chain: JsonRpcReader, at: Deployment) -> None:
    boards = await _boards(chain, at)
    assert len(boards) == len(at.lyra_board_ids)
    rows = await _rows(chain, at)
    for metric, days in ((Metric.IV_7D, 7.0), (Metric.IV_30D, 30.0), (Metric.IV_90D, 90.0)):
        after = next((index for index, (expiry, _) in enumerate(boards) if expiry >= days), None)
        if after is None:
            expected = boards[-1][1]
        elif after == 0:
            expected = boards[0][1]
        else:
            (near, near_vol), (far, far_vol) = boards[after - 1], boards[after]
            share = (days - near) / (far - near)
            total = near_vol**2 * near * (1 - share) + far_vol**2 * far * share
            expected = math.sqrt(total / days)
        assert rows[metric].value == pytest.approx(expected, rel=1e-9)
    assert rows[Metric.VOL_INDEX].value == rows[Metric.IV_30D].value
    assert {(row.subject, row.source) for row in rows.values()} == {("ETH", "lyra")}


@pytest.mark.devnet
async def test_only_boards_past_their_cutoff_are_left_out(chain: JsonRpcReader, at: Deployment, send) -> None:
    """Before the nearest board's cutoff it counts, after it the next board is the front."""
    pricer = Abi.load("OptionMarketPricer")
    block = await chain.head()
    limits, board = await chain.read(
        [
            pricer.call("getTradeLimitParams", at.lyra_pricer),
            MARKET.call("getOptionBoard", at.lyra_option_market, at.lyra_board_ids[0]),
        ],
        block=block,
    )
    cutoff_s, expiry_s = limits[0][2], board[0][1]
    boards = await _boards(chain, at)
    await send.wait(expiry_s - cutoff_s - 60 - block.timestamp_s)
    inside = await _rows(chain, at)
    await send.wait(120)
    outside = await _rows(chain, at)
    front = boards[1][1]
    assert outside[Metric.IV_7D].value == pytest.approx(front, rel=1e-6)
    assert inside[Metric.IV_7D].value != pytest.approx(front, rel=1e-6)


@pytest.mark.devnet
async def test_expired_boards_leave_nothing(chain: JsonRpcReader, at: Deployment, send) -> None:
    await send.wait(400 * DAY_S)
    rows = await _rows(chain, at)
    assert all(math.isnan(row.value) for row in rows.values())
    assert all("the term structure needs 2" in row.why_unknown for row in rows.values())


@pytest.mark.devnet
async def test_an_invalid_rate_is_unknown(chain: JsonRpcReader, at: Deployment, send) -> None:
    selector = keccak(text="setRateAndInvalid(bytes32,uint256,bool)")[:4]
    words = b"sETH".ljust(32, b"\0") + (3_000 * WAD).to_bytes(32, "big") + (1).to_bytes(32, "big")
    await send(at.deployer, at.lyra_exchange_rates, selector + words)
    rows = await _rows(chain, at)
    assert all("Lyra spot price" in row.why_unknown for row in rows.values())


def _board(base_iv: float, strikes: list[tuple[float, float]]) -> tuple:
    rows = [(1, round(at * WAD), round(skew * WAD), 0, 0, 0, 0, 0, 7) for at, skew in strikes]
    return ((7, 0, round(base_iv * WAD), False, []), rows, [], 0)


def test_a_frozen_board_does_not_count() -> None:
    board = _board(1.0, [(1_000, 0.9), (2_000, 0.8)])
    (number, _, base, _, strikes), *rest = board
    open_, frozen = (((number, 90 * DAY_S, base, is_frozen, strikes), *rest) for is_frozen in (False, True))
    read = {"spot_usd": 1_000.0, "now_s": 0.0, "cutoff_s": 0.0}
    assert _points([open_, frozen], **read) == [(pytest.approx(90 / 365), pytest.approx(0.9))]
    assert _points([frozen], **read) == []


@pytest.mark.parametrize(
    ("spot", "expected"), [(500, 0.9), (1_000, 0.9), (math.sqrt(2) * 1_000, 0.85), (2_000, 0.8), (9_000, 0.8)]
)
def test_vol_at_the_spot_is_read_between_strikes(spot: float, expected: float) -> None:
    assert at_the_money(_board(1.0, [(2_000, 0.8), (1_000, 0.9)]), spot) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("board", "spot"),
    [
        (_board(0.009, [(1_000, 1.0)]), 1_000),
        (_board(5.01, [(1_000, 1.0)]), 1_000),
        (_board(0.0, [(1_000, 1.0)]), 1_000),
        (_board(1.0, []), 1_000),
        (_board(1.0, [(0, 1.0)]), 1_000),
        (_board(1.0, [(1_000, 1.0)]), 0.0),
    ],
)
def test_an_absurd_vol_is_refused(board: tuple, spot: float) -> None:
    with pytest.raises(TransientError, match="Lyra board 7 has"):
        at_the_money(board, spot)


def test_one_board_is_no_term_structure() -> None:
    year = 1 / 365
    assert isinstance(constant_maturity([], 7.0), Unknown)
    assert isinstance(constant_maturity([(30 * year, 0.8)], 30.0), Unknown)
    two = [(30 * year, 0.8), (45 * year, 0.9)]
    assert constant_maturity(two, 90.0) == pytest.approx(0.9)
    far = constant_maturity(two, 7.0)
    assert isinstance(far, Unknown)
    assert "nearest to 7 days has 30.0 days" in far.why
