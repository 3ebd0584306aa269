"""The configuration with which the bot runs on a system that `alvh testnet deploy` made."""

import json
import os
from pathlib import Path

from bot.chain.node_url import is_private_host
from bot.devnet.deploy_uniswap import FEE_STABLE
from bot.devnet.option_system import option_sections, v3_pool_sections
from bot.devnet.testnet import TestnetDeployment

URL_VARIABLE = "ALVH_TESTNET_RPC_URL"

_TEMPLATE = """\
# Written by `alvh testnet deploy` for {network}: the bot on a system of test contracts.
# docs/testnet.md says how to run it and keep it alive, docs/configuration.md explains every key.
state_dir = {state_dir}

[chain]
id = {d.chain_id}
rpc_url = {rpc_url}
multicall3 = {d.multicall3!r}
confirmations = {confirmations}
poll_s = {poll_s}

[[feeds]]
label = "ETH/USD"
underlying = "ETH"
address = {d.feed_eth_usd!r}
heartbeat_s = 3600 # `alvh testnet price --every 1800` keeps it fresh

{pools}
{options}
[[positions]]
kind = "uniswap_v3"
pool = "v3:ETH/USDC"
token_id = {d.user_v3_token_id}

[account]
address = {d.user!r}
keystore = {keystore}
{password_line}
[execution]
max_fee_gwei = {max_fee_gwei}

[policy]
preset = "classic"
"""


def write_bot_config(
    deployment: TestnetDeployment,
    path: Path,
    *,
    network: str,
    rpc_url: str,
    keystore: Path,
    password_file: Path | None,
    max_fee_gwei: float,
    poll_s: float,
) -> None:
    """Write the configuration file, readable by its owner only.

    The URL of a public node may hold a key, so it stands there as a variable of the environment.
    """
    url = rpc_url if is_private_host(rpc_url) else f"${{{URL_VARIABLE}}}"
    text = _TEMPLATE.format(
        d=deployment,
        network=network,
        state_dir=json.dumps(str(path.parent / "state")),
        rpc_url=json.dumps(url),
        confirmations=2,
        poll_s=max(1.0, poll_s),
        pools=v3_pool_sections(deployment),
        options=option_sections(deployment, stable_pool_fee=FEE_STABLE),
        keystore=json.dumps(str(keystore)),
        password_line=f"password_file = {json.dumps(str(password_file))}\n" if password_file else "",
        max_fee_gwei=max_fee_gwei,
    )
    draft = path.with_name(path.name + ".part")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    draft.replace(path)
