"""What tests of sending share: a counting contract, an account, a lying proxy."""

import json
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web
from eth_account import Account
from eth_utils.crypto import keccak

from bot.chain.fees import GWEI
from bot.chain.rpc import Rpc, quantity
from bot.chain.safe import SafeTx
from bot.chain.signer import Signed, Unsigned
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import ChainRules, SigningRules
from bot.chain.transaction_bytes import assembled
from bot.chain.transactions import SendTerms, TransactionManager
from bot.model.hedge import HedgeLeg, Instrument, Layer, LegOutcome, LegStatus, OptionType, Side
from bot.model.intent import TxRequest
from bot.model.signing import CallRule, Guard

CHAIN_ID = 31337
FAR_S = 4_000_000_000.0
KEY = bytes.fromhex("59" * 32)
ADDRESS = Account.from_key(KEY).address
COUNTER = "0x" + "c0" * 20
REFUSER = "0x" + "dd" * 20
COUNT = "count(uint256)"
SELECTOR = keccak(text=COUNT)[:4]

# count[key] += 1 for the word after the selector; reverts for key 0.
#   PUSH1 4 CALLDATALOAD DUP1 ISZERO PUSH1 16 JUMPI
#   DUP1 SLOAD PUSH1 1 ADD SWAP1 SSTORE STOP  JUMPDEST(16) PUSH1 0 DUP1 REVERT
COUNTER_CODE = "0x60043580156010578054600101905500" + "5b600080fd"


def refuser_code(reason: str) -> str:
    """Return code that always reverts with Error(reason); at most 32 bytes of ASCII."""
    text = reason.encode()
    payload = (
        bytes.fromhex("08c379a0")
        + (32).to_bytes(32, "big")
        + len(text).to_bytes(32, "big")
        + text.ljust(32, b"\0")
    )
    # PUSH1 len PUSH1 12 PUSH1 0 CODECOPY PUSH1 len PUSH1 0 REVERT, then the payload at 12
    size = len(payload)
    return (
        "0x" + bytes([0x60, size, 0x60, 12, 0x60, 0, 0x39, 0x60, size, 0x60, 0, 0xFD]).hex() + payload.hex()
    )


PUT = Instrument(
    venue="test",
    id="strike:1",
    underlying="ETH",
    option_type=OptionType.PUT,
    strike_usd=2_000.0,
    expiry_s=4_000_000_000,
    settlement="sUSD",
)


def leg(key: str = "leg", *, layer: Layer = Layer.NEAR) -> HedgeLeg:
    return HedgeLeg(
        key=key,
        group="ETH/USDC",
        layer=layer,
        side=Side.BUY,
        instrument=PUT,
        size=1.0,
        limit_usd=110.0,
        expected_usd=100.0,
        valid_until_s=FAR_S,
    )


def filled(order: HedgeLeg, *, status: LegStatus = LegStatus.FILLED, at_s: float = 1.0) -> LegOutcome:
    return LegOutcome(leg=order, status=status, at_s=at_s, filled_size=order.size)


def request(
    number: int = 1,
    *,
    leg_key: str = "leg",
    valid_until_s: float = FAR_S,
    to: str = COUNTER,
    gas_ceiling: int = 200_000,
    purpose: str = "open",
    max_gas_cost_wei: int = 0,
    value_wei: int = 0,
) -> TxRequest:
    return TxRequest(
        key=f"{leg_key}/{number}-{purpose}",
        leg_key=leg_key,
        purpose=purpose,
        to=to,
        data=SELECTOR + number.to_bytes(32, "big"),
        valid_until_s=valid_until_s,
        gas_ceiling=gas_ceiling,
        max_gas_cost_wei=max_gas_cost_wei,
        value_wei=value_wei,
    )


def rules(**changes: Any) -> SigningRules:
    """Return rules under which both contracts may be called. ``changes`` are of the chain's, or of all."""
    values: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "permissions": tuple(
            CallRule(target=target, function=COUNT, guard=Guard.NO_MONEY, opens=True)
            for target in (COUNTER, REFUSER)
        ),
        "gas_ceiling": 1_000_000,
        "max_fee_wei": 2_000 * GWEI,
    }
    whole = {name: changes.pop(name) for name in ("expires_s", "real_money") if name in changes}
    return SigningRules(chains=(ChainRules(**{**values, **changes}),), **whole)


