"""Lyra v1 (Avalon) with its Synthetix test doubles, funded, with four boards listed."""

from dataclasses import dataclass
from typing import Any

from bot.devnet.boards import DAY_S, board_call, plan_board
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED

ZERO = "0x" + "00" * 20
SETH_KEY = b"sETH".ljust(32, b"\0")
SUSD_KEY = b"sUSD".ljust(32, b"\0")
# Days to expiry and base IV of the first boards: a calm, slightly rising term structure.
FIRST_BOARDS = ((7, 0.85), (30, 0.88), (63, 0.91), (91, 0.93))

_SECURITY_MODULE = "0xeFEfeFEfeFeFEFEFEfefeFeFefEfEfEfeFEFEFEf"
_HOUR_S = 3600
_WEEK_S = 7 * DAY_S
_POOL_DEPOSIT_USD = 20_000_000


def e18(value: float) -> int:
    """1e18 fixed point, exact to 1e-9."""
    return round(value * 10**9) * 10**9


@dataclass(frozen=True, kw_only=True)
class Lyra:
    """The contracts of one option market."""

    adapter: Contract
    viewer: Contract
    market: Contract
    pricer: Contract
    greeks: Contract
    pool: Contract
    pool_token: Contract
    option_token: Contract
    collateral: Contract
    hedger: Contract
    rates: Contract
    susd: Contract
    seth: Contract

    @property
    def addresses(self) -> dict[str, Any]:
        """Return where each lies, by the name that a deployment has for it."""
        return {
            "lyra_option_market": self.market.address,
            "lyra_option_token": self.option_token.address,
            "lyra_greek_cache": self.greeks.address,
            "lyra_liquidity_pool": self.pool.address,
            "lyra_short_collateral": self.collateral.address,
            "lyra_pricer": self.pricer.address,
            "lyra_viewer": self.viewer.address,
            "lyra_synthetix_adapter": self.adapter.address,
            "lyra_exchange_rates": self.rates.address,
            "lyra_pool_hedger": self.hedger.address,
        }


async def deploy_lyra(bench: Bench, susd: Contract, *, spot_usd: float) -> Lyra:
    """Deploy, wire, parametrise and fund one market at ``spot_usd``; boards are listed separately."""
    lyra = await _create(bench, susd)
    await _wire_synthetix(bench, lyra, spot_usd)
    await _wire_market(lyra)
    await _set_pool_parameters(lyra)
    await _set_pricing_parameters(lyra)
    await _fund(lyra, bench.deployer)
    return lyra


async def list_first_boards(lyra: Lyra, *, now_s: int, spot_usd: float) -> tuple[int, ...]:
    """Open the first boards; return their ids by expiry."""
    for days, base_iv in FIRST_BOARDS:
        board = plan_board(now_s=now_s, days=days, spot_usd=spot_usd, base_iv=base_iv)
        await lyra.market.send("createOptionBoard", *board_call(board))
    boards: tuple[int, ...] = await lyra.market.call("getLiveBoards")
    for board_id in boards:
        await lyra.greeks.send("updateBoardCachedGreeks", board_id)
    return tuple(boards)


async def _create(bench: Bench, susd: Contract) -> Lyra:
    adapter = await bench.deploy("SynthetixAdapter")
    await adapter.send("initialize")
    libraries = {name: (await bench.deploy(name)).address for name in ("GWAV", "BlackScholes")}
    return Lyra(
        adapter=adapter,
        viewer=await bench.deploy("OptionMarketViewer"),
        market=await bench.deploy("OptionMarket"),
        pricer=await bench.deploy("OptionMarketPricer"),
        greeks=await bench.deploy("OptionGreekCache", libraries=libraries),
        pool=await bench.deploy("LiquidityPool"),
        pool_token=await bench.deploy("LiquidityToken", "ETH Lyra LP", "LPETH"),
        option_token=await bench.deploy("OptionToken", "Lyra ETH options", "LETH"),
        collateral=await bench.deploy("ShortCollateral"),
        hedger=await bench.deploy("ShortPoolHedger"),
        rates=await bench.deploy("TestExchangeRates"),
        susd=susd,
        seth=await bench.deploy("TestERC20Fail", "Synthetic ETH", "sETH"),
    )


async def _wire_synthetix(bench: Bench, lyra: Lyra, spot_usd: float) -> None:
    """The synth exchange that Lyra hedges through: Lyra's own doubles, free to mint and burn."""
    resolver = await bench.deploy("TestAddressResolver")
    exchanger = await bench.deploy("TestExchanger")
    synthetix = await bench.deploy("TestSynthetixReturnZero")
    approvals = await bench.deploy("TestDelegateApprovals")
    shorts = await bench.deploy("TestCollateralShort")
    await synthetix.send("init", lyra.adapter.address, lyra.susd.address, resolver.address)
    await shorts.send("init", lyra.adapter.address, lyra.susd.address)
    named = {
        "ProxySynthetix": synthetix,
        "Exchanger": exchanger,
        "ExchangeRates": lyra.rates,
        "CollateralShort": shorts,
        "DelegateApprovals": approvals,
    }
    keys = [name.encode().ljust(32, b"\0") for name in named]
    await resolver.send("setAddresses", keys, [contract.address for contract in named.values()])
    for minter in (synthetix, shorts):
        for token in (lyra.susd, lyra.seth):
            await token.send("permitMint", minter.address, True)
        await minter.send("addBaseAsset", SETH_KEY, lyra.seth.address, lyra.market.address)
    await lyra.adapter.send("setAddressResolver", resolver.address)
    await lyra.adapter.send("updateSynthetixAddresses")
    await exchanger.send("setFeeRateForExchange", SETH_KEY, SUSD_KEY, e18(0.003))
    await exchanger.send("setFeeRateForExchange", SUSD_KEY, SETH_KEY, e18(0.003))
    await lyra.rates.send("setRateAndInvalid", SETH_KEY, e18(spot_usd), False)


