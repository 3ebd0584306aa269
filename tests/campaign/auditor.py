"""The auditor: a process of its own that reads the chain, then the bot's files, and compares both ways.

``python -m campaign.auditor BRIEF.json`` prints one JSON object: invariant -> what is wrong (nothing when it
holds). It shares no code with what decides, signs or books: calls are decoded by eth-abi with the types
below, the journal is read by sqlite3, its hashes are computed here again. The invariants are those of
reliability.md.
"""

import base64
import hashlib
import json
import sqlite3
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

from campaign.place import refuse_public_host
from campaign.pool import Pooled

CHAIN_ID = 31337
NOBODY = "0x" + "00" * 20
_CLOSED = {"final", "reverted", "cancelled", "lost", "released"}
_TRADE = "(uint256,uint256,uint256,uint8,uint256,uint256,uint256,uint256)"
_SWAP = "(address,address,uint24,address,uint256,uint256,uint256,uint160)"
_FAR_S = 7 * 86_400  # after the block: no deadline of a call may lie further away
_MOST_GAS, _MOST_FEE_WEI = 10_000_000, 1_200 * 10**9  # of one transaction; a cancel may pay twice the cap
_MONEY_USD = 0.05  # two stables are counted as a dollar each


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
    pool: str  # of stable and settlement
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
            own, nobody = brief.account[2:].lower(), NOBODY[2:]
            if token == brief.option_token.lower():
                if who == [nobody, own]:
                    yield "minted", 0.0
                elif who == [own, nobody]:
                    yield "burnt", 0.0
            elif token in units and own in who and who[0] != who[1]:
                usd = int(item["data"], 16) / units[token]
                yield "money", usd if who[0] == own else -usd


class Journal:
    """The bot's own books, read from the file."""

    def __init__(self, path: Path) -> None:
        self.rows: list[tuple[str, dict[str, Any]]] = []
        if not path.is_file():
            return
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            database.row_factory = sqlite3.Row
            for table in ("leg_events", "intent_events", "steps", "prunings"):
                self.rows += [(table, dict(row)) for row in database.execute(f"SELECT * FROM {table}")]  # noqa: S608
        self.rows.sort(key=lambda item: item[1]["seq"])

    def bodies(self, table: str) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) | {"_row": row} for name, row in self.rows if name == table]

    @property
    def intents(self) -> dict[str, dict[str, Any]]:
        """Intent -> the newest of its rows, with all bytes and hashes that were ever signed for it."""
        found: dict[str, dict[str, Any]] = {}
        for body in self.bodies("intent_events"):
            before = found.get(body["key"], {"raws": [], "hashes": []})
            raws = before["raws"] + ([body["raw"]] if body.get("raw") else [])
            hashes = before["hashes"] + ([body["tx_hash"]] if body.get("tx_hash") else [])
            found[body["key"]] = body | {"raws": raws, "hashes": hashes}
        return found

    @property
    def legs(self) -> dict[str, dict[str, Any]]:
        """Leg -> its kind of row: opened, or closed with an outcome."""
        return {
            row["key"]: row | json.loads(row["body"]) for table, row in self.rows if table == "leg_events"
        }


