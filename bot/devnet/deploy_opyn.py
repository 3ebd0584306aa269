"""Opyn Gamma in its reference contracts, with option series that trade on the devnet's Uniswap v3.

A writer mints every series against full collateral and gives the oTokens, with USDC, to a pool of their own:
a passive market around the model price of the day it was made, as oTokens had one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.devnet.boards import DAY_S, EXPIRY_HOUR_S
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deploy_tokens import UNLIMITED
from bot.devnet.deploy_uniswap import FEE_VOLATILE, UniswapV3, add_v3, create_pool, v3_split
from bot.model.units import YEAR_S
from bot.quant import options

LOCKING_S, DISPUTE_S = 600, 7200  # after expiry, then after the push of the price
DECIMALS = 8  # of oTokens, strikes and prices
OPEN_VAULT, MINT_SHORT, DEPOSIT_COLLATERAL, SETTLE_VAULT, REDEEM = 0, 1, 5, 7, 8  # of Controller.operate

_ZERO = "0x" + "00" * 20
_FIRST_PUTS = ((8, 0.95), (30, 0.90), (30, 0.80), (58, 0.65))  # days, strike over spot
_FIRST_CALLS = ((30, 1.10),)
_IV = 0.90  # at which the pools are opened
_POOL_TICKS = 1  # observations: nobody reads these pools' averages
_RANGE = 15.0  # the writer quotes from a fifteenth of the model price to fifteen times it


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynSeries:
    """One option that is to be listed, ``contracts`` of it for sale."""

    strike_usd: float
    expiry_s: int  # 08:00 UTC
    is_put: bool
    contracts: int = 200

    def model_usd(self, *, spot_usd: float, now_s: float, vol: float = _IV) -> float:
        """Black-Scholes value of one option."""
        years = (self.expiry_s - now_s) / YEAR_S
        return float(options.price(spot_usd, self.strike_usd, years, vol, is_put=self.is_put))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpynOtoken:
    """A listed series: its token, its Uniswap v3 pool against USDC, and the vault that wrote it."""

    series: OpynSeries
    otoken: Contract
    pool: str
    vault_id: int  # of the writer

    @property
    def address(self) -> str:
        return self.otoken.address


@dataclass(frozen=True, slots=True, kw_only=True)
class Opyn:
    """The contracts of one Gamma system. The deployer owns and may pause them."""

    address_book: Contract
    factory: Contract
    whitelist: Contract
    oracle: Contract
    pricer: Contract  # of WETH; the deployer is its trusted bot
    margin_pool: Contract
    controller: Contract
    v3: UniswapV3
    usdc: Contract
    weth: Contract
    writer: str


def first_series(*, now_s: float, spot_usd: float) -> tuple[OpynSeries, ...]:
    """Puts for each hedge layer and one call, at round strikes, expiring at 08:00 UTC."""
    midnight_s = int(now_s) // DAY_S * DAY_S
    listed = [(*terms, True) for terms in _FIRST_PUTS] + [(*terms, False) for terms in _FIRST_CALLS]
    return tuple(
        OpynSeries(
            strike_usd=round(spot_usd * moneyness / 50) * 50.0,
            expiry_s=midnight_s + days * DAY_S + EXPIRY_HOUR_S,
            is_put=is_put,
        )
        for days, moneyness, is_put in listed
    )


async def deploy_opyn(
    bench: Bench, v3: UniswapV3, *, usdc: Contract, weth: Contract, feed: str, writer: str
) -> Opyn:
    """Deploy and wire the system: USDC is stable at 1 USD, WETH is priced by the Chainlink ``feed``."""
    book = await bench.deploy_own("reference/OpynGammaAddressBook")
    oracle = await bench.deploy_own("reference/OpynGammaOracle")
    whitelist = await bench.deploy_own("reference/OpynGammaWhitelist", book.address)
    pool = await bench.deploy_own("reference/OpynGammaMarginPool", book.address)
    code = await bench.deploy_own("reference/OpynGammaOtoken")
    factory = await bench.deploy_own("reference/OpynGammaOtokenFactory", book.address)
    for function, contract in (
        ("setOracle", oracle),
        ("setWhitelist", whitelist),
        ("setMarginPool", pool),
        ("setOtokenImpl", code),
        ("setOtokenFactory", factory),
    ):
        await book.send(function, contract.address)
    controller = await bench.deploy_own("reference/OpynGammaController", book.address)
    await book.send("setController", controller.address)
    pricer = await bench.deploy_own(
        "reference/OpynGammaChainlinkPricer", bench.deployer, weth.address, feed, oracle.address
    )
    opyn = Opyn(
        address_book=book,
        factory=factory,
        whitelist=whitelist,
        oracle=oracle,
        pricer=pricer,
        margin_pool=pool,
        controller=controller,
        v3=v3,
        usdc=usdc,
        weth=weth,
        writer=writer,
    )
    await _configure(opyn)
    return opyn


async def list_series(opyn: Opyn, series: OpynSeries, *, spot_usd: float, now_s: float) -> OpynOtoken:
    """Create one series, write it whole and open its market."""
    terms = terms_of(opyn, series)
    await opyn.factory.send("createOtoken", *terms)
    otoken = opyn.factory.bench.own_at(
        "reference/OpynGammaOtoken", await opyn.factory.call("getOtoken", *terms)
    )
    vault_id = await write(opyn, otoken, series, contracts=series.contracts)
    pool = await _open_pool(opyn, otoken, series, price_usd=series.model_usd(spot_usd=spot_usd, now_s=now_s))
    return OpynOtoken(series=series, otoken=otoken, pool=pool, vault_id=vault_id)


async def write(opyn: Opyn, otoken: Contract, series: OpynSeries, *, contracts: int) -> int:
    """Mint options to the writer from a new vault with collateral for all of them; return the vault's id."""
    writer, amount = opyn.writer, contracts * 10**DECIMALS
    collateral = opyn.usdc if series.is_put else opyn.weth
    needed = contracts * (round(series.strike_usd * 10**6) if series.is_put else 10**18)
    await _fund(opyn, collateral, needed)
    await collateral.send("approve", opyn.margin_pool.address, needed, sender=writer)
    vault_id = int(await opyn.controller.call("getAccountVaultCounter", writer)) + 1
    actions = [
        (OPEN_VAULT, writer, writer, _ZERO, vault_id, 0, 0, b""),
        (DEPOSIT_COLLATERAL, writer, writer, collateral.address, vault_id, needed, 0, b""),
        (MINT_SHORT, writer, writer, otoken.address, vault_id, amount, 0, b""),
    ]
    await opyn.controller.send("operate", actions, sender=writer)
    return vault_id


