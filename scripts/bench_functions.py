"""The functions that contracts_abi/ knows, as web3.py wants them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bot.ports import Call


def abi_functions() -> Mapping[tuple[bytes, tuple[str, ...]], dict[str, Any]]:
    """Return the ABI entry of every function that we have an ABI of, by selector and output types."""
    from eth_utils.abi import function_abi_to_4byte_selector, get_abi_output_types

    folder = Path(__file__).parent.parent / "contracts_abi"
    entries = [
        entry
        for path in sorted(folder.glob("*.json"))
        for entry in json.loads(path.read_text("utf-8"))
        if entry["type"] == "function"
    ]
    return {
        (function_abi_to_4byte_selector(entry), tuple(get_abi_output_types(entry))): entry
        for entry in entries
    }


def entry_of(functions: Mapping[tuple[bytes, tuple[str, ...]], dict[str, Any]], call: Call) -> dict[str, Any]:
    """Return the entry of a call, cut to the first values where it reads no more (forks share those)."""
    found = functions.get((call.data[:4], call.outputs))
    if found is not None:
        return found
    size = len(call.outputs)
    whole = next(
        entry
        for (selector, types), entry in functions.items()
        if selector == call.data[:4] and types[:size] == call.outputs
    )
    return {**whole, "outputs": whole["outputs"][:size]}