class Auditor:
    """One method for each invariant; each yields what is wrong."""

    def __init__(self, brief: Brief) -> None:
        self.brief, self.chain = brief, Chain(brief)
        self.journal = Journal(Path(brief.journal))
        self.intents, self.legs = self.journal.intents, self.journal.legs
        self.of_hash = {item: intent for intent in self.intents.values() for item in intent["hashes"]}

    def verdicts(self) -> dict[str, list[str]]:
        checks = {
            "I1": self.once, "I2": self.terminal, "I3": self.within_caps, "I4": self.no_secret,
            "I5": self.every_head, "I6": self.true_data, "I7": self.nonces, "I8": self.positions,
            "I9": self.allowances, "I10": self.signed, "I11": self.dry, "I12": self.whole_journal,
            "I14": self.chain_ids,
        }  # fmt: skip
        return {name: list(check()) for name, check in checks.items()}

    def once(self) -> Iterator[str]:
        """I1: one decision, at most one trade on chain, and each trade has its decision."""
        trades: Counter[str] = Counter()
        for tx in self.chain.transactions:
            if tx.minted + tx.burnt == 0:
                continue
            intent = self.of_hash.get(tx.hash)
            if intent is None:
                yield f"DUPLICATE or foreign: {tx.hash} traded and no decision has it"
                continue
            trades[intent["leg_key"]] += tx.minted + tx.burnt
        yield from (f"DUPLICATE: decision {key} traded {n} times" for key, n in trades.items() if n > 1)
        filled = {key for key, leg in self.legs.items() if _status(leg) == "filled"}
        if self.brief.is_at_rest:
            yield from (
                f"decision {key} traded and is not booked as filled" for key in trades.keys() - filled
            )
        yield from (f"decision {key} is booked as filled and never traded" for key in filled - trades.keys())

    def terminal(self) -> Iterator[str]:
        """I2: at rest every decision is done, or ended with a reason."""
        if not self.brief.is_at_rest:
            return
        for key, leg in self.legs.items():
            if leg["kind"] != "closed":
                yield f"decision {key} is still {leg['kind']}"
            elif _status(leg) != "filled" and not leg.get("because"):
                yield f"decision {key} ended as {_status(leg)} without a reason"
        for key, intent in self.intents.items():
            if intent["state"] not in _CLOSED:
                yield f"transaction {key} is still {intent['state']}"

    def within_caps(self) -> Iterator[str]:
        """I3: what left the account in any 24 hours, by the chain."""
        found = self.chain.transactions
        for last in found:
            window = [tx for tx in found if last.at_s - 86_400 < tx.at_s <= last.at_s]
            spent, gas = sum(tx.spent_usd for tx in window), sum(tx.gas_wei for tx in window)
            if spent > self.brief.cap_usd + _MONEY_USD:
                yield f"OVER CAP: {spent:,.2f} USD in 24 h, allowed {self.brief.cap_usd:,.2f}"
            if gas > self.brief.gas_cap_wei:
                yield f"OVER CAP: {gas} wei of gas in 24 h, allowed {self.brief.gas_cap_wei}"

    def no_secret(self) -> Iterator[str]:
        """I4: no canary in what the bot said or kept; as text, in hex, in base64, in decimal."""
        needles = {
            name: {value, value.encode().hex(), base64.b64encode(value.encode()).decode().rstrip("=")}
            for name, value in self.brief.secrets.items()
        }
        texts = {f"text {number}": text.encode() for number, text in enumerate(self.brief.said)}
        if self.brief.home:
            for path in sorted(Path(self.brief.home).rglob("*")):
                if path.is_file() and path.name not in self.brief.files_exempt:
                    texts[path.name] = path.read_bytes()
        for where, text in texts.items():
            for name, forms in needles.items():
                if any(form.encode() in text for form in forms):
                    yield f"SECRET: {name} is in {where}"

    def every_head(self) -> Iterator[str]:
        """I5: each head that was served is seen, or in a recorded gap with a reason."""
        steps = [row["body"] for row in (item for name, item in self.journal.rows if name == "steps")]
        seen = {int(n) for body in steps for n in json.loads(body)["decision"]["blocks"].values()}
        if not seen:
            return
        kept, gaps = self._history()
        for height in map(int, self.brief.served):
            is_missing = min(seen) <= height <= max(seen) and height not in seen | kept
            if is_missing and not any(low <= height <= high and why for low, high, why in gaps):
                yield f"LOST: head {height} was served, and is neither decided on nor in a gap"

    def _history(self) -> tuple[set[int], list[tuple[int, int, str]]]:
        path = Path(self.brief.history)
        if not path.is_file():
            return set(), []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            kept = {row[0] for row in database.execute("SELECT number FROM heads")}
            gaps = list(database.execute("SELECT from_number, to_number, why FROM gaps"))
        return kept, gaps

    def true_data(self) -> Iterator[str]:
        """I6: what an order rests on is what the chain says at the block that the decision names."""
        for body in self.journal.bodies("steps"):
            if not body["decision"]["plan"]["legs"] or "ETH" not in body["spot_usd"]:
                continue
            (number,) = (int(item) for item in body["decision"]["blocks"].values())
            true_usd, used_usd = self.chain.spot_usd(number), float(body["spot_usd"]["ETH"])
            if abs(used_usd / true_usd - 1.0) > 1e-9:
                yield f"the decision at block {number} used {used_usd} USD, the feed said {true_usd}"

    def nonces(self) -> Iterator[str]:
        """I7: a nonce has one intent; at rest chain, pool and journal agree on the next."""
        holders: dict[int, set[str]] = {}
        for key, intent in self.intents.items():
            if intent["state"] != "released":
                holders.setdefault(intent["nonce"], set()).add(key)
        yield from (f"nonce {n} has {sorted(keys)}" for n, keys in holders.items() if len(keys) > 1)
        latest, pending = self.chain.nonce("latest"), self.chain.nonce("pending")
        if self.brief.is_at_rest and latest != pending:
            yield f"a transaction waits in the pool: nonce {latest}, pending {pending}"
        known = {*holders, *self.chain.foreign_nonces()}
        if self.brief.is_at_rest and holders and latest != max(known) + 1:
            yield f"the chain's next nonce is {latest}, that of the journal and the case {max(known) + 1}"

    def positions(self) -> Iterator[str]:
        """I8: what the chain holds is what the book has."""
        held = sum(self.chain.positions().values())
        booked = 0.0
        for leg in self.legs.values():
            if leg["kind"] == "closed":
                booked += leg["filled_size"] * (1.0 if leg["leg"]["side"] == "buy" else -1.0)
        before = self.brief.from_block
        row = "(uint256,uint256,uint8,uint256,uint256,uint8)[]"
        had = self.chain.call(
            self.brief.option_token, "getOwnerPositions(address)", self.brief.account,
            outputs=row, block=hex(before),
        )  # fmt: skip
        was = sum(item[3] / 1e18 for item in had if item[5] == 1)
        if self.brief.is_at_rest and abs(held - was - booked) > 1e-9:
            yield f"LOST: {was} contracts became {held} on chain, the book says {booked:+}"

    def allowances(self) -> Iterator[str]:
        """I9: nothing is left allowed; nothing was ever allowed to a stranger, or without bound."""
        if self.brief.is_at_rest:
            for (token, spender), amount in self.chain.allowances().items():
                if amount:
                    yield f"ALLOWANCE LEFT: {amount} of {token} to {spender}"
        known = {self.brief.market.lower(), self.brief.router.lower(), self.brief.collateral.lower()}
        for token, spender, amount in self.chain.approvals():
            if spender.lower() not in known:
                yield f"{spender} may take {token}: it is no contract of the venue"
            if amount >= 2**127:
                yield f"{spender} may take {token} without bound"

    def signed(self) -> Iterator[str]:
        """I10: each signed transaction is one of the few that may be, with its bounds."""
        for intent in self.intents.values():
            for raw in intent["raws"]:
                yield from (f"{intent['key']}: {wrong}" for wrong in judge(Pooled.of(raw), self.brief))

    def dry(self) -> Iterator[str]:
        """I11: a dry run sends nothing."""
        if not self.brief.may_send and (self.brief.sends or self.chain.transactions):
            yield f"a run that may not send sent {self.brief.sends + len(self.chain.transactions)} times"

    def whole_journal(self) -> Iterator[str]:
        """I12: the chain of hashes holds; every transaction of the account was signed by the journal."""
        yield from self._chained()
        for tx in self.chain.transactions:
            if tx.hash not in self.of_hash:
                yield f"{tx.hash} (nonce {tx.nonce}) is on the chain and not in the journal"

    def _chained(self) -> Iterator[str]:
        previous, expected = "0" * 64, 1
        if any(table == "prunings" for table, _ in self.journal.rows):
            return  # bridges over what left are the program's own check; no case prunes
        for table, row in self.journal.rows:
            if row["seq"] != expected:
                yield f"the journal lost row {expected}"
                return
            content = {key: value for key, value in row.items() if key != "row_hash"}
            for key in ("is_heartbeat",):
                if key in content:
                    content[key] = bool(content[key])
            text = json.dumps([table, content], sort_keys=True, separators=(",", ":"), allow_nan=False)
            own = hashlib.sha256(text.encode()).hexdigest()
            if row["previous_hash"] != previous or row["row_hash"] != own:
                yield f"the journal's chain of hashes breaks at row {row['seq']} of {table}"
                return
            previous, expected = own, expected + 1

    def chain_ids(self) -> Iterator[str]:
        """I14: nothing was signed for another chain."""
        for intent in self.intents.values():
            for raw in intent["raws"]:
                if Pooled.of(raw).chain_id != CHAIN_ID:
                    yield f"{intent['key']} was signed for chain {Pooled.of(raw).chain_id}"


