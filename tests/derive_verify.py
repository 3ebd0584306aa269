"""How the reference exchange verifies: digests are built again here, not with the bot's own code.

The session key is recovered from the signature; nonces are nanoseconds near the exchange's clock.
"""

from decimal import Decimal
from typing import Any

from eth_abi.abi import encode
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_keys.datatypes import Signature
from eth_utils.crypto import keccak

CHAIN_ID = 11155111
MATCHING = "0xeB8d770ec18DB98Db922E9D83260A585b9F0DeAD"
TRADE_MODULE = "0xB8D20c2B7a1Ad2EE33Bc50eF10876eD3035b5e7b"
RFQ_MODULE = "0x9371352CCef6f5b36EfDFE90942fFE622Ab77F1D"
SEPARATOR = bytes.fromhex("24d674cd5f2b9d564691c51e9d88f649b99246a2244dd74ce27b96578d773e85")
OPTION_ASSET = "0x4BB4C3CDc7562f08e9910A0C7D8bB7e108861eB4"
NONCE_WINDOW_S = 300
MIN_LIFE_S = 10  # a signature must live at least this long from the exchange's clock
E18 = Decimal(10**18)
_TYPEHASH = keccak(
    text="Action(uint256 subaccountId,uint256 nonce,address module,bytes data,uint256 expiry,address owner,"
    "address signer)"
)


class Refusal(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(code, message, data)
        self.body = {"code": code, "message": message, "data": data}


def verified_nonce(request: dict[str, Any], module: str, data: bytes, *, owner: str, now_s: float) -> int:
    """Return the nonce of an action whose signature, expiry and time hold."""
    signer, nonce, expiry = str(request["signer"]), int(request["nonce"]), request["signature_expiry_sec"]
    words = [_TYPEHASH, request["subaccount_id"], nonce, module, keccak(data), expiry, owner, signer]
    kinds = ["bytes32", "uint256", "uint256", "address", "bytes32", "uint256", "address", "address"]
    digest = keccak(b"\x19\x01" + SEPARATOR + keccak(encode(kinds, words)))
    if recovered(digest, request["signature"]) != signer.lower():
        raise Refusal(14014, "Signature does not match data")
    if not expiry - now_s >= MIN_LIFE_S:
        raise Refusal(11011, "Invalid signature expiry")
    if not abs(nonce / 1e9 - now_s) <= NONCE_WINDOW_S:
        raise Refusal(11018, "Invalid nonce date", "nonce must be a UTC timestamp in nanoseconds")
    return nonce


def recovered(digest: bytes, signature: str) -> str:
    """Return the address that signed a digest, lower case; "" for no signature."""
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        found = Signature(raw[:64] + bytes([raw[64] - 27]))
        return str(found.recover_public_key_from_msg_hash(digest).to_checksum_address()).lower()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no signature
        return ""


def personal(message: str, signature: str) -> str:
    """Return the address that signed a text by EIP-191, lower case."""
    try:
        return str(Account.recover_message(encode_defunct(text=message), signature=signature)).lower()
    except Exception:  # noqa: BLE001
        return ""