def terms_of(opyn: Opyn, series: OpynSeries) -> tuple[str, str, str, int, int, bool]:
    """What the factory knows a series by."""
    collateral = opyn.usdc if series.is_put else opyn.weth
    assets = (opyn.weth.address, opyn.usdc.address, collateral.address)
    return (*assets, round(series.strike_usd * 10**DECIMALS), series.expiry_s, series.is_put)


async def first_markets(
    opyn: Opyn, *, spot_usd: float, now_s: float, series: Sequence[OpynSeries] | None = None
) -> tuple[OpynOtoken, ...]:
    """List the first series, or those that are given."""
    wanted = first_series(now_s=now_s, spot_usd=spot_usd) if series is None else series
    return tuple([await list_series(opyn, one, spot_usd=spot_usd, now_s=now_s) for one in wanted])


async def _configure(opyn: Opyn) -> None:
    usdc, weth = opyn.usdc.address, opyn.weth.address
    await opyn.oracle.send("setStablePrice", usdc, 10**DECIMALS)
    await opyn.oracle.send("setAssetPricer", weth, opyn.pricer.address)
    await opyn.oracle.send("setLockingPeriod", opyn.pricer.address, LOCKING_S)
    await opyn.oracle.send("setDisputePeriod", opyn.pricer.address, DISPUTE_S)
    await opyn.oracle.send("setDisputer", opyn.oracle.bench.deployer)
    for collateral, is_put in ((usdc, True), (weth, False)):
        await opyn.whitelist.send("whitelistCollateral", collateral)
        await opyn.whitelist.send("whitelistProduct", weth, usdc, collateral, is_put)


async def _open_pool(opyn: Opyn, otoken: Contract, series: OpynSeries, *, price_usd: float) -> str:
    """Create the pool at ``price_usd`` and give it all of the series, with the USDC that belongs to it."""
    lower, upper = price_usd / _RANGE, price_usd * _RANGE
    units, _ = v3_split(1.0, price=price_usd, lower=lower, upper=upper)
    _, usdc = v3_split(series.contracts / units, price=price_usd, lower=lower, upper=upper)
    pool = await create_pool(
        otoken.bench,
        opyn.v3,
        unit=(otoken, DECIMALS),
        pricing=(opyn.usdc, 6),
        fee=FEE_VOLATILE,
        price=price_usd,
        cardinality=_POOL_TICKS,
    )
    await _fund(opyn, opyn.usdc, round(usdc * 10**6))
    await add_v3(
        opyn.v3,
        pool,
        owner=opyn.writer,
        unit_raw=series.contracts * 10**DECIMALS,
        pricing_raw=round(usdc * 10**6),
        lower=lower,
        upper=upper,
    )
    return pool.address


async def _fund(opyn: Opyn, token: Contract, amount_raw: int) -> None:
    """Give the writer what it is to spend."""
    if token is opyn.weth:
        await token.send("deposit", sender=opyn.writer, value_wei=amount_raw)
    else:
        await token.send("mint", opyn.writer, amount_raw)


async def push_expiry_price(opyn: Opyn, *, expiry_s: int, round_id: int, sender: str | None = None) -> None:
    """Take a round of the feed into the oracle as the price at expiry; anyone may with the right round."""
    await opyn.pricer.send("setExpiryPriceInOracle", expiry_s, round_id, sender=sender)


async def redeem(opyn: Opyn, otoken: str, *, amount_raw: int, holder: str) -> None:
    """Exchange oTokens for their payout after settlement is allowed."""
    await opyn.controller.send(
        "operate", [(REDEEM, _ZERO, holder, otoken, 0, amount_raw, 0, b"")], sender=holder
    )


async def trade(opyn: Opyn, token: OpynOtoken, *, contracts: float, sender: str) -> None:
    """Buy (or sell, negative) oTokens at market as ``sender``, who has the tokens for it."""
    usdc, otoken = opyn.usdc, token.otoken
    spent = usdc if contracts > 0 else otoken
    await spent.send("approve", opyn.v3.router.address, UNLIMITED, sender=sender)
    amount, never = round(abs(contracts) * 10**DECIMALS), 2**40
    if contracts > 0:
        order = (usdc.address, otoken.address, FEE_VOLATILE, sender, never, amount, UNLIMITED, 0)
        await opyn.v3.router.send("exactOutputSingle", order, sender=sender)
    else:
        order = (otoken.address, usdc.address, FEE_VOLATILE, sender, never, amount, 0, 0)
        await opyn.v3.router.send("exactInputSingle", order, sender=sender)
    await spent.send("approve", opyn.v3.router.address, 0, sender=sender)
