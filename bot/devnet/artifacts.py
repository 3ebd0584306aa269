"""Contract artifacts: ABI and creation code, from hardhat, waffle, foundry and Vyper output alike."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple

from bot.chain.abi import Abi
from bot.errors import InvariantError

_OWN_CONTRACTS = Path(__file__).with_name("contracts")
_TYPECHAIN = re.compile(r'_bytecode = "0x([0-9a-f]+)"')
_VIEM_MULTICALL3 = re.compile(r"multicall3Bytecode = '(0x[0-9a-f]+)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One contract: what it answers to and the code that creates it."""

    name: str
    abi: Abi
    constructor: tuple[str, ...]  # canonical ABI types
    creation_code: str  # hex without 0x; library addresses are still open
    links: Mapping[str, list[int]]  # library -> byte offsets of its address in the code

    def encode_creation(self, *args: Any, libraries: Mapping[str, str]) -> str:
        """Creation code with the libraries' addresses put in and the constructor arguments after it."""
        code = self.creation_code
        for library, offsets in self.links.items():
            address = libraries[library].removeprefix("0x").lower()
            for offset in offsets:
                code = code[: offset * 2] + address + code[offset * 2 + 40 :]
        return "0x" + code + encode(self.constructor, args).hex()


def read_artifact(path: Path, name: str) -> Artifact:
    """Read a hardhat, waffle, foundry or own artifact file."""
    found = json.loads(path.read_text(encoding="utf-8"))
    code = found.get("bytecode") or found["evm"]["bytecode"]
    if isinstance(code, dict):  # waffle and foundry
        code = code["object"]
    links = {
        library: [reference["start"] for reference in references]
        for libraries in (found.get("linkReferences") or {}).values()
        for library, references in libraries.items()
    }
    constructors = [entry["inputs"] for entry in found["abi"] if entry["type"] == "constructor"]
    parameters = constructors[0] if constructors else []
    return Artifact(
        name=name,
        abi=Abi(name, found["abi"]),
        constructor=tuple(collapse_if_tuple(parameter) for parameter in parameters),
        creation_code=code.removeprefix("0x"),
        links=links,
    )


def own_artifact(name: str) -> Artifact:
    """One of our own small Vyper contracts, compiled beside its source."""
    return read_artifact(_OWN_CONTRACTS / f"{name}.json", name)


def viem_multicall3_creation(path: Path) -> str:
    """Creation code of Multicall3 out of viem's constants."""
    match = _VIEM_MULTICALL3.search(path.read_text(encoding="utf-8"))
    if match is None:
        raise InvariantError(f"{path.name} has no multicall3Bytecode")
    return match.group(1)


def typechain_creation(path: Path) -> str:
    """Creation code, hex without 0x, out of a contract factory that typechain wrote."""
    match = _TYPECHAIN.search(path.read_text(encoding="utf-8"))
    if match is None:
        raise InvariantError(f"{path.name} has no _bytecode")
    return match.group(1)
