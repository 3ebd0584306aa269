"""Own Vyper contracts of a documented interface (tests/contracts), compiled and put on the devnet.

``deploy_comet`` and ``deploy_gmx`` also set up the market that more than one test reads.
"""

from functools import cache
from pathlib import Path
from typing import Any

import vyper
from eth_utils.abi import collapse_if_tuple
from eth_utils.address import to_checksum_address
from vyper.compiler.input_bundle import FilesystemInputBundle

from bot.chain.abi import Abi
from bot.devnet.artifacts import Artifact
from bot.devnet.deploy_bench import Bench, Contract
from bot.devnet.deployment import Deployment
from bot.watchers.gmx_v2 import key, token_key

GMX_MARKET = "0x70d95587d40A2caf56bd97485aB3Eec10Bee6336"
GMX_LONG, GMX_SHORT = "0x" + "aa" * 20, "0x" + "bb" * 20
GMX_HOURLY = 10**30 // 3_600 // 10_000  # 0.01 % an hour, a second

_FOLDER = Path(__file__).parent / "contracts"


@cache
def reference_artifact(name: str) -> Artifact:
    """Compile ``tests/contracts/<name>.vy``."""
    source = (_FOLDER / f"{name}.vy").read_text(encoding="utf-8")
    built = vyper.compile_code(
        source, output_formats=["abi", "bytecode"], input_bundle=FilesystemInputBundle([_FOLDER])
    )
    parameters = [item["inputs"] for item in built["abi"] if item["type"] == "constructor"]
    return Artifact(
        name=name,
        abi=Abi(name, built["abi"]),
        constructor=tuple(map(collapse_if_tuple, parameters[0])) if parameters else (),
        creation_code=built["bytecode"].removeprefix("0x"),
        links={},
    )


@cache
def runtime_code(name: str) -> bytes:
    """Compile ``tests/contracts/<name>.vy`` to what stands at an address, for contracts of a fixed one."""
    source = (_FOLDER / f"{name}.vy").read_text(encoding="utf-8")
    built = vyper.compile_code(source, output_formats=["bytecode_runtime"])
    return bytes.fromhex(built["bytecode_runtime"].removeprefix("0x"))


async def deploy_reference(bench: Bench, name: str, *args: Any) -> Contract:
    """Deploy one of them from the deployer."""
    artifact = reference_artifact(name)
    data = artifact.encode_creation(*args, libraries={})
    receipt = await bench.transact(f"creation of {name}", to=None, data=data)
    return Contract(to_checksum_address(receipt["contractAddress"]), artifact, bench)


async def deploy_comet(bench: Bench, at: Deployment, feeds: dict[str, Contract]) -> Contract:
    """9,000 of 10,000 USDC are lent; the user owes 15,000 against 10 WETH, liquidated from 82.5 %."""
    found = await deploy_reference(bench, "Comet", at.usdc, feeds["USDC"].address, 10**6)
    await found.send("add_asset", at.weth, feeds["ETH"].address, 10**18, 825 * 10**15)
    await found.send("set_totals", 10_000 * 10**6, 9_000 * 10**6)
    await found.send("set_account", at.user, 0, 15_000 * 10**6, at.weth, 10 * 10**18)
    await found.send("set_account", at.whale, 10**6, 0, at.weth, 0)
    await bench.at("TestERC20SetDecimals", at.usdc).send("mint", found.address, 1_000 * 10**6)
    return found


async def deploy_comet_feeds(bench: Bench) -> dict[str, Contract]:
    """Feeds of 1 and 3,000 USD."""
    return {
        name: await bench.deploy_own("ChainlinkFeed", 8, name, round(price * 10**8))
        for name, price in {"USDC": 1.0, "ETH": 3_000.0}.items()
    }


async def deploy_gmx(bench: Bench) -> Contract:
    """A store with a market in which both sides hold positions and longs pay 0.01 % an hour."""
    found = await deploy_reference(bench, "GmxDataStore")
    await found.send("addAddress", key("MARKET_LIST"), GMX_MARKET)
    for name, token in (("LONG_TOKEN", GMX_LONG), ("SHORT_TOKEN", GMX_SHORT)):
        await found.send("setAddress", token_key(GMX_MARKET, name), token)
        for side in (True, False):
            await found.send("setUint", key("OPEN_INTEREST", GMX_MARKET, token, is_long=side), 10**36)
    await found.send("setUint", key("FUNDING_INCREASE_FACTOR_PER_SECOND", GMX_MARKET), 1)
    await found.send("setUint", key("MAX_FUNDING_FACTOR_PER_SECOND", GMX_MARKET), 2 * GMX_HOURLY)
    await found.send("setInt", key("SAVED_FUNDING_FACTOR_PER_SECOND", GMX_MARKET), GMX_HOURLY)
    return found
