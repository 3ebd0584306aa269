"""What code stood behind each contract when a person last looked: an upgraded venue is refused (REL-T12).

Pinned are the code itself and, of a proxy, which code it runs: the implementation or beacon in the slots of
EIP-1967 and of the older OpenZeppelin proxies, and what stands there. A diamond (EIP-2535) or a proxy that
keeps its target elsewhere shows only its own code.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from bot.chain.node_errors import RpcError
from bot.chain.replies import hex_bytes
from bot.chain.rpc import Node
from bot.errors import ConfigError, TransientError, VenueRejected
from bot.model.parsing import json_of

# keccak("eip1967.proxy.implementation") - 1, keccak("eip1967.proxy.beacon") - 1, and keccak of
# "org.zeppelinos.proxy.implementation", which USDC uses.
SLOTS: Mapping[str, str] = {
    "implementation": "0x360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc",
    "beacon": "0xa3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50",
    "zeppelinos": "0x7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3",
}
_IMPLEMENTATION = "0x5c60da1b"  # implementation() of a beacon
_ADDRESS_HEX = 40
RpcCall = tuple[str, Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodePin:
    """The code of one contract. Hashes and addresses are 0x hex in lower case; "" is none."""

    code_hash: str
    target: str = ""  # where a proxy's slot points: an implementation, or a beacon
    behind: str = ""  # what a beacon points to
    target_hash: str = ""  # of the code at ``target``
    behind_hash: str = ""

    @property
    def followed(self) -> tuple[str, ...]:
        return tuple(address for address in (self.target, self.behind) if address)


class CodePins:
    """The pins of all contracts that a plan may call. Immutable; ``rows`` is what to keep on disk."""

    def __init__(self, pins: Mapping[str, CodePin]) -> None:
        self._pins = {address.lower(): pin for address, pin in pins.items()}

    @classmethod
    async def read(cls, node: Node, targets: Iterable[str], *, block: Any = "latest") -> "CodePins":
        """Read what stands at each target now. Raises ConfigError for one without code, TransientError."""
        found = {}
        for address in dict.fromkeys(target.lower() for target in targets):
            found[address] = await _read_pin(node, address, block)
        return cls(found)

    @classmethod
    def of_rows(cls, rows: Mapping[str, Mapping[str, str]]) -> "CodePins":
        """Return pins that were kept. Raises ConfigError when they are damaged."""
        try:
            return cls({address: CodePin(**fields) for address, fields in rows.items()})
        except (TypeError, AttributeError) as error:
            raise ConfigError(f"the pinned code of the venues cannot be read: {error}") from None

    @property
    def rows(self) -> dict[str, dict[str, str]]:
        return {address: asdict(pin) for address, pin in self._pins.items()}

    def changes(self, now: "CodePins") -> dict[str, str]:
        """Return, by address, how the pins differ from what is found now; of what both sides have."""
        return {
            address: problem
            for address, pin in self._pins.items()
            if address in now._pins and (problem := _difference(pin, now._pins[address]))
        }

    def calls(self, to: str, block: Any) -> list[RpcCall]:
        """Return the reads that prove one target unchanged; none when it is not pinned."""
        pin = self._pins.get(to.lower())
        return [] if pin is None else _calls(to.lower(), pin.target, pin.behind, block)

    def check(self, to: str, replies: Sequence[Any]) -> None:
        """Refuse a target whose code is not the pinned one. Raises VenueRejected, or TransientError."""
        pin = self._pins.get(to.lower())
        if pin is None:
            return
        found = _pin_of(replies, pin.target, pin.behind)
        if problem := _difference(pin, found):
            raise VenueRejected(
                f"the contract {to.lower()} was changed since it was checked: {problem}. Nothing was signed; "
                "find out what the upgrade does, then remove its entry from the file of pins"
            )


async def kept_pins(node: Node, targets: Iterable[str], path: Path) -> CodePins:
    """Return the pins in ``path``, those of targets that are new there read from the chain and kept too.

    What is pinned stays so until a person removes its entry: then the code of the next start is taken. Raises
    ConfigError when the file is damaged or cannot be written, or a target has no code; TransientError.
    """
    kept = _read_file(path)
    new = [target for target in targets if target.lower() not in kept.rows]
    if not new:
        return kept
    found = CodePins.of_rows(kept.rows | (await CodePins.read(node, new)).rows)
    _write_file(path, found)
    return found


def _read_file(path: Path) -> CodePins:
    try:
        return CodePins.of_rows(json_of(path.read_text("utf-8")))
    except FileNotFoundError:
        return CodePins({})
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it, or remove it after a look") from None


def _write_file(path: Path, pins: CodePins) -> None:
    """Write the file whole or not at all."""
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("w", encoding="utf-8") as file:
            json.dump(pins.rows, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from None


def _calls(address: str, target: str, behind: str, block: Any) -> list[RpcCall]:
    return [
        ("eth_getCode", [address, block]),
        *(("eth_getStorageAt", [address, slot, block]) for slot in SLOTS.values()),
        *((("eth_getCode", [target, block]),) if target else ()),
        *(
            (
                ("eth_call", [{"to": target, "data": _IMPLEMENTATION}, block]),
                ("eth_getCode", [behind, block]),
            )
            if behind
            else ()
        ),
    ]


def _pin_of(replies: Sequence[Any], target: str, behind: str) -> CodePin:
    """Read the replies to ``_calls``; hashes of addresses that are no longer pointed to stay empty."""
    code, *rest = (_plain(reply) for reply in replies)
    pointed = next((found for word in rest[: len(SLOTS)] if (found := _address(word))), "")
    more = rest[len(SLOTS) :]
    return CodePin(
        code_hash=_hash(code),
        target=pointed,
        target_hash=_hash(more[0]) if target else "",
        behind=_address(more[1]) if behind else "",
        behind_hash=_hash(more[2]) if behind else "",
    )


async def _read_pin(node: Node, address: str, block: Any) -> CodePin:
    """Follow the pointers one by one: where each leads is known only after it was read."""
    first = _pin_of(await node.batch(_calls(address, "", "", block)), "", "")
    if not first.code_hash:
        raise ConfigError(f"there is no contract at {address}; correct the address or the chain")
    if not first.target:
        return first
    behind = await _behind(node, first.target, block)
    return _pin_of(await node.batch(_calls(address, first.target, behind, block)), first.target, behind)


async def _behind(node: Node, target: str, block: Any) -> str:
    """Return what a beacon points to, empty when it is none."""
    (reply,) = await node.batch([("eth_call", [{"to": target, "data": _IMPLEMENTATION}, block])])
    if isinstance(reply, RpcError):
        return ""
    data = hex_bytes(reply)
    return _address(reply) if len(data) == 32 else ""


def _difference(pinned: CodePin, found: CodePin) -> str:
    if pinned.code_hash != found.code_hash:
        return f"its code has hash {found.code_hash or 'none'}, pinned is {pinned.code_hash}"
    for name, what in (("target", "it points to"), ("behind", "its beacon points to")):
        old, new = getattr(pinned, name), getattr(found, name)
        if old != new:
            return f"{what} {new or 'nothing'}, pinned is {old or 'nothing'}"
    for name in ("target_hash", "behind_hash"):
        old, new = getattr(pinned, name), getattr(found, name)
        if old != new:
            return f"the code behind it has hash {new or 'none'}, pinned is {old}"
    return ""


def _plain(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise TransientError(f"the code of a contract cannot be checked: {reply}")
    return reply


def _hash(code: Any) -> str:
    data = hex_bytes(code)
    return "0x" + keccak(data).hex() if data else ""


def _address(word: Any) -> str:
    """Return the address in the low 20 bytes of a word, empty for zero."""
    digits = hex_bytes(word).hex()[-_ADDRESS_HEX:]
    return "0x" + digits if digits.strip("0") else ""
