"""PyPI ``multicall`` as a process: one JSON question a line, one JSON answer. Runs in the peer's environment.

Its Call objects are made before the clock starts, which is the best case for it.
"""

import json
import os
import sys
import time

URL, MULTICALL3 = sys.argv[1:]
os.environ["WEB3_PROVIDER_URI"] = URL
os.environ["MULTICALL_PROCESSES"] = "1"

from multicall import Call, Multicall  # noqa: E402 - it reads the environment when it is imported
from multicall.constants import MULTICALL3_ADDRESSES  # noqa: E402
from web3 import HTTPProvider, Web3  # noqa: E402

SIGNATURE = "getReserves()((uint112,uint112,uint32))"


def main() -> None:
    node = Web3(HTTPProvider(URL))
    MULTICALL3_ADDRESSES[node.eth.chain_id] = MULTICALL3
    calls: list[Call] = []
    addresses: list[str] = []
    for line in sys.stdin:
        question = json.loads(line)
        if "addresses" in question:
            addresses = question["addresses"]
            calls = [Call(address, SIGNATURE, [(address, None)]) for address in addresses]
            found = Multicall(calls, _w3=node)()
            answer = {"reserves": [found[address] for address in addresses]}
        else:
            started = time.perf_counter()
            Multicall(calls, _w3=node)()
            answer = {"seconds": time.perf_counter() - started}
        print(json.dumps(answer), flush=True)


main()
