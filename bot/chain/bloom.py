"""The bloom filter in a block header: proof that a log is absent, a hint that one is there. Pure.

Yellow paper, section 4.3.1: each address and each topic of a block's logs sets three of 2,048 bits.
"""

from collections.abc import Iterable
from functools import lru_cache

from eth_utils.crypto import keccak

BLOOM_BYTES = 256
_BITS = 8 * BLOOM_BYTES


@lru_cache(maxsize=4_096)
def bloom_mask(item: bytes) -> int:
    """Return the bits that an address (20 bytes) or a topic (32 bytes) sets."""
    digest = keccak(item)
    mask = 0
    for place in (0, 2, 4):
        mask |= 1 << (int.from_bytes(digest[place : place + 2], "big") % _BITS)
    return mask


def mask_of(items: Iterable[bytes]) -> int:
    """Return the bits that all of some items set together."""
    mask = 0
    for item in items:
        mask |= bloom_mask(item)
    return mask


def chance_of_all(bloom: int, mask: int) -> float:
    """Return how likely it is that other logs set all bits of ``mask``."""
    return float((bloom.bit_count() / _BITS) ** mask.bit_count())