class DeskSigner:
    """The signer's own desk in this process: rules, memory and key are real, the socket is left out."""

    def __init__(self, desk: SigningDesk) -> None:
        self.desk = desk
        self.address = desk.address

    async def sign(self, unsigned: Unsigned, *, now_s: float) -> Signed:
        return assembled(unsigned, self.desk.sign(unsigned, now_s=now_s))

    async def sign_safe(
        self, tx: SafeTx, *, chain_id: int, safe: str, valid_until_s: float, now_s: float
    ) -> bytes:
        return self.desk.sign_safe(tx, chain_id=chain_id, safe=safe, valid_until_s=valid_until_s, now_s=now_s)

    async def has_signed(self, chain_id: int, nonce: int) -> bool:
        return self.desk.has_signed(chain_id, nonce)


def desk(
    path: Path | None = None, *, key: bytes = KEY, given: SigningRules | None = None, **changes: Any
) -> SigningDesk:
    """Return a desk over the memory at ``path``, or over one that ends with it."""
    paused = changes.pop("paused", lambda: "")
    clock = changes.pop("clock", lambda: 0.0)
    with tempfile.TemporaryDirectory(prefix="alvh-signer-") as folder:  # an open file outlives its name
        memory = SignerMemory(path or Path(folder) / "signer.log")
    made = SigningDesk(LocalKey(key), given or rules(**changes), memory, paused=paused, clock=clock)
    if path is None:
        weakref.finalize(made, memory.close)
    return made


def signer(path: Path | None = None, **changes: Any) -> DeskSigner:
    return DeskSigner(desk(path, **changes))


def manager(rpc: Rpc, journal: Any, **changes: Any) -> TransactionManager:
    """Return a manager that waits little. ``changes`` are of its terms, or its other arguments."""
    own = {name: changes.pop(name) for name in ("chain_id", "route", "pins") if name in changes}
    values: dict[str, Any] = {
        "poll_s": 0.01,
        "deadline_s": 5.0,
        "resume_wait_s": 5.0,
        "resend_after_s": 0.05,
        "bump_after_s": 60.0,
    }
    who = changes.pop("signer", None) or signer()
    terms = SendTerms(**{**values, **changes})
    return TransactionManager(rpc, who, journal, **{"chain_id": CHAIN_ID, "terms": terms, **own})


async def prepare(rpc: Rpc) -> None:
    """Fund the account and put the contracts in place."""
    await rpc.request("anvil_setBalance", [ADDRESS, hex(10**20)])
    await rpc.request("anvil_setCode", [COUNTER, COUNTER_CODE])
    await rpc.request("anvil_setCode", [REFUSER, refuser_code("too much slippage")])


async def count(rpc: Rpc, number: int) -> int:
    """Return how often the counter was called for a number, as the chain says."""
    return int(await rpc.request("eth_getStorageAt", [COUNTER, hex(number), "latest"]), 16)


async def nonce(rpc: Rpc, tag: str = "latest") -> int:
    return quantity(await rpc.request("eth_getTransactionCount", [ADDRESS, tag]))


async def chain_time(rpc: Rpc) -> float:
    return float(quantity((await rpc.request("eth_getBlockByNumber", ["latest", False]))["timestamp"]))


Hook = Callable[[dict[str, Any]], Any]


@dataclass
class Proxy:
    """A JSON-RPC proxy that may lie: ``before`` may answer itself, ``after`` may change or cut a reply.

    A hook gets the call (and the reply); it returns None for "as it is", CUT to drop the connection, or the
    reply to give. ``seen`` lists every call's method.
    """

    upstream: str
    url: str = ""
    before: Hook | None = None
    after: Callable[[dict[str, Any], dict[str, Any]], Any] | None = None
    seen: list[dict[str, Any]] = field(default_factory=list)
    _runner: Any = None
    _session: Any = None

    CUT = object()

    async def __aenter__(self) -> "Proxy":
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._session = ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._runner.cleanup()

    def sends(self) -> list[str]:
        return [call["params"][0] for call in self.seen if call["method"] == "eth_sendRawTransaction"]

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        body = await incoming.json()
        calls = body if isinstance(body, list) else [body]
        replies = []
        for call in calls:
            self.seen.append(call)
            reply = self.before(call) if self.before else None
            if reply is None:
                async with self._session.post(self.upstream, json=call) as answer:
                    reply = await answer.json()
                if self.after and (changed := self.after(call, reply)) is not None:
                    reply = changed
            if reply is self.CUT:
                incoming.transport.abort()
                return web.Response()
            replies.append(reply)
        return web.Response(
            text=json.dumps(replies if isinstance(body, list) else replies[0]),
            content_type="application/json",
        )


def error(call: dict[str, Any], message: str, code: int = -32000) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}}


def result(call: dict[str, Any], value: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": call["id"], "result": value}
