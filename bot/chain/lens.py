"""Lenses: small programs of our own that run inside one ``eth_call`` and hand back only what is needed.

Nothing is deployed. A node that takes state overrides gets the program as the code of an unused address; one
that does not gets it as the creation code of a contract that is never made ("deployless"). Where neither
works, callers read the same numbers through Multicall3. What a node can do is tried once and remembered.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, Protocol, runtime_checkable

from bot.chain.assembler import assemble
from bot.chain.node_errors import RpcError, is_rate_limit
from bot.model.market import Block

# The last 20 bytes of keccak256("alvh lens"): nothing lies there.
ADDRESS = "0x438e8cbf8569b16ee0b1218e4343cddb6577b307"
MAX_CREATION_BYTES = 49_152  # EIP-3860, for deployless calls

_TWO_BYTES = 0x100  # the least number whose PUSH takes two bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """One program, in both of its forms. ``body`` starts with the input's size on the stack."""

    name: str
    input_at: int
    body: str


@cache
def code_of(lens: Lens) -> bytes:
    """Return what runs as a contract: the input is its calldata."""
    return assemble(f"CALLDATASIZE 0 {lens.input_at} CALLDATACOPY  CALLDATASIZE\n{lens.body}")


@cache
def creation_of(lens: Lens) -> bytes:
    """Return what runs as creation code: the input is appended to it."""

    def with_length(length: int) -> bytes:
        prologue = f"{length} CODESIZE SUB  DUP1 {length} {lens.input_at} CODECOPY"
        return assemble(f"{prologue}\n{lens.body}")

    length = max(len(with_length(_TWO_BYTES)), _TWO_BYTES)
    code = with_length(length)
    return code + bytes(length - len(code))


# getReserves() of many Uniswap v2 pairs. Input: 20 bytes per pair. Output: one byte per pair, 1 where the
# answer is one, then one word per pair: reserve0 (112 bits), reserve1 (112), blockTimestampLast (32); 0 where
# it is none. An answer counts when the call succeeded with three words that are in range, as eth_abi has it.
RESERVES = Lens(
    name="reserves",
    input_at=0x80,
    body="""
        DUP1 0x80 ADD               ; size flags       flags stand behind the addresses
        SWAP1 20 SWAP1 DIV          ; flags count
        0x0902f1ac 0xe0 SHL  0x60 MSTORE               ; getReserves()
        DUP2 ADD                    ; flags word       words stand behind the flags
        DUP2 0x80                   ; flags word flag source
    next:
        DUP4 DUP2 LT  ISZERO @done JUMPI
        0x60 0 4 0x60               ; out size, out, in size, in
        DUP5 MLOAD 96 SHR           ; the address
        GAS STATICCALL
        RETURNDATASIZE 0x5f LT  AND
        0 MLOAD 112 SHR  0x20 MLOAD 112 SHR OR  0x40 MLOAD 32 SHR OR  ISZERO
        AND                         ; flags word flag source good
        DUP1 DUP4 MSTORE8
        0 MLOAD 144 SHL  0x20 MLOAD 32 SHL OR  0x40 MLOAD OR  MUL
        DUP4 MSTORE
        20 ADD                      ; source + 20
        SWAP1 1 ADD SWAP1           ; flag + 1
        SWAP2 32 ADD SWAP2          ; word + 32
        @next JUMP
    done:
        POP POP                     ; flags word
        DUP2 SWAP1 SUB  SWAP1 RETURN
    """,
)

