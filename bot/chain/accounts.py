"""eth-account, and the recursion limit that Python comes with. Nothing else of the program imports it.

py_ecc, which it brings, raises that limit a hundredfold. JSON from outside that is nested deeply would then
overflow the stack and end the process; with Python's own limit it is an error like any other. The import also
takes a third of a second: those who need a key or typed data import this where they do.
"""

import sys

_LIMIT = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402
from eth_account.hdaccount import ETHEREUM_DEFAULT_PATH  # noqa: E402
from eth_account.messages import SignableMessage, encode_typed_data  # noqa: E402
from eth_account.signers.local import LocalAccount  # noqa: E402

sys.setrecursionlimit(_LIMIT)

__all__ = ["ETHEREUM_DEFAULT_PATH", "Account", "LocalAccount", "SignableMessage", "encode_typed_data"]
