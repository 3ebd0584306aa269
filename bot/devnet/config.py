"""The configuration file of a devnet: what a user would write by hand for any other chain."""

import json
from pathlib import Path

from eth_account import Account
from eth_account.hdaccount import ETHEREUM_DEFAULT_PATH

from bot.devnet.deployment import CHAIN_ID, MNEMONIC, USER, Deployment
from bot.watchers.v4_pools import NATIVE

PASSWORD = "devnet"  # noqa: S105 - the key itself is the node's well-known test key

_TEMPLATE = """\
# Configuration of a local devnet, written by `alvh devnet up`. docs/configuration.md explains every key.
state_dir = {state_dir}

[chain]
id = {chain_id}
rpc_url = {rpc_url}
multicall3 = {d.multicall3!r}
confirmations = 1
poll_s = 1.0
clock = "chain" # time moves only with blocks here

[[feeds]]
label = "ETH/USD"
underlying = "ETH"
address = {d.feed_eth_usd!r}
heartbeat_s = 7200

{pools}
[[perps]]
underlying = "ETH"
exchange = {d.perp_exchange!r}
base_token = {d.perp_base_token!r}
config = {d.perp_clearing_house_config!r}

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
settlement_pool_fee = {d.stable_pool_fee}
swap_router = {d.v3_router!r}
quoter = {d.v3_quoter!r}
stable = {d.usdc!r}

[managers]
v3_position_manager = {d.v3_position_manager!r}
v3_factory = {d.v3_factory!r}
v3_tick_lens = {d.v3_tick_lens!r}
v4_position_manager = {d.v4_position_manager!r}
v4_state_view = {d.v4_state_view!r}

[[positions]]
kind = "uniswap_v3"
pool = "v3:ETH/USDC"
token_id = {d.user_v3_token_id}

[[positions]]
kind = "uniswap_v2"
pool = "v2:ETH/USDC"
holder = {d.user!r}

[account]
address = {d.user!r}
keystore = {keystore}
password_file = {password_file}

[policy]
preset = "classic"
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


# Beside what decisions need; at a pace that a devnet with a block every other second does not feel.
_WATCH = """
# Watched beside it. A devnet's Aave prices and its v4 pool stay where they are, and so does its v3 pool until
# somebody trades: until then twap_vol is unknown.
[[watch]]
kind = "gas"
every_s = 12
blocks = 5 # a node that has just loaded its state knows the fees of no earlier block

[[watch]]
kind = "uniswap_v4"
every_s = 60

[watch.pool]
label = "v4:ETH/USDC"
manager = {d.v4_pool_manager!r}
state_view = {d.v4_state_view!r}
base = "ETH"
quote = "USDC"
base_token = {native!r}
quote_token = {d.usdc!r}
base_decimals = 18
quote_decimals = 6
fee = {d.v4_pool_fee}
tick_spacing = {d.v4_tick_spacing}

[[watch]]
kind = "erc4626"
every_s = 60
label = "vault:USDC"
vault = {d.usdc_vault!r}
share = "vUSDC"
share_decimals = 6
asset = "USDC"
asset_token = {d.usdc!r}
asset_decimals = 6

[[watch]]
kind = "aave_v3"
every_s = 30
label = "aave"
addresses_provider = {d.aave_addresses_provider!r}
reserves = [
  {{symbol = "WETH", address = {d.weth!r}, decimals = 18}},
  {{symbol = "USDC", address = {d.usdc!r}, decimals = 6}},
]
accounts = [{{label = "loan", address = {d.user!r}}}]

[[watch]]
kind = "admin_events"
every_s = 60
label = "Lyra option market"
address = {d.lyra_option_market!r}
window_blocks = 90 # three minutes
paused_from = "nowhere"
expected_owner = {d.deployer!r}

[[watch]]
kind = "twap_vol"
every_s = 600
pool = "v3:ETH/USDC"
window_s = 600
windows = 12
"""


def _pools(d: Deployment) -> str:
    pools = (
        ("v2:ETH/USDC", "v2", d.v2_pair, d.weth),
        ("v3:ETH/USDC", "v3", d.v3_pool, d.weth),
        ("v3:sUSD/USDC", "v3", d.stable_pool, d.susd),
    )
    return "\n".join(
        _POOL.format(label=label, version=version, address=address, base=base, quote=d.usdc)
        for label, version, address, base in pools
    )


def write_config(deployment: Deployment, *, rpc_url: str, directory: Path, watch: bool = False) -> Path:
    """Write alvh.toml, an encrypted keystore and its password file (0600) into ``directory``.

    ``watch``: with sources beyond what a scenario moves. Not where one runs: to the signals a pool that stays
    behind the market is a pool in trouble.
    """
    directory.mkdir(parents=True, exist_ok=True)
    keystore, password_file = directory / "keystore.json", directory / "password.txt"
    _write_private(keystore, json.dumps(_keystore()))
    _write_private(password_file, PASSWORD + "\n")
    path = directory / "alvh.toml"
    text = _TEMPLATE.format(
        d=deployment,
        pools=_pools(deployment),
        chain_id=CHAIN_ID,
        rpc_url=json.dumps(rpc_url),
        state_dir=json.dumps(str(directory)),
        keystore=json.dumps(str(keystore)),
        password_file=json.dumps(str(password_file)),
    )
    text += _WATCH.format(d=deployment, native=NATIVE) if watch else ""
    path.write_text(text, encoding="utf-8")
    return path


def _keystore() -> dict[str, object]:
    Account.enable_unaudited_hdwallet_features()
    path = ETHEREUM_DEFAULT_PATH.rsplit("/", 1)[0] + f"/{USER}"
    account = Account.from_mnemonic(MNEMONIC, account_path=path)
    keystore: dict[str, object] = Account.encrypt(account.key, PASSWORD)
    return keystore


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
