"""What a devnet and a test chain have alike: tokens, feed, Uniswap v3, Lyra v1; how that is configured."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

_SECTIONS = """\
[lyra]
underlying = "ETH"
option_market = {d.lyra_option_market!r}
option_token = {d.lyra_option_token!r}
pricer = {d.lyra_pricer!r}
liquidity_pool = {d.lyra_liquidity_pool!r}
short_collateral = {d.lyra_short_collateral!r}
synthetix_adapter = {d.lyra_synthetix_adapter!r}
settlement = {d.susd!r}
settlement_symbol = "sUSD"
settlement_pool_fee = {stable_pool_fee}
swap_router = {d.v3_router!r}
quoter = {d.v3_quoter!r}
stable = {d.usdc!r}

[managers]
v3_position_manager = {d.v3_position_manager!r}
v3_factory = {d.v3_factory!r}
v3_tick_lens = {d.v3_tick_lens!r}
"""

_POOL = """\
[[pools]]
label = "{label}"
kind = "uniswap_{version}"
address = {address!r}
base = {base!r}
quote = {quote!r}
base_decimals = 18
quote_decimals = 6
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionSystem:
    """Where it lies; ``v3_pool`` is WETH/USDC 0.05 %. All addresses are checksummed."""

    multicall3: str
    weth: str
    usdc: str  # 6 decimals
    susd: str  # 18 decimals; Lyra quotes and settles in it
    feed_eth_usd: str  # Chainlink interface, 8 decimals; owner: deployer
    v3_factory: str
    v3_router: str
    v3_quoter: str  # QuoterV2
    v3_position_manager: str
    v3_tick_lens: str
    v3_pool: str
    stable_pool: str  # USDC/sUSD, Uniswap v3
    lyra_option_market: str
    lyra_option_token: str
    lyra_greek_cache: str
    lyra_liquidity_pool: str
    lyra_short_collateral: str
    lyra_pricer: str
    lyra_viewer: str
    lyra_synthetix_adapter: str
    lyra_exchange_rates: str  # the test rates: setRateAndInvalid(bytes32 "sETH", price, false)
    lyra_pool_hedger: str
    user: str  # the bot's account
    user_v3_token_id: int

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        draft = path.with_name(path.name + ".part")
        draft.write_text(self.to_json(), encoding="utf-8")
        draft.replace(path)


def pool_section(label: str, version: str, address: str, *, base: str, quote: str) -> str:
    """Return the section of a pool of a token with 18 decimals, priced in one with 6."""
    return _POOL.format(label=label, version=version, address=address, base=base, quote=quote)


def v3_pool_sections(system: OptionSystem) -> str:
    """Return the sections of both v3 pools."""
    return "\n".join(
        pool_section(label, "v3", address, base=base, quote=system.usdc)
        for label, address, base in (
            ("v3:ETH/USDC", system.v3_pool, system.weth),
            ("v3:sUSD/USDC", system.stable_pool, system.susd),
        )
    )


def option_sections(system: OptionSystem, *, stable_pool_fee: int) -> str:
    """Return ``[lyra]``, and after it ``[managers]``, which others may add keys to."""
    return _SECTIONS.format(d=system, stable_pool_fee=stable_pool_fee)
