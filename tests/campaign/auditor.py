"""The auditor: a process of its own that reads the chain, then the bot's files, and compares both ways.

``python -m campaign.auditor BRIEF.json`` prints one JSON object: ``verdicts``, invariant -> what is wrong
(nothing when it holds), and ``gas_lost_wei``. It shares no code with what decides, signs or books: calls are
decoded by eth-abi with types of its own, the journal is read by sqlite3, its hashes are computed here again.
The invariants are those of reliability.md.
"""

import hashlib
import json
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from campaign.audited_calls import judge
from campaign.audited_chain import Brief, Chain
from campaign.canary_forms import Canary, Needles
from campaign.pool import Pooled

CHAIN_ID = 31337
_CLOSED = {"final", "reverted", "cancelled", "lost", "released"}
_MONEY_USD = 0.05  # two stables are counted as a dollar each


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
        """I4: no canary in what the bot said, was heard to say or kept, in any of twelve encodings."""
        needles = Needles(
            Canary(name, bytes.fromhex(value[2:]) if value.startswith("0x") else value.encode())
            for name, value in self.brief.secrets.items()
        )
        texts = {f"text {number}": text.encode() for number, text in enumerate(self.brief.said)}
        if self.brief.home:
            for path in sorted(Path(self.brief.home).rglob("*")):
                if path.is_file() and path.name not in self.brief.files_exempt:
                    texts[path.name] = path.read_bytes()
        for where, text in texts.items():
            for hit in needles.found(where, text):
                yield f"SECRET: {hit.canary} is in {where}, as {hit.encoding}"

    def every_head(self) -> Iterator[str]:
        """I5: each head that was served is seen as it was served, or in a recorded gap with a reason."""
        steps = [row["body"] for row in (item for name, item in self.journal.rows if name == "steps")]
        seen = {int(n) for body in steps for n in json.loads(body)["decision"]["blocks"].values()}
        if not seen:
            return
        kept, gaps = self._history()
        for height, served in ((int(number), block) for number, block in self.brief.served.items()):
            if not min(seen) <= height <= max(seen):
                continue
            if any(low <= height <= high and why for low, high, why in gaps):
                continue
            if height not in seen | kept.keys():
                yield f"LOST: head {height} was served, and is neither decided on nor in a gap"
            elif kept.get(height, served) != served and self.chain.block_hash(height) == served:
                yield f"LOST: head {height} was served as {served}, and kept is {kept[height]}"

    def _history(self) -> tuple[dict[int, str], list[tuple[int, int, str]]]:
        path = Path(self.brief.history)
        if not path.is_file():
            return {}, []
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            kept = dict(database.execute("SELECT number, hash FROM heads"))
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
                found = judge(Pooled.of(raw), self.brief, now_s=self.chain.now_s)
                yield from (f"{intent['key']}: {wrong}" for wrong in found)

    def dry(self) -> Iterator[str]:
        """I11: a dry run sends nothing."""
        if not self.brief.may_send and (self.brief.sends or self.chain.transactions):
            yield f"a run that may not send sent {self.brief.sends + len(self.chain.transactions)} times"

    def whole_journal(self) -> Iterator[str]:
        """I12: it is there, its hashes hold; every transaction of the account was signed by the journal."""
        if not self.journal.rows:
            yield f"there is no journal, or nothing in it: {self.brief.journal}"
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

    def gas_lost_wei(self) -> int:
        """Return the gas of transactions without effect: those that reverted, and cancels."""
        own = {
            intent["key"] for intent in self.intents.values() if intent["state"] in ("cancelled", "reverted")
        }
        return sum(
            tx.gas_wei
            for tx in self.chain.transactions
            if not tx.succeeded or self.of_hash.get(tx.hash, {}).get("key") in own
        )

    def chain_ids(self) -> Iterator[str]:
        """I14: nothing was signed for another chain."""
        for intent in self.intents.values():
            for raw in intent["raws"]:
                if Pooled.of(raw).chain_id != CHAIN_ID:
                    yield f"{intent['key']} was signed for chain {Pooled.of(raw).chain_id}"


def _status(leg: Mapping[str, Any]) -> str:
    return str(leg.get("status", "")) if leg["kind"] == "closed" else str(leg["kind"])


def audit(brief: Brief) -> dict[str, list[str]]:
    """Return invariant -> what is wrong, empty where it holds."""
    return Auditor(brief).verdicts()


def main() -> None:
    auditor = Auditor(Brief.load(Path(sys.argv[1])))
    print(json.dumps({"verdicts": auditor.verdicts(), "gas_lost_wei": auditor.gas_lost_wei()}))


if __name__ == "__main__":
    main()