def judge(tx: Pooled, brief: Brief) -> Iterator[str]:
    """Yield what is wrong with one signed transaction, by its bytes alone."""
    if tx.gas > _MOST_GAS or tx.max_fee_wei > _MOST_FEE_WEI:
        yield f"gas {tx.gas} at {tx.max_fee_wei} wei is over every limit"
    own = brief.account.lower()
    if tx.to.lower() == own and tx.data == "0x" and tx.value_wei == 0:
        return  # a cancel
    if tx.value_wei:
        yield f"it carries {tx.value_wei} wei"
    handlers = (
        {(token.lower(), "approve(address,uint256)"): _approve for token in (brief.stable, brief.settlement)}
        | {
            (brief.market.lower(), f"{name}({_TRADE})"): _trade
            for name in ("openPosition", "closePosition", "forceClosePosition")
        }
        | {
            (brief.router.lower(), f"exactInputSingle({_SWAP})"): _swap_in,
            (brief.router.lower(), f"exactOutputSingle({_SWAP})"): _swap_out,
            (brief.market.lower(), "settleExpiredBoard(uint256)"): _nothing,
            (brief.collateral.lower(), "settleOptions(uint256[])"): _nothing,
        }
    )
    selectors = {
        (to, "0x" + keccak(text=name)[:4].hex()): (name, check) for (to, name), check in handlers.items()
    }
    found = selectors.get((tx.to.lower(), tx.data[:10]))
    if found is None:
        yield f"{tx.data[:10]} of {tx.to} is not on the list"
        return
    name, check = found
    values = decode(_types(name), bytes.fromhex(tx.data[10:]))
    yield from check(name, values, brief)