async def _wire_market(lyra: Lyra) -> None:
    adapter, market, pricer, greeks, pool, susd, seth = (
        contract.address
        for contract in (lyra.adapter, lyra.market, lyra.pricer, lyra.greeks, lyra.pool, lyra.susd, lyra.seth)
    )
    token, collateral, hedger = lyra.option_token.address, lyra.collateral.address, lyra.hedger.address
    await lyra.viewer.send("init", adapter)
    await lyra.market.send("init", adapter, pool, pricer, greeks, collateral, token, susd, seth)
    await lyra.pricer.send("init", market, greeks)
    await lyra.greeks.send("init", adapter, market, pricer)
    await lyra.pool.send(
        "init", adapter, market, lyra.pool_token.address, greeks, hedger, collateral, susd, seth
    )
    await lyra.pool_token.send("init", pool)
    await lyra.hedger.send("init", adapter, market, greeks, pool, susd, seth)
    await lyra.collateral.send("init", market, pool, token, adapter, susd, seth)
    await lyra.option_token.send("init", market, greeks, collateral, adapter)
    await lyra.adapter.send("setGlobalsForContract", market, SUSD_KEY, SETH_KEY, _SECURITY_MODULE, b"")
    await lyra.viewer.send(
        "addMarket",
        (pool, lyra.pool_token.address, greeks, market, pricer, token, collateral, hedger, susd, seth),
    )


async def _set_pool_parameters(lyra: Lyra) -> None:
    await lyra.market.send("setOptionMarketParams", (52 * _WEEK_S, _SECURITY_MODULE, e18(0.1), e18(0.0075)))
    await lyra.pool.send(
        "setLiquidityPoolParameters",
        (
            e18(1), _WEEK_S, _WEEK_S, e18(0.01),  # minimum, delays and fee of deposits and withdrawals
            e18(0.01), 3 * DAY_S, e18(0.1), e18(0.35), 12 * _HOUR_S, 12 * _HOUR_S,  # circuit breakers of LPs
            ZERO, 2 * _WEEK_S, 6 * _HOUR_S, e18(0.01),  # guardian, its delay, after settlement, most fee paid
        ),
    )  # fmt: skip
    await lyra.hedger.send("setPoolHedgerParams", (24 * _HOUR_S, UNLIMITED))
    await lyra.hedger.send("setShortBuffer", e18(2))
    await lyra.option_token.send("setPartialCollateralParams", (e18(0.2), e18(0.4), e18(0.3), e18(15)))


async def _set_pricing_parameters(lyra: Lyra) -> None:
    """Fees near what Lyra charged on Optimism; limits wide enough for tails and for a crash.

    Interest is zero, as in the bot's own model. ``minDelta`` 0.01 lets 0.05-delta puts trade and still be
    sold after ETH has risen; Lyra's usual 0.15 would not.
    """
    await lyra.greeks.send(
        "setGreekCacheParameters",
        (40, e18(0.05), 3 * _HOUR_S, DAY_S, 3 * DAY_S, DAY_S, 3 * DAY_S, e18(0.5), e18(2), 0),
    )
    await lyra.greeks.send(
        "setMinCollateralParameters",
        (e18(0.2), e18(200), e18(2.5), 2 * _WEEK_S, e18(1.8), 8 * _WEEK_S, e18(1.2), e18(0.8)),
    )
    shocks = (e18(1.2), e18(1.4), e18(0.8), e18(0.5), e18(1.3), e18(1.6))
    await lyra.greeks.send(
        "setForceCloseParameters", (12 * _HOUR_S, 24 * _HOUR_S, *shocks, e18(0.01), e18(0.02))
    )
    option_fee = (e18(0.025), 6 * _WEEK_S, 16 * _WEEK_S)
    spot_fee = (e18(0.0009), 6 * _WEEK_S, 12 * _WEEK_S)
    vega_fee, standard_size, skew_factor = e18(30), e18(100), e18(0.5)
    await lyra.pricer.send("setPricingParams", (*option_fee, *spot_fee, vega_fee, standard_size, skew_factor))
    base_iv, skew, vol, absolute_skew = (0.1, 5.0), (0.3, 4.0), (0.1, 8.0), (0.15, 5.0)
    await lyra.pricer.send(
        "setTradeLimitParams",
        (
            e18(0.01), e18(0.03), DAY_S // 2,
            *(e18(bound) for bounds in (base_iv, skew, vol, absolute_skew) for bound in bounds),
            False,
        ),
    )  # fmt: skip
    variance = (0.25, 0.25, 3, 1, 1, 0.01, 0, 1.5, 1)
    await lyra.pricer.send("setVarianceFeeParams", tuple(e18(number) for number in variance))


async def _fund(lyra: Lyra, provider: str) -> None:
    await lyra.susd.send("mint", provider, e18(_POOL_DEPOSIT_USD))
    await lyra.susd.send("approve", lyra.pool.address, e18(_POOL_DEPOSIT_USD))
    await lyra.pool.send("initiateDeposit", provider, e18(_POOL_DEPOSIT_USD))
    await lyra.hedger.send("openShortAccount")
    await lyra.hedger.send("hedgeDelta")
