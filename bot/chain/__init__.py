"""Reading and writing chains: nodes, blocks, ABIs, transactions, the way to the signer.

py_ecc, which eth-account brings, raises Python's recursion limit a hundredfold when it is imported. JSON from
outside that is nested deeply would then overflow the stack and end the process; with the limit that Python
comes with it is an error like any other. So it is imported here, before all else, and the limit is put back.
"""

import sys
from contextlib import suppress

_LIMIT = sys.getrecursionlimit()
with suppress(ImportError):  # a later eth-account may do without it
    import py_ecc  # noqa: F401
sys.setrecursionlimit(_LIMIT)
