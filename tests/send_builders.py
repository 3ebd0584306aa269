"""What tests of sending share: a counting contract, an account, a lying proxy."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession, web
from eth_account import Account

from bot.chain.fees import GWEI
from bot.chain.rpc import Rpc, quantity
from bot.chain.signer import KeystoreSigner, SigningRules
from bot.chain.transactions import TransactionManager
from bot.model.hedge import HedgeLeg, Instrument, Layer, LegOutcome, LegStatus, OptionType, Side
from bot.model.intent import TxRequest

CHAIN_ID = 31337
FAR_S = 4_000_000_000.0
KEY = bytes.fromhex("59" * 32)
ADDRESS = Account.from_key(KEY).address
COUNTER = "0x" + "c0" * 20
REFUSER = "0x" + "dd" * 20
SELECTOR = bytes.fromhex("a1b2c3d4")

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
    )


def rules(**changes: Any) -> SigningRules:
    values: dict[str, Any] = {
        "chain_ids": frozenset({CHAIN_ID}),
        "calls": frozenset({(COUNTER, SELECTOR), (REFUSER, SELECTOR)}),
        "gas_ceiling": 1_000_000,
        "max_fee_wei": 2_000 * GWEI,
    }
    return SigningRules(**{**values, **changes})


def signer(**changes: Any) -> KeystoreSigner:
    return KeystoreSigner(Account.from_key(KEY), rules(**changes))


def manager(rpc: Rpc, journal: Any, **changes: Any) -> TransactionManager:
    values: dict[str, Any] = {
        "chain_id": CHAIN_ID,
        "poll_s": 0.01,
        "deadline_s": 5.0,
        "resume_wait_s": 5.0,
        "resend_after_s": 0.05,
        "bump_after_s": 60.0,
    }
    who = changes.pop("signer", None) or signer()
    return TransactionManager(rpc, who, journal, **{**values, **changes})


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
