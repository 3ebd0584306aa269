"""What the auditor is told, and the chain as it reads it: by urllib and eth-abi, past every proxy."""

import json
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from campaign.place import refuse_public_host

_NOBODY = "0x" + "00" * 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """What the auditor is told: where to look, and the limits the operator had set."""

    rpc_url: str  # the devnet itself, past every proxy
    account: str
    stable: str  # token, 6 decimals
    settlement: str  # token, 18 decimals
    market: str
    option_token: str
    collateral: str
    router: str
    feed: str  # ETH/USD, 8 decimals
    from_block: int  # the last block before the case
    cap_usd: float  # most that premium and swaps may take in any 24 hours of chain time
    gas_cap_wei: int
    home: str = ""  # folder of the bot
    journal: str = ""  # of the mode that ran; may be missing
    history: str = ""
    served: Mapping[str, str] = field(default_factory=dict)  # height -> hash of heads that providers served
    secrets: Mapping[str, str] = field(default_factory=dict)  # name -> canary that must be nowhere
    said: tuple[str, ...] = ()  # texts: output, alerts, HTTP bodies
    files_exempt: tuple[str, ...] = ()  # names of files that may hold a canary (configuration, password file)
    may_send: bool = True  # a dry run may not (I11)
    sends: int = 0  # that providers saw
    foreign: tuple[str, ...] = ()  # hashes that the case itself sent with the account's key
    is_at_rest: bool = True  # all faults are over, and the bot had time to finish

    @classmethod
    def load(cls, path: Path) -> "Brief":
        found = json.loads(path.read_text("utf-8"))
        lists = {name: tuple(found[name]) for name in ("said", "files_exempt", "foreign")}
        return cls(**{**found, **lists})

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self)), "utf-8")


class Tx(NamedTuple):
    """A transaction of the account that is in a canonical block."""

    hash: str
    nonce: int
    block: int
    at_s: int
    succeeded: bool
    gas_wei: int
    minted: int  # option positions that came to the account out of nothing
    burnt: int
    spent_usd: float  # stables that left, less those that came


class Chain:
    """JSON-RPC by urllib: nothing of the program stands in between."""

    def __init__(self, brief: Brief) -> None:
        refuse_public_host(brief.rpc_url)
        self._brief = brief
        self.head = int(self.ask("eth_blockNumber"), 16)
        self.now_s = int(self._block(self.head)["timestamp"], 16)
        self.transactions = list(self._transactions())

    def ask(self, method: str, *params: Any) -> Any:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}).encode()
        asked = urllib.request.Request(  # noqa: S310 - loopback alone, checked
            self._brief.rpc_url, body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(asked, timeout=60) as reply:  # noqa: S310
            answer = json.load(reply)
        if "error" in answer:
            raise RuntimeError(f"the auditor asked {method} and the devnet said {answer['error']}")
        return answer["result"]

    def call(self, target: str, function: str, *values: Any, outputs: str, block: str = "latest") -> Any:
        types = function.partition("(")[2]
        kinds = [kind for kind in types.rstrip(")").split(",") if kind]
        data = "0x" + (keccak(text=function)[:4] + encode(kinds, values)).hex()
        answer = bytes.fromhex(self.ask("eth_call", {"to": target, "data": data}, block)[2:])
        return decode([outputs], answer)[0]

    def nonce(self, tag: str) -> int:
        return int(self.ask("eth_getTransactionCount", self._brief.account, tag), 16)

    def allowances(self) -> dict[tuple[str, str], int]:
        brief = self._brief
        spenders = (brief.market, brief.router, brief.collateral)
        return {
            (token, spender): self.call(
                token, "allowance(address,address)", brief.account, spender, outputs="uint256"
            )
            for token in (brief.stable, brief.settlement)
            for spender in spenders
        }

    def positions(self) -> dict[int, float]:
        """Return open option positions of the account: id -> contracts."""
        row = "(uint256,uint256,uint8,uint256,uint256,uint8)[]"
        found = self.call(
            self._brief.option_token, "getOwnerPositions(address)", self._brief.account, outputs=row
        )
        return {item[0]: item[3] / 1e18 for item in found if item[5] == 1}

    def spot_usd(self, block: int) -> float:
        kinds = "(uint80,int256,uint256,uint256,uint80)"
        answer = self.call(self._brief.feed, "latestRoundData()", outputs=kinds, block=hex(block))
        return float(answer[1]) / 1e8

    def approvals(self) -> list[tuple[str, str, int]]:
        """Return (token, spender, amount) of every approval that the account ever gave in the case."""
        if self.head <= self._brief.from_block:
            return []  # nothing was mined; a node refuses a range that begins after its head
        topic = "0x" + keccak(text="Approval(address,address,uint256)").hex()
        query = {
            "fromBlock": hex(self._brief.from_block + 1),
            "topics": [topic, _word(self._brief.account)],
            "address": [self._brief.stable, self._brief.settlement],
        }
        return [
            (item["address"], "0x" + item["topics"][2][-40:], int(item["data"], 16))
            for item in self.ask("eth_getLogs", query)
        ]

    def block_hash(self, number: int) -> str:
        return str(self._block(number)["hash"])

    def _block(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("eth_getBlockByNumber", hex(number), False)
        return found

    def foreign_nonces(self) -> set[int]:
        """Return the nonces that the case itself used, on the chain."""
        found = [self.ask("eth_getTransactionByHash", item) for item in self._brief.foreign]
        return {int(item["nonce"], 16) for item in found if item is not None and item["blockNumber"]}

    def _transactions(self) -> Iterator[Tx]:
        account = self._brief.account.lower()
        for number in range(self._brief.from_block + 1, self.head + 1):
            block = self.ask("eth_getBlockByNumber", hex(number), True)
            for item in block["transactions"]:
                if item["from"].lower() == account and item["hash"] not in self._brief.foreign:
                    yield self._tx(item, int(block["timestamp"], 16))

    def _tx(self, item: Mapping[str, Any], at_s: int) -> Tx:
        receipt = self.ask("eth_getTransactionReceipt", item["hash"])
        moved = list(self._moves(receipt["logs"]))
        return Tx(
            hash=item["hash"],
            nonce=int(item["nonce"], 16),
            block=int(item["blockNumber"], 16),
            at_s=at_s,
            succeeded=receipt["status"] == "0x1",
            gas_wei=int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16),
            minted=sum(kind == "minted" for kind, _ in moved),
            burnt=sum(kind == "burnt" for kind, _ in moved),
            spent_usd=sum(usd for kind, usd in moved if kind == "money"),
        )

    def _moves(self, logs: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, float]]:
        brief, transfer = self._brief, "0x" + keccak(text="Transfer(address,address,uint256)").hex()
        units = {brief.stable.lower(): 1e6, brief.settlement.lower(): 1e18}
        for item in logs:
            if item["topics"][:1] != [transfer]:
                continue
            token, who = item["address"].lower(), [topic[-40:] for topic in item["topics"][1:3]]
            own, nobody = brief.account[2:].lower(), _NOBODY[2:]
            if token == brief.option_token.lower():
                if who == [nobody, own]:
                    yield "minted", 0.0
                elif who == [own, nobody]:
                    yield "burnt", 0.0
            elif token in units and own in who and who[0] != who[1]:
                usd = int(item["data"], 16) / units[token]
                yield "money", usd if who[0] == own else -usd


def _word(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")
