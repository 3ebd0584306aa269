"""The Safe Transaction Service over HTTP: proposals and confirmations, as its OpenAPI documents them.

Used are ``/api/v2/safes/{address}/multisig-transactions/`` (list, propose), ``/api/v2/multisig-transactions/
{hash}/`` and ``/api/v1/multisig-transactions/{hash}/confirmations/``. The service is a mailbox: it is never
asked for owners, nonces or outcomes, which the chain says; what it shows is checked before it is used.
Proposing and confirming are idempotent there (by hash, by owner), so neither is harmed by a second try.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from bot.chain.address import checksummed
from bot.chain.http_session import TRANSPORT_ERRORS, BodyTooLarge, Closeable, HttpSession, bounded_body
from bot.chain.node_url import checked_url, redact_url, secrets_of
from bot.chain.safe_documents import proposal_document, proposal_from, raw_bytes
from bot.chain.safe_proposal import Proposal, checked
from bot.errors import DisagreementError, OutcomeUnknown, TransientError, VenueRejected
from bot.model.parsing import json_of

_PAGE, _MOST_PAGES = 100, 20
_MOST_BYTES = 8_000_000
_WORDS_AT_MOST = 300
_TOO_MANY = 429
_REFUSALS = frozenset({400, 401, 403, 404, 409, 413, 422})


class _Reply(NamedTuple):
    status: int
    body: Any  # decoded JSON, None where there is none


class SafeService(Closeable):
    """A ProposalStore at a Transaction Service. Use as an async context manager, or call :meth:`close`.

    ``url`` ends before "/api", for example "https://api.safe.global/tx-service/sep". Its key, if it wants
    one, goes into the Authorization header and into no message. ``timeout_s`` bounds a whole call.
    """

    def __init__(
        self, url: str, *, chain_id: int, safe: str, api_key: str = "", timeout_s: float = 15.0
    ) -> None:
        checked_url(url, schemes=("http", "https"), allow_plain=False, what="safe.service")
        self._url = url.rstrip("/")
        self._chain_id, self._safe = chain_id, checksummed(safe)
        self._timeout_s = timeout_s
        headers = {"Accept": "application/json"}
        self._secrets = secrets_of(url)
        if api_key:
            headers["Authorization"] = f"Bearer {api_key}"
            self._secrets = (api_key, *self._secrets)
        # Not kept for long: a proposal sent on a connection that the service closed meanwhile looks unknown.
        self._http = HttpSession(self.where, headers=headers, connections=100, keepalive_s=15.0)

    @property
    def where(self) -> str:
        return redact_url(self._url)

    def __repr__(self) -> str:
        return f"SafeService({self.where})"

    async def close(self) -> None:
        await self._http.close()

    async def put(self, proposal: Proposal) -> None:
        """See ProposalStore. The proposer's own signature, which the service asks for, goes with it."""
        checked(proposal, chain_id=self._chain_id, safe=self._safe, where="the bot")
        body = proposal_document(proposal)
        del body["safeTxHash"], body["proposer"]
        body["contractTransactionHash"] = proposal.tx_hash
        body["sender"] = proposal.proposer
        first = proposal.signatures.get(proposal.proposer)
        body["signature"] = None if first is None else "0x" + first.hex()
        path = f"/api/v2/safes/{self._safe}/multisig-transactions/"
        await self._post(path, body, what="proposal", key=proposal.tx_hash)
        for owner, signature in proposal.signatures.items():
            if owner != proposal.proposer:
                await self.sign(proposal.tx_hash, owner, signature)

    async def sign(self, tx_hash: str, owner: str, signature: bytes) -> None:
        path = f"/api/v1/multisig-transactions/{tx_hash}/confirmations/"
        body = {"signature": "0x" + signature.hex()}
        await self._post(path, body, what=f"signature of {owner}", key=tx_hash)

    async def get(self, tx_hash: str) -> Proposal | None:
        reply = await self._read(f"/api/v2/multisig-transactions/{tx_hash}/", {})
        if reply.status == 404:
            return None
        found = self._proposal(self._body(reply))
        if found.tx_hash != tx_hash.lower():
            raise DisagreementError(f"{self.where} answers {tx_hash} with transaction {found.tx_hash}")
        return found

    async def waiting(self, *, from_nonce: int) -> tuple[Proposal, ...]:
        path = f"/api/v2/safes/{self._safe}/multisig-transactions/"
        found: dict[str, Proposal] = {}
        for page in range(_MOST_PAGES):
            query = {
                "executed": "false",
                "nonce__gte": str(from_nonce),
                "ordering": "nonce",
                "limit": str(_PAGE),
                "offset": str(page * _PAGE),
            }
            body = self._body(await self._read(path, query))
            for item in _results(body, self.where):
                proposal = self._proposal(item)
                if proposal.tx.nonce >= from_nonce:
                    found[proposal.tx_hash] = proposal
            if not body.get("next"):
                return tuple(sorted(found.values(), key=lambda item: (item.tx.nonce, item.tx_hash)))
        raise TransientError(
            f"{self.where} lists over {_MOST_PAGES * _PAGE} open transactions of Safe {self._safe}; "
            "reject or delete what nobody will sign"
        )

    def _proposal(self, item: Any) -> Proposal:
        try:
            plain = proposal_from(item)
            signatures = {
                checksummed(one["owner"]): raw_bytes(one["signature"])
                for one in item.get("confirmations") or ()
            }
            safe = checksummed(item["safe"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TransientError(
                f"{self.where}: a transaction of another shape than documented ({type(error).__name__})"
            ) from None
        if safe != self._safe:
            raise DisagreementError(
                f"{self.where} shows a transaction of Safe {safe}, asked was {self._safe}"
            )
        found = replace(plain, signatures=signatures)
        return checked(found, chain_id=self._chain_id, safe=self._safe, where=self.where)

    def _body(self, reply: _Reply) -> Any:
        if reply.status != 200:
            raise TransientError(f"{self.where}: HTTP {reply.status}{self._words(reply.body)}")
        if not isinstance(reply.body, Mapping):
            raise TransientError(f"{self.where}: the reply is no JSON object")
        return reply.body

    async def _read(self, path: str, query: Mapping[str, str]) -> _Reply:
        return await self._call("GET", path, query=query)

    async def _post(self, path: str, body: Mapping[str, Any], *, what: str, key: str) -> None:
        """Send once. What was not surely refused may have been taken."""
        try:
            reply = await self._call("POST", path, body=body)
        except TransientError as error:
            raise OutcomeUnknown(f"{what}: {error}", key) from None
        words = f"{what}: {self.where}: HTTP {reply.status}{self._words(reply.body)}"
        if reply.status in _REFUSALS:
            raise VenueRejected(f"refused {words}")
        if reply.status == _TOO_MANY:
            raise TransientError(f"not taken: {words}")
        if reply.status not in (200, 201):
            raise OutcomeUnknown(words, key)

    async def _call(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> _Reply:
        # The errors of aiohttp may hold the URL: only their class is kept, and they are not chained.
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.open().request(
                    method, self._url + path, params=query, json=body, allow_redirects=False
                ) as response,
            ):
                raw = await bounded_body(response, limit=_MOST_BYTES)
                return _Reply(response.status, _json(raw))
        except TimeoutError:
            why = f"no answer within {self._timeout_s:g} s"
        except BodyTooLarge:
            why = f"the reply is larger than {_MOST_BYTES} bytes"
        except TRANSPORT_ERRORS as error:
            why = type(error).__name__
        raise TransientError(f"{self.where}: {why}")

    def _words(self, body: Any) -> str:
        """What the service says of a refusal, bounded, on one line, without anything secret."""
        if body is None:
            return ""
        words = json.dumps(body)
        for secret in self._secrets:
            words = words.replace(secret, "…")
        return f" {words[:_WORDS_AT_MOST]}"


def _results(body: Mapping[str, Any], where: str) -> list[Any]:
    found = body.get("results")
    if not isinstance(found, list):
        raise TransientError(f"{where}: a list of another shape than documented")
    return found


def _json(raw: bytes) -> Any:
    try:
        return json_of(raw) if raw else None
    except ValueError:
        return None
