"""The address type of configured contracts: EIP-55 where it has capitals, checksummed from then on."""

from functools import lru_cache
from typing import Annotated

from eth_utils.address import is_checksum_address, is_hex_address, to_checksum_address
from pydantic import AfterValidator


@lru_cache(maxsize=16_384)  # a hash each; positions name their tokens in every block
def checksummed(text: str) -> str:
    """Return the checksummed form. Raises ValueError for what is no address or has a wrong checksum."""
    if not is_hex_address(text):
        raise ValueError("must be an address of 40 hex digits after 0x")
    if text != text.lower() and not is_checksum_address(text):
        raise ValueError(f"has a wrong checksum, the right form is {to_checksum_address(text.lower())}")
    return to_checksum_address(text)


Address = Annotated[str, AfterValidator(checksummed)]
