"""A Safe Transaction Service on this machine, for one Safe: the documented endpoints, with their checks.

Follows the OpenAPI of safe-global/safe-transaction-service (2026-08): hash, owners, signatures and executed
nonces are checked against the chain as there, with 201, 404, 422 and 400 as there. Hashes come from the Safe
itself and signatures are recovered by eth-account, not by our own code. ``lie`` changes what is shown,
``faults`` replaces the answer of a path; every request is kept in ``asked``.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from eth_account import Account
from eth_account.messages import defunct_hash_message
from eth_utils.address import is_checksum_address, to_checksum_address
from safe_builders import SafeWorld

Answer = Callable[[web.Request], web.StreamResponse]
_NUMBERS = ("value", "operation", "safeTxGas", "baseGas", "gasPrice", "nonce")


class Invalid(Exception):
    """What the service answers with 422 (proposals) or 400 (confirmations)."""


class TransactionService:
    """The mailbox. ``rows`` are transactions by hash, as they are shown."""

    def __init__(self, world: SafeWorld, *, api_key: str = "") -> None:
        self.url = ""
        self.world = world
        self.api_key = api_key
        self.rows: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.faults: dict[str, Answer] = {}
        self.lie: Callable[[dict[str, Any]], dict[str, Any]] = lambda row: row
        self.lose_answers = False  # the request is done, its answer never comes

    async def propose(self, request: web.Request) -> web.StreamResponse:
        address = request.match_info["address"]
        if not is_checksum_address(address):
            words = {"code": 1, "message": "Checksum address validation failed", "arguments": [address]}
            return web.json_response(words, status=422)
        try:
            row = await self._valid(await request.json())
        except Invalid as error:
            return web.json_response({"nonFieldErrors": [str(error)]}, status=422)
        kept = self.rows.setdefault(row["safeTxHash"], row)
        for item in row["confirmations"]:
            _confirm(kept, item["owner"], item["signature"])
        return await self._done(web.Response(status=201))

    async def confirm(self, request: web.Request) -> web.StreamResponse:
        row = self.rows.get(request.match_info["hash"])
        if row is None:
            return web.json_response({"detail": "Not found."}, status=404)
        body = await request.json()
        try:
            if await self._is_executed(row):
                raise Invalid(f"Transaction with safe-tx-hash={row['safeTxHash']} was already executed")
            owner = await self._signer(body["signature"], row["safeTxHash"])
        except Invalid as error:
            return web.json_response({"signature": [str(error)]}, status=400)
        _confirm(row, owner, body["signature"])
        return await self._done(web.json_response({"signature": body["signature"]}, status=201))

    async def one(self, request: web.Request) -> web.StreamResponse:
        row = self.rows.get(request.match_info["hash"])
        if row is None:
            return web.json_response(
                {"detail": "No MultisigTransaction matches the given query."}, status=404
            )
        return web.json_response(self.lie(await self._shown(row)))

    async def many(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        rows = [await self._shown(row) for row in self.rows.values()]
        rows = [row for row in rows if row["trusted"]]
        if "executed" in query:
            rows = [row for row in rows if row["isExecuted"] is (query["executed"] == "true")]
        rows = [row for row in rows if int(row["nonce"]) >= int(query.get("nonce__gte", 0))]
        rows.sort(key=lambda row: int(row["nonce"]), reverse=query.get("ordering") != "nonce")
        start, limit = int(query.get("offset", 0)), min(int(query.get("limit", 100)), 200)
        page = rows[start : start + limit]
        following = f"{request.url}" if start + limit < len(rows) else None
        body = {"count": len(rows), "next": following, "previous": None, "results": list(map(self.lie, page))}
        return web.json_response({**body, "countUniqueNonce": len({row["nonce"] for row in rows})})

    @web.middleware
    async def gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs))
        if self.api_key and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return web.json_response({"message": "Unauthorized"}, status=401)
        if fault := self.faults.get(request.method):
            return fault(request)
        return await handler(request)  # type: ignore[no-any-return]

    async def _valid(self, body: dict[str, Any]) -> dict[str, Any]:
        numbers = {name: int(body[name]) for name in _NUMBERS}
        data = bytes.fromhex((body["data"] or "0x")[2:])
        row = {**body, **numbers}
        fields = ("safeTxGas", "baseGas", "gasPrice", "gasToken", "refundReceiver", "nonce")
        own = await self.world.safe.call(
            "getTransactionHash",
            row["to"],
            row["value"],
            data,
            row["operation"],
            *(row[name] for name in fields),
        )
        given = row.pop("contractTransactionHash")
        if "0x" + own.hex() != given:
            raise Invalid(f"Contract-transaction-hash=0x{own.hex()} does not match provided {given}")
        if row["nonce"] < (await self.world.state()).nonce:
            raise Invalid(f"Tx with nonce={row['nonce']} already executed")
        sender, signature = row.pop("sender"), row.pop("signature")
        if sender not in (await self.world.state()).owners:
            raise Invalid(f"Sender={sender} is not an owner or delegate")
        confirmations = []
        if signature is not None:
            if await self._signer(signature, given) != sender:
                raise Invalid(f"Signature does not match sender={sender}")
            confirmations.append({"owner": sender, "signature": signature})
        return {**row, "safeTxHash": given, "proposer": sender, "confirmations": confirmations}

    async def _signer(self, signature: str, tx_hash: str) -> str:
        raw, digest = bytes.fromhex(signature[2:]), bytes.fromhex(tx_hash[2:])
        if len(raw) != 65:
            raise Invalid("Ensure this field has at least 65 hexadecimal chars")
        if raw[64] > 30:
            digest, raw = bytes(defunct_hash_message(digest)), raw[:64] + bytes([raw[64] - 4])
        owner = to_checksum_address(Account._recover_hash(digest, signature=raw))
        if owner not in (await self.world.state()).owners:
            raise Invalid(f"Signer={owner} is not an owner")
        return owner

    async def _is_executed(self, row: dict[str, Any]) -> bool:
        return bool(row["nonce"] < (await self.world.state()).nonce)

    async def _shown(self, row: dict[str, Any]) -> dict[str, Any]:
        """As the V2 serializer shows it: nonce, baseGas, safeTxGas, value and gasPrice are strings."""
        texts = {name: str(row[name]) for name in ("value", "safeTxGas", "baseGas", "gasPrice", "nonce")}
        marked = [
            {
                **item,
                "signatureType": "EOA",
                "submissionDate": "2026-11-21T00:00:00Z",
                "transactionHash": None,
            }
            for item in row["confirmations"]
        ]
        return {
            **row,
            **texts,
            "safe": self.world.address,
            "isExecuted": await self._is_executed(row),
            "confirmations": marked,
            "confirmationsRequired": 2,
            "trusted": bool(marked),
        }

    async def _done(self, response: web.Response) -> web.Response:
        if self.lose_answers:
            await asyncio.sleep(30.0)
        return response


def _confirm(row: dict[str, Any], owner: str, signature: str) -> None:
    """The first signature of an owner stays, as there (get_or_create)."""
    if owner not in {item["owner"] for item in row["confirmations"]}:
        row["confirmations"].append({"owner": owner, "signature": signature})


@asynccontextmanager
async def transaction_service(world: SafeWorld, *, api_key: str = "") -> AsyncIterator[TransactionService]:
    """Run one on a free port."""
    service = TransactionService(world, api_key=api_key)
    app = web.Application(middlewares=[service.gate])
    app.router.add_get("/api/v2/safes/{address}/multisig-transactions/", service.many)
    app.router.add_post("/api/v2/safes/{address}/multisig-transactions/", service.propose)
    app.router.add_get("/api/v2/multisig-transactions/{hash}/", service.one)
    app.router.add_post("/api/v1/multisig-transactions/{hash}/confirmations/", service.confirm)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()