# All initialised ticks of a concentrated-liquidity pool. Input, in words: the contract, the first word of the
# tick bitmap, the one behind the last, the tick spacing, and how many bytes of calldata come before the
# number in both calls; then those bytes of the bitmap call and of the tick call, 96 bytes of room each.
# Output: a word 1, then two words per tick: tick (24 bits) and liquidityGross (128), liquidityNet; a word 0
# alone where any call failed or answered out of range.
TICKS = Lens(
    name="ticks",
    input_at=0x100,
    body="""
        ; 0x100 contract, 0x120 word, 0x140 end, 0x160 spacing, 0x180 prefix, 0x1a0 and 0x200 calldata
        ; 0x40 bits left, 0x60 tick number of the lowest of them, 0x80 end of the output
        POP  0x280 0x80 MSTORE
    word:
        0x140 MLOAD 0x120 MLOAD SLT  ISZERO @done JUMPI
        0x120 MLOAD  0x180 MLOAD 0x1a0 ADD  MSTORE
        0x20 0  0x180 MLOAD 0x20 ADD  0x1a0  0x100 MLOAD  GAS STATICCALL
        RETURNDATASIZE 0x1f LT  AND  ISZERO @bad JUMPI
        0 MLOAD 0x40 MSTORE
        0x120 MLOAD 8 SHL 0x60 MSTORE
        1 0x120 MLOAD ADD 0x120 MSTORE
    bits:
        0x40 MLOAD ISZERO @word JUMPI
        0x40 MLOAD 0xffff AND @nibbles JUMPI           ; pass over 16 empty bits at once
        0x40 MLOAD 16 SHR 0x40 MSTORE  0x60 MLOAD 16 ADD 0x60 MSTORE  @bits JUMP
    nibbles:
        0x40 MLOAD 1 AND ISZERO @shift JUMPI
        0x60 MLOAD 0x160 MLOAD MUL                     ; tick
        DUP1  0x180 MLOAD 0x200 ADD  MSTORE
        0x40 0  0x180 MLOAD 0x20 ADD  0x200  0x100 MLOAD  GAS STATICCALL
        RETURNDATASIZE 0x3f LT  AND  ISZERO @bad JUMPI
        0 MLOAD 128 SHR @bad JUMPI                     ; gross is a uint128
        0x20 MLOAD DUP1 15 SIGNEXTEND XOR @bad JUMPI   ; net is an int128
        0xffffff AND 128 SHL 0 MLOAD OR  0x80 MLOAD MSTORE
        0x20 MLOAD  0x80 MLOAD 0x20 ADD  MSTORE
        0x80 MLOAD 0x40 ADD 0x80 MSTORE
    shift:
        0x40 MLOAD 1 SHR 0x40 MSTORE  0x60 MLOAD 1 ADD 0x60 MSTORE  @bits JUMP
    done:
        1 0x260 MSTORE  0x260 0x80 MLOAD SUB  0x260 RETURN
    bad:
        0 0x260 MSTORE  0x20 0x260 RETURN
    """,
)


# The zero address has no code, so it has no reserves: one flag and one word, all zero.
_PROBE, _PROBE_ANSWER = bytes(20), bytes(1 + 32)


class Way(Enum):
    """How a node runs a lens."""

    OVERRIDE = "state override"
    DEPLOYLESS = "deployless"
    NONE = "not at all"


class EthCall(Protocol):
    """Does one ``eth_call`` at a block; ``overrides`` is the state override set."""

    async def __call__(
        self, request: dict[str, Any], block: Block, overrides: dict[str, Any] | None = None
    ) -> bytes: ...


@runtime_checkable
class LensReader(Protocol):
    """A chain reader that can run a lens."""

    async def run_lens(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None: ...


class Lenses:
    """Runs lenses on one node, in the way that it was found to understand."""

    def __init__(self, call: EthCall, *, way: Way | None = None) -> None:
        self._call = call
        self.way = way  # None: not tried yet

    async def run(self, lens: Lens, data: bytes, *, block: Block) -> bytes | None:
        """Return what the lens returns for this input; None where the node cannot do it.

        A node may run a lens in general and still not this one (gas, size): then an RpcError is raised, and
        the caller asks for less or reads in another way.
        """
        way = self.way or await self._try(block)
        if way is Way.NONE or (
            way is Way.DEPLOYLESS and len(creation_of(lens)) + len(data) > MAX_CREATION_BYTES
        ):
            return None
        return await self._run(lens, data, block, way)

    async def _try(self, block: Block) -> Way:
        """Find out what the node does with a lens whose answer is known: an address without code has none.

        Only what the node itself says is remembered; a failure in transit is tried again the next time.
        """
        for way in (Way.OVERRIDE, Way.DEPLOYLESS):
            try:
                found = await self._run(RESERVES, _PROBE, block, way)
            except RpcError as error:
                if is_rate_limit(error):
                    raise  # it says nothing of lenses
                continue
            if found == _PROBE_ANSWER:
                self.way = way
                return way
        self.way = Way.NONE
        return self.way

    async def _run(self, lens: Lens, data: bytes, block: Block, way: Way) -> bytes:
        if way is Way.OVERRIDE:
            overrides = {ADDRESS: {"code": "0x" + code_of(lens).hex()}}
            return await self._call({"to": ADDRESS, "data": "0x" + data.hex()}, block, overrides)
        return await self._call({"data": "0x" + (creation_of(lens) + data).hex()}, block)
