"""EVM assembly as text, for the few programs of :mod:`bot.chain.lens`.

One line may hold several instructions; what follows a semicolon is a comment. A number stands for the
shortest PUSH of it, ``label:`` for a JUMPDEST, ``@label`` for a PUSH2 of its place.
"""

from collections.abc import Iterator

from bot.errors import InvariantError

_OPCODES = {
    "STOP": 0x00, "ADD": 0x01, "MUL": 0x02, "SUB": 0x03, "DIV": 0x04, "SIGNEXTEND": 0x0B,
    "LT": 0x10, "GT": 0x11, "SLT": 0x12, "SGT": 0x13, "EQ": 0x14, "ISZERO": 0x15,
    "AND": 0x16, "OR": 0x17, "XOR": 0x18, "NOT": 0x19, "BYTE": 0x1A, "SHL": 0x1B, "SHR": 0x1C,
    "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "CODESIZE": 0x38, "CODECOPY": 0x39,
    "RETURNDATASIZE": 0x3D, "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "MSTORE8": 0x53,
    "JUMP": 0x56, "JUMPI": 0x57, "GAS": 0x5A, "STATICCALL": 0xFA, "RETURN": 0xF3,
    **{f"DUP{depth}": 0x7F + depth for depth in range(1, 17)},
    **{f"SWAP{depth}": 0x8F + depth for depth in range(1, 17)},
}  # fmt: skip
_PUSH0 = 0x5F  # PUSHn is this plus n; PUSH0 itself is not used: old chains lack it
_JUMPDEST = 0x5B
_LABEL_BYTES = 2


def assemble(source: str) -> bytes:
    """Return the code. Raises InvariantError on a word that is no instruction."""
    words = list(_words(source))
    places, at = {}, 0
    for word in words:
        if word.endswith(":"):
            places[word[:-1]] = at
        at += len(_encoded(word, None))
    return b"".join(_encoded(word, places) for word in words)


def _words(source: str) -> Iterator[str]:
    for line in source.splitlines():
        yield from line.partition(";")[0].split()


def _encoded(word: str, places: dict[str, int] | None) -> bytes:
    """Return one instruction; places are not known yet on the first pass, only how long it is."""
    if word.endswith(":"):
        return bytes([_JUMPDEST])
    if word.startswith("@"):
        place = 0 if places is None else places[word[1:]]
        return bytes([_PUSH0 + _LABEL_BYTES]) + place.to_bytes(_LABEL_BYTES, "big")
    if word in _OPCODES:
        return bytes([_OPCODES[word]])
    try:
        value = int(word, 0)
    except ValueError:
        raise InvariantError(f"{word!r} is no instruction of the assembler") from None
    size = max(1, (value.bit_length() + 7) // 8)
    return bytes([_PUSH0 + size]) + value.to_bytes(size, "big")
