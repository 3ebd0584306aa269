"""Own Vyper contracts of a documented interface (tests/contracts), compiled and put on the devnet."""

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


async def deploy_reference(bench: Bench, name: str, *args: Any) -> Contract:
    """Deploy one of them from the deployer."""
    artifact = reference_artifact(name)
    data = artifact.encode_creation(*args, libraries={})
    receipt = await bench.transact(f"creation of {name}", to=None, data=data)
    return Contract(to_checksum_address(receipt["contractAddress"]), artifact, bench)