def _approve(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    spender, amount = values
    if spender.lower() not in (brief.market.lower(), brief.router.lower()):
        yield f"it allows {spender}, no contract of the venue"
    if amount >= 2**127:
        yield "it allows without bound"


def _trade(name: str, values: tuple[Any, ...], _: Brief) -> Iterator[str]:
    ((_, _, iterations, _, amount, collateral, least, most),) = values
    if amount <= 0 or collateral or not iterations:
        yield f"{name} of {amount} with collateral {collateral}"
    if name.startswith("openPosition") and not 0 < most < 2**127:
        yield f"it pays up to {most}: no bound"
    if not name.startswith("openPosition") and least <= 0:
        yield "it sells for anything"


def _swap_in(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    ((_, _, _, recipient, deadline_s, _, least, _),) = values
    yield from _swap(recipient, deadline_s, brief)
    if least <= 0:
        yield "it swaps for anything"


def _swap_out(_: str, values: tuple[Any, ...], brief: Brief) -> Iterator[str]:
    ((_, _, _, recipient, deadline_s, _, most, _),) = values
    yield from _swap(recipient, deadline_s, brief)
    if not 0 < most < 2**127:
        yield f"it swaps up to {most}: no bound"


def _swap(recipient: str, deadline_s: int, brief: Brief) -> Iterator[str]:
    if recipient.lower() != brief.account.lower():
        yield f"it pays {recipient}, not the account"
    if not 0 < deadline_s < 2**40:
        yield f"its deadline is {deadline_s}"


def _nothing(*_: Any) -> Iterator[str]:
    yield from ()


def _types(signature: str) -> list[str]:
    inner = signature.partition("(")[2][:-1]
    return [inner] if inner.startswith("(") else inner.split(",")


def _status(leg: Mapping[str, Any]) -> str:
    return str(leg.get("status", "")) if leg["kind"] == "closed" else str(leg["kind"])


def _word(address: str) -> str:
    return "0x" + address[2:].lower().rjust(64, "0")


def audit(brief: Brief) -> dict[str, list[str]]:
    """Return invariant -> what is wrong, empty where it holds."""
    return Auditor(brief).verdicts()


def main() -> None:
    print(json.dumps(audit(Brief.load(Path(sys.argv[1])))))


if __name__ == "__main__":
    main()
