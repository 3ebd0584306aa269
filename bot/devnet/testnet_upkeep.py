"""What a deployed system needs from its owner as time passes: a price, the pool at that price, new boards.

Each call reads the chain first and sends only what is missing, so it may be repeated at any time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.devnet.boards import board_call
from bot.devnet.deploy_bench import Bench
from bot.devnet.deploy_lyra import SETH_KEY, e18
from bot.devnet.deploy_uniswap import FEE_VOLATILE
from bot.devnet.moves.lyra import ListedBoard, listed_board, missing_boards
from bot.devnet.moves.pools import V3Market
from bot.devnet.testnet import TestnetDeployment
from bot.errors import ConfigError
from bot.model.units import DAY_S

PRICE_RANGE_USD = (100.0, 1_000_000.0)
_POOL_GAP = 0.001  # a pool this near to the price is left alone
_TERM = (0.97, 1.0, 1.05)  # vol at 7, 30 and 90 days, times the one at 30
_Q96 = 2**96
_NEVER = 2**40


@dataclass(frozen=True, slots=True, kw_only=True)
class Upkeep:
    """What was found and done."""

    price_usd: float
    pool_moved: bool = False
    settled: tuple[int, ...] = ()  # ids of boards that had expired
    listed: tuple[int, ...] = ()  # ids of new boards
    boards: tuple[ListedBoard, ...] = ()  # all that are live now


async def publish(bench: Bench, at: TestnetDeployment, *, price_usd: float) -> bool:
    """Publish a price on the feed and on Lyra's rates, and bring the pool there; say whether it moved."""
    low, high = PRICE_RANGE_USD
    if not low <= price_usd <= high:
        raise ConfigError(f"price must be {low:,.0f} to {high:,.0f} USD, was {price_usd}")
    feed = bench.own_at("ChainlinkFeed", at.feed_eth_usd)
    await feed.send("setAnswer", round(price_usd * 10**8), await bench.now_s())
    rates = bench.at("TestExchangeRates", at.lyra_exchange_rates)
    await rates.send("setRateAndInvalid", SETH_KEY, e18(price_usd), False)
    return await _move_pool(bench, at, price_usd)


async def published_price_usd(bench: Bench, at: TestnetDeployment) -> tuple[float, int]:
    """Return the newest answer of the feed and its time."""
    _, answer, _, updated_at_s, _ = await bench.own_at("ChainlinkFeed", at.feed_eth_usd).call(
        "latestRoundData"
    )
    return answer / 10**8, updated_at_s


async def renew_boards(bench: Bench, at: TestnetDeployment, *, iv: float) -> Upkeep:
    """Settle boards that expired and list one for every tenor that has none.

    ``iv``: at-the-money vol of a month, a fraction a year.
    """
    if not 0.1 <= iv <= 5.0:
        raise ConfigError(f"iv must be a fraction from 0.1 to 5, was {iv}")
    market = bench.at("OptionMarket", at.lyra_option_market)
    greeks = bench.at("OptionGreekCache", at.lyra_greek_cache)
    now_s = await bench.now_s()
    boards = await live_boards(bench, at)
    settled = tuple(board.id for board in boards if board.expiry_s <= now_s)
    for board_id in settled:
        await market.send("settleExpiredBoard", board_id)
    price_usd, _ = await published_price_usd(bench, at)
    ivs = [iv * share for share in _TERM]
    live = [board for board in boards if board.id not in settled]
    for board in missing_boards(live, at_s=now_s, spot_usd=price_usd, ivs=ivs):
        await market.send("createOptionBoard", *board_call(board))
    after = await live_boards(bench, at)
    listed = tuple(board.id for board in after if board.id not in {one.id for one in boards})
    for board_id in listed:
        await greeks.send("updateBoardCachedGreeks", board_id)
    return Upkeep(price_usd=price_usd, settled=settled, listed=listed, boards=after)


async def live_boards(bench: Bench, at: TestnetDeployment) -> tuple[ListedBoard, ...]:
    """Return the boards that are not settled, nearest expiry first."""
    market = bench.at("OptionMarket", at.lyra_option_market)
    ids: Sequence[int] = await market.call("getLiveBoards")
    boards = [listed_board(await market.call("getBoardAndStrikeDetails", board_id)) for board_id in ids]
    return tuple(sorted(boards, key=lambda board: board.expiry_s))


def days_left(board: ListedBoard, now_s: float) -> float:
    return (board.expiry_s - now_s) / DAY_S


async def _move_pool(bench: Bench, at: TestnetDeployment, price_usd: float) -> bool:
    """Swap the WETH/USDC pool to the price with test tokens; given tokens are nobody's to mint."""
    if not (at.mints_weth and at.mints_usdc):
        return False
    market = V3Market(
        name="WETH/USDC", pool=at.v3_pool, fee=FEE_VOLATILE,
        unit=at.weth, unit_decimals=18, pricing=at.usdc, pricing_decimals=6,
    )  # fmt: skip
    pool = bench.at("UniswapV3Pool", at.v3_pool)
    sqrt_now: int = (await pool.call("slot0"))[0]
    limit = market.sqrt_price_x96(price_usd)
    if abs((limit / sqrt_now) ** 2 - 1.0) < _POOL_GAP:
        return False
    sells_token0 = limit < sqrt_now
    sells_weth = sells_token0 == market.is_unit_token0
    amount_raw = swap_input_raw(await pool.call("liquidity"), sqrt_now=sqrt_now, sqrt_then=limit)
    sold, bought = (at.weth, at.usdc) if sells_weth else (at.usdc, at.weth)
    token = bench.at("TestERC20SetDecimals", sold)
    router = bench.at("SwapRouter", at.v3_router)
    held = await token.call("balanceOf", bench.deployer)
    if held < amount_raw:
        await token.send("mint", bench.deployer, amount_raw - held)
    await token.send("approve", router.address, amount_raw)
    order = (sold, bought, market.fee, bench.deployer, _NEVER, amount_raw, 0, limit)
    await router.send("exactInputSingle", order)
    if await token.call("allowance", bench.deployer, router.address):
        await token.send("approve", router.address, 0)
    return True


def swap_input_raw(liquidity: int, *, sqrt_now: int, sqrt_then: int) -> int:
    """Return at least what a swap takes to move a pool between two square-root prices (Q64.96).

    By the formulas of the Uniswap v3 whitepaper, 6.14 and 6.16, for constant liquidity; twice that, for
    positions that begin on the way. The price limit ends the swap.
    """
    low, high = sorted((sqrt_now, sqrt_then))
    if sqrt_then > sqrt_now:  # token1 in
        exact = liquidity * (high - low) // _Q96
    else:
        exact = liquidity * _Q96 * (high - low) // (high * low)
    return 2 * exact + 1
