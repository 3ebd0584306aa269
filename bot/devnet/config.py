"""The configuration file of a devnet: what a user would write by hand for any other chain."""

import json
from pathlib import Path

from bot.devnet.deployment import CHAIN_ID, MNEMONIC, USER, Deployment
from bot.devnet.option_system import option_sections, pool_section, v3_pool_sections
from bot.errors import ConfigError
from bot.watchers.v4_pools import NATIVE

PASSWORD = "devnet"  # noqa: S105 - the key itself is the node's well-known test key
_KEYSTORE_ROUNDS = 2**18  # of PBKDF2, the least that the signer accepts: there is nothing to protect

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

{options}v4_position_manager = {d.v4_position_manager!r}
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
{policy}
"""
DEFAULT_POLICY = "classic"


# Policy "steward" hedges NEAR with it. A scenario leaves it out: what it quotes moves what classic buys.
_PERPETUAL = """
[perp_v2]
underlying = "ETH"
symbol = "vETH"
base_token = {d.perp_base_token!r}
clearing_house = {d.perp_clearing_house!r}
vault = {d.perp_vault!r}
account_balance = {d.perp_account_balance!r}
exchange = {d.perp_exchange!r}
config = {d.perp_clearing_house_config!r}
collateral = {d.usdc!r}
"""


# Covers of what the user's positions lie in; product numbers as bot/devnet/deploy_nexus.py lists them.
_COVER = """
[nexus]
cover = {d.nexus_cover!r}
seller = {d.nexus_broker!r}
nft = {d.nexus_nft!r}
cover_products = {d.nexus_products!r}
staking_viewer = {d.nexus_staking_viewer!r}
pool = {d.nexus_pool!r}
claims = {d.nexus_claims!r}
registry = {d.nexus_registry!r}
stable = {d.usdc!r}
products = {{aave-v3 = 0, uniswap-v3 = 1}}
from_block = 0
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


# A vault and a market with a guard: watched beside the market, or standing for the protocol of the positions.
_VAULT = """
[[watch]]
kind = "erc4626"
label = "vault:USDC"
vault = {d.usdc_vault!r}
share = "vUSDC"
share_decimals = 6
asset = "USDC"
asset_token = {d.usdc!r}
asset_decimals = 6
"""
_AAVE = """
[[watch]]
kind = "aave_v3"
label = "aave"
addresses_provider = {d.aave_addresses_provider!r}
reserves = [
  {{symbol = "WETH", address = {d.weth!r}, decimals = 18}},
  {{symbol = "USDC", address = {d.usdc!r}, decimals = 6}},
]
"""
_LOAN = """\
accounts = [{{label = "loan", address = {d.user!r}}}]
"""
_PROTOCOL_POLICY = """\
name = {name}
extends = {preset}

[dependencies] # the market with a guard stands for what the positions lie in
uniswap-v2 = ["aave"]
uniswap-v3 = ["aave"]
"""


def _pools(d: Deployment) -> str:
    v2 = pool_section("v2:ETH/USDC", "v2", d.v2_pair, base=d.weth, quote=d.usdc)
    return f"{v2}\n{v3_pool_sections(d)}"


def write_config(
    deployment: Deployment,
    *,
    rpc_url: str,
    directory: Path,
    whole: bool = False,
    policy: str = DEFAULT_POLICY,
    protocol: bool = False,
) -> Path:
    """Write alvh.toml, an encrypted keystore and its password file (0600) into ``directory``.

    ``whole``: with the perpetual market, the mutual, and sources beyond what a scenario moves. Not where one
    runs: to the signals a pool that stays behind the market is a pool in trouble. ``policy`` is a preset or
    the path of a file; any but the one that demos run hedges with the perpetual market too. ``protocol``: a
    vault and a market with a guard are watched, and stand for the protocol of the positions (presets alone).
    """
    directory.mkdir(parents=True, exist_ok=True)
    keystore, password_file = directory / "keystore.json", directory / "password.txt"
    _write_private(keystore, json.dumps(_keystore()))
    _write_private(password_file, PASSWORD + "\n")
    path = directory / "alvh.toml"
    if protocol:
        policy = _protocol_policy(policy, directory)
    text = _TEMPLATE.format(
        d=deployment,
        pools=_pools(deployment),
        options=option_sections(deployment, stable_pool_fee=deployment.stable_pool_fee),
        chain_id=CHAIN_ID,
        rpc_url=json.dumps(rpc_url),
        state_dir=json.dumps(str(directory)),
        keystore=json.dumps(str(keystore)),
        password_file=json.dumps(str(password_file)),
        policy=_policy_line(policy),
    )
    text += _beside(deployment, whole=whole, protocol=protocol, perpetual=whole or policy != DEFAULT_POLICY)
    path.write_text(text, encoding="utf-8")
    return path


def _beside(deployment: Deployment, *, whole: bool, protocol: bool, perpetual: bool) -> str:
    """Return the sections beside what every scenario needs."""
    vault, aave = _VAULT.format(d=deployment), _AAVE.format(d=deployment)
    text = vault + aave if protocol and not whole else ""
    if perpetual:
        text += perpetual_section(deployment)
    if whole:
        text += cover_section(deployment) + _WATCH.format(d=deployment, native=NATIVE)
        text += f"{vault}every_s = 60\n{aave}every_s = 30\n{_LOAN.format(d=deployment)}"
    return text


def _policy_line(policy: str) -> str:
    if policy.endswith(".toml"):
        return f"file = {json.dumps(str(Path(policy).resolve()))}"
    return f"preset = {json.dumps(policy)}"


def _protocol_policy(preset: str, directory: Path) -> str:
    if preset.endswith(".toml"):
        raise ConfigError(f"--devnet adds to a preset in this scenario and cannot to {preset}; name a preset")
    path = directory / "policy.toml"
    words = _PROTOCOL_POLICY.format(name=json.dumps(f"{preset} on a devnet"), preset=json.dumps(preset))
    path.write_text(words, encoding="utf-8")
    return str(path)


def cover_section(deployment: Deployment) -> str:
    """Return the section of the devnet's mutual (R20)."""
    return _COVER.format(d=deployment)


def perpetual_section(deployment: Deployment) -> str:
    """Return the section of the devnet's perpetual market (R27)."""
    return _PERPETUAL.format(d=deployment)


def _keystore() -> dict[str, object]:
    from bot.chain.accounts import ETHEREUM_DEFAULT_PATH, Account

    Account.enable_unaudited_hdwallet_features()
    path = ETHEREUM_DEFAULT_PATH.rsplit("/", 1)[0] + f"/{USER}"
    account = Account.from_mnemonic(MNEMONIC, account_path=path)
    keystore: dict[str, object] = Account.encrypt(
        account.key, PASSWORD, kdf="pbkdf2", iterations=_KEYSTORE_ROUNDS
    )
    return keystore


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    path.write_text(text, encoding="utf-8")
