"""Which answers of several providers count as the same, and which of them stands. Pure.

``k`` equal answers stand. Up to ``k - 1`` providers that lie alike cannot make an answer; ``k`` of them can,
so ``k`` equal to the number of providers is the choice of who would rather hold than trust a majority.
Not knowing (null, or an unknown block) is no dissent: a provider may lag. It stands only when ``k`` say so
and no answer has ``k`` votes once all were heard.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import orjson

from bot.chain.fees import parse_fee_history
from bot.chain.node_errors import RevertError, RpcError, says_unknown_block
from bot.chain.replies import is_data, quantity
from bot.errors import DisagreementError, TransientError

_LOG = (
    "address",
    "topics",
    "data",
    "blockNumber",
    "blockHash",
    "transactionHash",
    "transactionIndex",
    "logIndex",
)
_RECEIPT = (
    "transactionHash",
    "transactionIndex",
    "blockHash",
    "blockNumber",
    "from",
    "to",
    "status",
    "gasUsed",
    "cumulativeGasUsed",
    "effectiveGasPrice",
    "contractAddress",
    "logsBloom",
    "type",
)
_BLOCK = (
    "number",
    "hash",
    "parentHash",
    "timestamp",
    "baseFeePerGas",
    "gasUsed",
    "gasLimit",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
)
# Where the block of a call stands among its parameters.
_BLOCK_PARAMETER: Mapping[str, int] = {
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getStorageAt": 2,
}


def is_estimate(method: str) -> bool:
    """Whether honest nodes differ on a method; see ``Estimates``."""
    return method in _ESTIMATES


def is_agreed(method: str) -> bool:
    """Whether a decision rests on the answers of a method, so that ``k`` providers must give the same."""
    return method in _CANONICAL


def canonical(method: str, value: Any) -> bytes:
    """Return what two honest providers give alike: only fields that consensus fixes, in one spelling."""
    return orjson.dumps(_CANONICAL[method](value), option=orjson.OPT_SORT_KEYS)


@dataclass(slots=True)
class Ballot:
    """The votes on one question. ``where`` names a voter; each votes once."""

    method: str
    needed: int
    votes: dict[bytes, list[str]] = field(default_factory=dict)  # canonical answer -> who gave it
    answers: dict[str, Any] = field(default_factory=dict)  # who -> answer, or RevertError
    unknowing: dict[str, TransientError | None] = field(default_factory=dict)
    failed: dict[str, TransientError] = field(default_factory=dict)

    def add(self, where: str, answer: Any) -> None:
        """Count an answer, or the error that came in its place."""
        if isinstance(answer, RevertError):
            self._vote(where, b"revert " + sha256(answer.data).digest(), answer)
        elif answer is None:
            self.unknowing[where] = None
        elif isinstance(answer, TransientError):
            into = self.unknowing if says_unknown_block(answer) else self.failed
            into[where] = answer
        else:
            try:
                key = canonical(self.method, answer)
            except (TypeError, AttributeError, ValueError, LookupError):
                self.failed[where] = TransientError(f"{self.method} at {where}: the answer is malformed")
            else:
                self._vote(where, key, answer)

    def _vote(self, where: str, key: bytes, answer: Any) -> None:
        self.votes.setdefault(key, []).append(where)
        self.answers[where] = answer

    @property
    def winner(self) -> str | None:
        """Who gave the answer that stands, None while none does."""
        first = [voters[0] for voters in self.votes.values() if len(voters) >= self.needed]
        return first[0] if len(first) == 1 else None

    @property
    def dissenters(self) -> tuple[str, ...]:
        """Who contradicts the answer that stands."""
        winner = self.winner
        if winner is None:
            return ()
        return tuple(where for voters in self.votes.values() if winner not in voters for where in voters)

    def outcome(self) -> Any:
        """Return what stands once everybody was heard.

        Raises StaleDataError when answers differ and none has the votes, a node's own error when those who
        might agree do not know the block, TransientError when too few answered.
        """
        winner = self.winner
        if winner is not None:
            answer = self.answers[winner]
            if isinstance(answer, RevertError):
                raise answer
            return answer
        if len(self.votes) > 1:
            raise DisagreementError(f"{self.method}: providers disagree: {self.shown()}")
        if self.unknowing and (self.votes or len(self.unknowing) >= self.needed):
            unknown = next((error for error in self.unknowing.values() if error is not None), None)
            if unknown is not None:
                raise unknown
            if len(self.unknowing) >= self.needed:
                return None
        for error in self.failed.values():
            if isinstance(error, RpcError) and len(self.failed) >= self.needed:
                raise error  # every node says so in its own words
        raise TransientError(
            f"{self.method}: {len(self.answers)} of the {self.needed} providers needed gave an answer; "
            + self.shown()
        )

    def shown(self) -> str:
        """Say who said what, in one line."""
        said = [f"{where} said {_shown(answer)}" for where, answer in self.answers.items()]
        said += [f"{where} does not know" for where in self.unknowing]
        said += [f"{where} failed ({error})" for where, error in self.failed.items()]
        return "; ".join(said) or "nobody answered"


@dataclass(slots=True)
class Estimates:
    """Answers to a question on which honest nodes differ: the middle of all that came stands.

    Fewer than half of those who answer cannot move it past what the others say. Of an even number it is the
    higher one: to refuse what is too dear costs less than to sign what no block takes.
    """

    method: str
    needed: int
    found: list[tuple[tuple[int, ...], Any]] = field(default_factory=list)  # what it comes to, and the answer
    failed: list[TransientError] = field(default_factory=list)

    def add(self, answer: Any) -> None:
        """Take an estimate, or the error that came in its place."""
        try:
            if isinstance(answer, TransientError):
                raise answer
            self.found.append((_ESTIMATES[self.method](answer), answer))
        except TransientError as error:
            self.failed.append(error)

    @property
    def is_settled(self) -> bool:
        """Whether so many, a majority of all, said the same that no further answer can move the middle."""
        return any(count >= self.needed for count in Counter(worth for worth, _ in self.found).values())

    def outcome(self) -> Any:
        """Return the middle. Raises what so many say in its place, else TransientError."""
        if len(self.found) >= self.needed:
            return sorted(self.found, key=lambda item: item[0])[len(self.found) // 2][1]
        reverts = [error for error in self.failed if isinstance(error, RevertError)]
        others = [error for error in self.failed if not isinstance(error, RevertError)]
        for errors in (reverts, others):
            if len(errors) >= self.needed:
                raise errors[0]
        said = "; ".join(str(error) for error in self.failed)
        raise TransientError(
            f"{self.method}: {len(self.found)} of the {self.needed} providers needed gave one: {said}"
        )


def kth_highest(values: Sequence[str], k: int) -> str:
    """Return the highest quantity that at least ``k`` providers reach, so that no one alone can raise it."""
    return sorted(values, key=lambda value: int(value, 16), reverse=True)[k - 1]


def is_latest(method: str, params: Sequence[Any]) -> bool:
    """Whether a call asks about the newest block, by its tag or by leaving it out."""
    if method == "eth_getBlockByNumber":
        return bool(params) and params[0] == "latest"
    place = _BLOCK_PARAMETER.get(method)
    return place is not None and (len(params) <= place or params[place] == "latest")


def at_block(method: str, params: Sequence[Any], number: str | None) -> Sequence[Any]:
    """Return the parameters with a block number in place of ``latest``, where it stands there."""
    place = _BLOCK_PARAMETER.get(method)
    if number is None or place is None or not is_latest(method, params):
        return params
    return [*params[:place], number, *params[place + 1 :]]


def _shown(answer: Any) -> str:
    if isinstance(answer, RevertError):
        return str(answer)
    if isinstance(answer, str) and len(answer) <= 66:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("hash"), str):
        return f"block {answer.get('number')} {answer['hash'][:66]}"
    return f"a value with digest {sha256(orjson.dumps(answer)).hexdigest()[:12]}"


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _picked(fields: Sequence[str]) -> Callable[[Any], Any]:
    def pick(value: Any) -> Any:
        return {name: _lower(value[name]) for name in fields if value.get(name) is not None}

    return pick


def _log(value: Any) -> Any:
    found: dict[str, Any] = _picked(_LOG)(value)
    found["topics"] = [_lower(topic) for topic in value["topics"]]
    return found


def _logs(value: Any) -> Any:
    found = [_log(item) for item in value]
    return sorted(found, key=lambda item: (int(item["blockNumber"], 16), int(item["logIndex"], 16)))


def _receipt(value: Any) -> Any:
    # Nodes of the OP stack differ in whether they say it of a transaction that pays none.
    l1_fee = int(value.get("l1Fee") or "0x0", 16)
    return {
        **_picked(_RECEIPT)(value),
        "logs": _logs(value["logs"]),
        **({"l1Fee": hex(l1_fee)} if l1_fee else {}),
    }


def _word(value: Any) -> Any:
    """A storage word; some nodes leave out its leading zeros."""
    if not is_data(value):
        raise ValueError(value)
    return value[2:].lower().rjust(64, "0")


_CANONICAL: Mapping[str, Callable[[Any], Any]] = {
    "eth_call": _lower,
    "eth_getStorageAt": _word,
    "eth_getCode": _lower,
    "eth_getBalance": _lower,
    "eth_getTransactionCount": _lower,
    "eth_getLogs": _logs,
    "eth_getBlockByNumber": _picked(_BLOCK),
    "eth_getBlockByHash": _picked(_BLOCK),
    "eth_getBlockReceipts": lambda value: [_receipt(item) for item in value],
    "eth_getTransactionReceipt": _receipt,
}


def _quantity(value: Any) -> tuple[int, ...]:
    return (quantity(value),)


def _fee_market(value: Any) -> tuple[int, ...]:
    market = parse_fee_history(value)
    return (market.next_base_wei, market.median_tip_wei)


# What an estimate comes to, in the order that the middle is taken of.
_ESTIMATES: Mapping[str, Callable[[Any], tuple[int, ...]]] = {
    "eth_estimateGas": _quantity,
    "eth_feeHistory": _fee_market,
}
