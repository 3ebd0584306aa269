"""Well-formed answers that are not true, of the eight kinds that goal G5 counts (F14)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from faults.proxy import Fault

KINDS = ("price", "balance", "nonce", "block", "receipt", "logs", "fees", "code")
_FEE_METHODS = ("eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_gasPrice", "eth_estimateGas")


@dataclass(frozen=True, kw_only=True)
class Lie(Fault):
    """One kind of lie; providers with the same ``salt`` lie alike.

    ``words`` are what is said in calls in place of what: 32 bytes in hex each. A price and a token's balance
    are words of such answers.
    """

    kind: str
    salt: int = 0
    words: Mapping[str, str] = field(default_factory=dict)

    def told(self, call: Mapping[str, Any], reply: dict[str, Any]) -> dict[str, Any]:
        """Return the lie in place of a node's reply; a reply that this kind has no lie for is left."""
        method = call["method"]
        if "result" not in reply:
            return reply
        result = reply["result"]
        if method == "eth_call" and self.words:
            return reply | {"result": self._call(result)}
        make = _LIES.get((self.kind, method))
        if make is None:
            return reply
        return reply | {"result": make(result, Random(f"{self.kind}/{self.salt}/{method}"))}

    async def reply(self, call, reply, proxy):
        return self.told(call, reply)

    def _call(self, text: str) -> str:
        for true, false in self.words.items():
            text = text.replace(true, false)
        return text


def word(value: int) -> str:
    """Return a number as 32 bytes in hex, negative ones as two's complement."""
    return f"{value % 2**256:064x}"


def _shifted(result: str, random: Random) -> str:
    """A number a little or a lot higher or lower."""
    by = random.choice((1, 2, 3, 1_000))
    value = int(result, 16)
    return hex(value + by if random.random() < 0.5 or value < by else value - by)


def _scaled(result: str, random: Random) -> str:
    return hex(int(int(result, 16) * random.choice((0.0, 0.001, 0.5, 2.0, 1_000.0, 1e6))))


def _block(result: Any, random: Random) -> Any:
    if not result:
        return result
    name = random.choice(("hash", "number", "timestamp", "baseFeePerGas", "parentHash"))
    if name in ("hash", "parentHash"):
        return result | {name: "0x" + random.randbytes(32).hex()}
    return result | {name: _shifted(result[name], random)}


def _receipt(result: Any, random: Random) -> Any:
    if not result:
        return result
    kind = random.choice(("failed", "moved", "bare", "none"))
    if kind == "none":
        return None
    if kind == "failed":
        status = "0x0" if result["status"] == "0x1" else "0x1"
        return result | {"status": status, "gasUsed": hex(random.randint(21_000, 10**6))}
    if kind == "bare":
        return result | {"logs": [], "gasUsed": hex(random.randint(21_000, 10**6))}
    return result | {"blockHash": "0x" + random.randbytes(32).hex()}


def _logs(result: Any, random: Random) -> Any:
    if not result or random.random() < 0.5:
        return result[1:] if result else result
    return [result[0] | {"data": "0x" + random.randbytes(32).hex()}, *result[1:]]


def _history(result: Any, random: Random) -> Any:
    factor = random.choice((0.001, 1_000.0, 1e6))
    rewards = [[hex(int(int(tip, 16) * factor)) for tip in row] for row in result.get("reward") or []]
    return result | {"reward": rewards}


def _code(result: Any, random: Random) -> Any:
    return random.choice(("0x", "0x00", "0x" + random.randbytes(64).hex()))


_Made = Callable[[Any, Random], Any]
_LIES: Mapping[tuple[str, str], _Made] = {
    ("balance", "eth_getBalance"): _scaled,
    ("nonce", "eth_getTransactionCount"): _shifted,
    ("block", "eth_getBlockByNumber"): _block,
    ("block", "eth_getBlockByHash"): _block,
    ("receipt", "eth_getTransactionReceipt"): _receipt,
    ("logs", "eth_getLogs"): _logs,
    ("fees", "eth_feeHistory"): _history,
    ("fees", "eth_maxPriorityFeePerGas"): _scaled,
    ("fees", "eth_gasPrice"): _scaled,
    ("fees", "eth_estimateGas"): _scaled,
    ("code", "eth_getCode"): _code,
}
