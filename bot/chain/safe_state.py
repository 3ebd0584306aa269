"""What a Safe is like at one block: owners, threshold, nonce, and every way around its owners.

A Safe is more than its owners: a module may act without them, a guard may refuse or watch each transaction,
the singleton holds the code, and the fallback handler answers in its name. A change of any of them between a
proposal and its execution is a change of whom the money belongs to.
"""

from dataclasses import dataclass

from bot.chain.address import checksummed
from bot.chain.safe import SAFE
from bot.errors import ConfigError, TransientError
from bot.model.market import Block
from bot.ports import ChainReader

VERSIONS = ("1.3.0", "1.4.1")  # one hash and signature scheme; others were not run
# Keccak-256 of the runtime code, from npm @safe-global/safe-deployments 1.37.56; the unnamed are zkSync's
SINGLETON_CODE = frozenset(
    {
        "1fe2df852ba3299d6534ef416eefa406e56ced995bca886ab7a553e6d0c5e1c4",  # Safe 1.4.1
        "b1f926978a0f44a2c0ec8fe822418ae969bd8c3f18d61e5103100339894f81ff",  # SafeL2 1.4.1
        "bba688fbdb21ad2bb58bc320638b43d94e7d100f6f3ebaab0a4e4de6304b1c2e",  # GnosisSafe 1.3.0
        "21842597390c4c6e3c1239e434a682b054bd9548eee5e9b1d6a4482731023c0f",  # GnosisSafeL2 1.3.0
        "fa4d4fc0fa9f1a061571a3f3f66502464edf1a519ab1ab93dc232addf4fbe30f",
        "520462ebe1156cd2d37b1d470c57f23e12fe0c4cda4c62502d96e03fa0cb44da",
        "551b7fdfd2dbcec4f785059e1ef6e0b40ca2e44d792158c4e825bc0b092f15e9",
        "e2ca068330339d608367d83a0b25545efe39e619098597699ab8ff828cb1ddd8",
    }
)
MULTI_SEND_CODE = frozenset(
    {
        "ecd5bd14a08c5d2122379900b2f272bdf107a7e92423c10dd5fe3254386c9939",  # MultiSendCallOnly 1.4.1
        "a9865ac2d9c7a1591619b188c4d88167b50df6cc0c5327fcbd1c8c75f7c066ad",  # MultiSendCallOnly 1.3.0
        "44c70b30fed5c3a07358a52c2fb028f651031010ef99e4d8c3b45c208e88a264",
        "064ddbf252714bcd4cb79f679e8c12df96d998ce07bbb13b3118c1dbf4a31942",
    }
)
# calldataload(0) extcodehash, returned as a word: asked through a code override at an address nobody uses
_CODE_HASH_PROBE, _PROBE_AT = "0x6000353f60005260206000f3", "0x" + "5afe" * 10
_SENTINEL = "0x" + "00" * 19 + "01"
_MOST_MODULES = 100
_SINGLETON_SLOT = 0
_GUARD_SLOT = 0x4A204F620C8C5CCDCA3FD54D003BADD85BA500436A431F0CBDA4F558C93C34C8  # keccak of its name
_FALLBACK_SLOT = 0x6C9A6C4A39284E37ED1CF53D337577D14212A4870FB976A4366C693B939918D5
_CONTROL = ("owners", "threshold", "modules", "guard", "fallback_handler", "singleton", "version")


@dataclass(frozen=True, slots=True, kw_only=True)
class SafeState:
    """A Safe at a block. Addresses are checksummed; the zero address stands for none."""

    address: str
    version: str
    owners: tuple[str, ...]
    threshold: int
    nonce: int  # of the next transaction
    modules: tuple[str, ...]
    guard: str
    fallback_handler: str
    singleton: str

    def control_changes(self, earlier: "SafeState") -> tuple[str, ...]:
        """Return, in words, what has changed of who can move the Safe's money; none while it is the same."""
        return tuple(
            f"{name.replace('_', ' ')} was {_said(getattr(earlier, name))}, is {_said(getattr(self, name))}"
            for name in _CONTROL
            if _plain(getattr(earlier, name)) != _plain(getattr(self, name))
        )


async def read_safe(reader: ChainReader, address: str, *, block: Block) -> SafeState:
    """Return a Safe's state at a block.

    Raises ConfigError for an address that is no Safe of a known version, TransientError when it cannot be
    read.
    """
    if not await reader.has_code(address, block=block):
        raise ConfigError(f"{address} has no code at block {block.number}: it is no Safe; check safe.address")
    names = ("VERSION", "getOwners", "getThreshold", "nonce")
    calls = [SAFE.call(name, address) for name in names]
    calls.append(SAFE.call("getModulesPaginated", address, _SENTINEL, _MOST_MODULES))
    rows = await reader.read(calls, block=block)
    found = [row for row in rows if row is not None]
    if len(found) < len(calls):
        raise ConfigError(
            f"{address} does not answer as a Safe ({', '.join(names)}) at block {block.number}; "
            "check safe.address"
        )
    (version,), (owners,), (threshold,), (nonce,), (modules, following) = found
    if version not in VERSIONS:
        raise ConfigError(f"Safe {address} is of version {version!r:.20}; allowed are {', '.join(VERSIONS)}")
    if following not in (_SENTINEL, "0x" + "00" * 20):
        raise ConfigError(f"Safe {address} has over {_MOST_MODULES} modules; a person must look at it")
    return SafeState(
        address=checksummed(address),
        version=version,
        owners=tuple(map(checksummed, owners)),
        threshold=threshold,
        nonce=nonce,
        modules=tuple(map(checksummed, modules)),
        guard=await _stored(reader, address, _GUARD_SLOT, block),
        fallback_handler=await _stored(reader, address, _FALLBACK_SLOT, block),
        singleton=await _stored(reader, address, _SINGLETON_SLOT, block),
    )


async def check_code(reader: ChainReader, state: SafeState, *, multi_send: str, block: Block) -> None:
    """Raise ConfigError unless the Safe runs, and its batches go through, code that Safe published.

    The Safe delegates to both: other code there could do anything with its money.
    """
    for what, address, known in (
        ("the singleton of the Safe", state.singleton, SINGLETON_CODE),
        ("safe.multi_send", multi_send, MULTI_SEND_CODE),
    ):
        found = await _code_hash(reader, address, block)
        if found not in known:
            raise ConfigError(
                f"{what}, {address}, has code of hash 0x{found}, which Safe did not publish with versions "
                f"{' and '.join(VERSIONS)}"
            )


async def approved(reader: ChainReader, state: SafeState, tx_hash: bytes, *, block: Block) -> frozenset[str]:
    """Return the owners that approved a hash on the chain. Raises TransientError."""
    calls = [SAFE.call("approvedHashes", state.address, owner, tx_hash) for owner in state.owners]
    rows = await reader.read(calls, block=block)
    if any(row is None for row in rows):
        raise TransientError(f"approvals of Safe {state.address} could not be read at block {block.number}")
    pairs = zip(state.owners, rows, strict=True)
    return frozenset(owner for owner, row in pairs if row is not None and row[0])


async def _code_hash(reader: ChainReader, address: str, block: Block) -> str:
    word = bytes.fromhex(address[2:]).rjust(32, b"\0")
    overrides = {_PROBE_AT: {"code": _CODE_HASH_PROBE}}
    answer = await reader.simulate(
        to=_PROBE_AT, data=word, block=block, sender=_PROBE_AT, overrides=overrides
    )
    return answer.hex()


async def _stored(reader: ChainReader, address: str, slot: int, block: Block) -> str:
    return checksummed("0x" + (await reader.storage_at(address, slot, block=block))[-20:].hex())


def _plain(value: object) -> object:
    """The order of owners or modules in their list means nothing."""
    return frozenset(value) if isinstance(value, tuple) else value


def _said(value: object) -> str:
    return (", ".join(value) or "none") if isinstance(value, tuple) else str(value)
