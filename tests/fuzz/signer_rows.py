"""Decoders of what a signer, a Safe service and the files of both say."""

import json
import socket
import tempfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from coincurve import PrivateKey
from eth_abi.abi import encode
from eth_utils.address import to_checksum_address
from fuzz.kinds import BROKEN, CONFIG, Decoder, dumped, of_file, of_json, of_text, waited
from send_builders import CHAIN_ID, desk
from signer_builders import ADDRESS, NOW_S, unsigned

from bot.chain.code_pins import _read_file
from bot.chain.derive_actions import DeriveAction, TradeData, action_fields, action_from_fields
from bot.chain.pause import read_pause
from bot.chain.raw_transaction import decode_raw
from bot.chain.safe import ZERO, SafeTx, safe_tx_hash
from bot.chain.safe_calls import _values
from bot.chain.safe_control import SafeControl
from bot.chain.safe_documents import proposal_document
from bot.chain.safe_proposal import Proposal
from bot.chain.safe_queue import SafeQueue
from bot.chain.safe_service import SafeService, _json, _Reply
from bot.chain.safe_state import SafeState
from bot.chain.signer_wire import (
    HEADER,
    answer,
    frame,
    parsed,
    safe_fields,
    safe_of,
    unsigned_fields,
    unsigned_of,
)
from bot.chain.signing.calls import APPROVE, Approval, _canonical
from bot.chain.signing.keys import LocalKey, RemoteKey
from bot.chain.signing.keystore import _read_keystore, read_password_file
from bot.chain.signing.memory import Entry, SignerMemory, _document
from bot.chain.signing.server import SignerServer, _Link
from bot.chain.transaction_bytes import assembled, preimage, signer_of
from bot.errors import (
    ConfigError,
    DisagreementError,
    InvariantError,
    OutcomeUnknown,
    TransientError,
    VenueRejected,
)

ME, SPENDER = to_checksum_address(ADDRESS), "0x" + "33" * 20
SAFE = to_checksum_address("0x" + "5a" * 20)
TX = SafeTx(to=ME, data=b"\1\2", nonce=3)
HASH = "0x" + safe_tx_hash(TX, chain_id=CHAIN_ID, safe=SAFE).hex()
PROPOSAL = Proposal(tx=TX, tx_hash=HASH, origin="alvh", proposer=ME)
SERVED = proposal_document(PROPOSAL) | {
    "safe": SAFE,
    "confirmations": [{"owner": ME, "signature": "0x" + "01" * 65}],
}
STATE = SafeState(
    address=SAFE, version="1.4.1", owners=(ME,), threshold=1, nonce=3, modules=(), guard=ZERO,
    fallback_handler=ZERO, singleton=ME,
)  # fmt: skip
ENTRY = Entry(
    chain_id=CHAIN_ID, space=ME.lower(), nonce=0, payload=(ME, "ab" * 32, 0), is_cancel=False, at_s=100.0,
    approvals=(Approval(token=ME, spender=SPENDER, amount_raw=10**30),), spends=((ME, 10**30),),
)  # fmt: skip
ACTION = DeriveAction(
    subaccount_id=5, nonce=int(NOW_S) * 10**9, expiry_s=int(NOW_S) + 300, owner=ME, signer=ME,
    data=TradeData(
        asset=ME, sub_id=5, limit_price_e18=10**18, amount_e18=10**18, max_fee_e18=10**18, recipient_id=5,
        is_bid=True,
    ),
)  # fmt: skip
UNSIGNED = unsigned()
KEY_BYTES = b"\7" * 32
KEY = LocalKey(KEY_BYTES)
KEYSTORE = {"version": 3, "crypto": {"kdf": "scrypt", "kdfparams": {"n": 262_144}}, "address": ADDRESS[2:]}
SIGNED = assembled(UNSIGNED, KEY.signature(preimage(UNSIGNED))).raw
MESSAGE = b"a message"
LINE = _document(ENTRY)
MEMORY = b"".join(
    b"%08x %s\n" % (zlib.crc32(line), line) for line in dumped(LINE, {"kind": "epoch", "epoch": 1})
)
PUBLIC = dumped(["0x" + PrivateKey(KEY_BYTES).public_key.format(compressed=False)[1:].hex()])[0]


def memory_of(path: Path) -> Any:
    memory = SignerMemory(path)
    try:
        return memory.highest(CHAIN_ID, ME.lower()), memory.spent(CHAIN_ID, ME, now_s=100.0)
    finally:
        memory.close()


def proposals_in(path: Path) -> Any:
    """Read the queue whose one proposal is a file of these bytes."""
    place = path.parent / f"{CHAIN_ID}-{SAFE.lower()}" / HASH
    place.mkdir(parents=True)
    path.rename(place / "proposal.json")
    return waited(SafeQueue(path.parent, chain_id=CHAIN_ID, safe=SAFE).waiting(from_nonce=0))


def asked_of_the_server(raw: bytes) -> Any:
    """Answer a request as the signer does: whatever comes is answered."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        memory = SignerMemory(Path(folder) / "memory.log")
        server = SignerServer(desk(), memory, Path(folder) / "signer.sock")
        ours, theirs = socket.socketpair()
        try:
            return parsed(frame(server._answer(_Link(ours, process=1), raw))[HEADER.size :])
        finally:
            server.close()
            memory.close()
            ours.close()
            theirs.close()


def pause_in(path: Path) -> str:
    return str(read_pause(path.parent))


def no_line(found: str) -> str:
    return "" if found.isprintable() and len(found) < 2_000 else "a pause that is no line"


def pins_in(path: Path) -> Any:
    return _read_file(path)


def served(raw: bytes) -> Any:
    """Read a transaction as a Safe service answers it."""
    service = SafeService("https://safe.example", chain_id=CHAIN_ID, safe=SAFE, api_key="secret-key")
    return service._proposal(service._body(_Reply(200, _json(raw))))


def complained(raw: bytes) -> Any:
    """Read why a Safe service refuses."""
    service = SafeService("https://safe.example", chain_id=CHAIN_ID, safe=SAFE, api_key="secret-key")
    return service._body(_Reply(500, _json(raw)))


class Remote(RemoteKey):
    """A signing service that says what it is told to say."""

    def __init__(self, said: bytes) -> None:
        self._said = said
        super().__init__("https://signer.example", address=KEY.address)

    def _ask(self, method: str, path: str, body: dict[str, str] | None) -> str:
        return self._said.decode("utf-8")


def remote_signature(raw: bytes) -> Any:
    key = Remote(PUBLIC)
    key._said = raw
    return key.signature(MESSAGE)


PIN = {ME.lower(): {"code_hash": HASH, "target": "", "behind": "", "target_hash": "", "behind_hash": ""}}
TAKEN, REFUSED = {"ok": {"signature": "00"}}, {"refused": "VenueRejected", "words": "over the cap"}
LIES = (TransientError, DisagreementError)

ROWS: tuple[Decoder, ...] = (
    Decoder(
        name="calldata to sign",
        module="chain/signing/calls.py",
        run=lambda raw: _canonical(("address", "uint256", "bytes"), raw),
        errors=(),
        valid=(encode(("address", "uint256", "bytes"), (ME, 1, b"x")),),
    ),
    Decoder(
        name="call of a Safe transaction",
        module="chain/safe_calls.py",
        run=lambda raw: _values("approve(address,uint256)", raw),
        errors=(),
        valid=(APPROVE + encode(("address", "uint256"), (ME, 1)),),
    ),
    Decoder(
        name="message of the signer",
        module="chain/signer_wire.py",
        run=parsed,
        valid=dumped(TAKEN),
        errors=BROKEN,
    ),
    Decoder(
        name="answer of the signer",
        module="chain/signer_client.py",
        valid=dumped(TAKEN),
        run=lambda raw: answer(parsed(raw), "nonce 1"),
        refused=dumped(REFUSED),
        errors=(InvariantError, ConfigError, TransientError, VenueRejected, OutcomeUnknown),
    ),
    Decoder(
        name="transaction to sign",
        module="chain/signer_wire.py",
        valid=dumped(unsigned_fields(UNSIGNED)),
        run=lambda raw: unsigned_of(parsed(raw)),
        errors=BROKEN,
        back=lambda found: json.dumps(unsigned_fields(found)).encode(),
    ),
    Decoder(
        name="Safe transaction to sign",
        module="chain/signer_wire.py",
        valid=dumped(safe_fields(replace(TX, to=ME.lower()))),
        run=lambda raw: safe_of(parsed(raw)),
        errors=BROKEN,
        back=lambda found: json.dumps(safe_fields(found)).encode(),
    ),
    Decoder(
        name="Derive action to sign",
        module="chain/derive_actions.py",
        valid=dumped(action_fields(ACTION)),
        run=of_json(action_from_fields),
        errors=BROKEN,
        back=lambda found: json.dumps(action_fields(found)).encode(),
    ),
    Decoder(
        name="request to the signer",
        module="chain/signing/server.py",
        errors=(),
        run=asked_of_the_server,
        valid=dumped(
            {"kind": "hello", "who": "bot", "policy_hash": "", "resume": 0, "take_over": False},
            {"kind": "status", "now_s": 1.0},
            {"kind": "sign", "epoch": 0},
        ),
    ),
    Decoder(
        name="memory of the signer",
        module="chain/signing/memory.py",
        run=of_file(memory_of),
        errors=CONFIG,
        valid=(MEMORY,),
    ),
    Decoder(
        name="line of the memory",
        module="chain/signing/memory.py",
        errors=CONFIG,
        valid=dumped(LINE),
        run=lambda raw: of_file(memory_of)(b"%08x %s\n" % (zlib.crc32(raw), raw)),
    ),
    Decoder(
        name="keystore",
        module="chain/signing/keystore.py",
        valid=dumped(KEYSTORE),
        errors=CONFIG,
        run=of_file(lambda path: _read_keystore(path, min_scrypt_n=262_144)),
    ),
    Decoder(
        name="password file",
        module="chain/signing/keystore.py",
        valid=(b"secret\n",),
        errors=CONFIG,
        run=of_file(read_password_file),
    ),
    Decoder(
        name="keys of a signing service",
        module="chain/signing/keys.py",
        run=Remote,
        valid=(PUBLIC,),
        errors=CONFIG,
    ),
    Decoder(
        name="remote signature",
        module="chain/signing/keys.py",
        run=remote_signature,
        valid=(b"0x" + KEY.signature(MESSAGE).hex().encode(),),
        errors=(InvariantError, OutcomeUnknown),
    ),
    Decoder(
        name="signature",
        module="chain/transaction_bytes.py",
        valid=(KEY.signature(MESSAGE),),
        errors=(),
        run=lambda raw: signer_of(MESSAGE, raw),
    ),
    Decoder(
        name="raw transaction",
        module="chain/raw_transaction.py",
        errors=BROKEN,
        run=lambda raw: decode_raw("0x" + raw.hex()),
        valid=(bytes.fromhex(SIGNED[2:]),),
    ),
    Decoder(
        name="raw transaction as text",
        module="chain/raw_transaction.py",
        errors=BROKEN,
        run=of_text(decode_raw),
        valid=(SIGNED.encode(),),
    ),
    Decoder(
        name="pause",
        module="chain/pause.py",
        run=of_file(pause_in, name="paused"),
        errors=(),
        valid=dumped({"who": "me", "at_s": 1.0, "why": "a look"}),
        wrong=no_line,
    ),
    Decoder(
        name="pins",
        module="chain/code_pins.py",
        run=of_file(pins_in),
        valid=dumped(PIN),
        errors=CONFIG,
        back=lambda found: json.dumps(found.rows).encode(),
    ),
    Decoder(
        name="control of the Safe",
        module="chain/safe_control.py",
        valid=dumped(asdict(STATE)),
        run=of_file(lambda path: SafeControl(path, on_change=str)._read()),
        errors=CONFIG,
        back=lambda found: json.dumps(asdict(found)).encode(),
    ),
    Decoder(
        name="queue of proposals",
        module="chain/safe_queue.py",
        run=of_file(proposals_in),
        errors=LIES,
        valid=dumped(proposal_document(PROPOSAL)),
    ),
    Decoder(
        name="proposal as served",
        module="chain/safe_documents.py",
        run=served,
        valid=dumped(SERVED),
        errors=LIES,
    ),
    Decoder(
        name="complaint of a service",
        module="chain/safe_service.py",
        run=complained,
        valid=(),
        refused=dumped({"detail": "no"}),
        errors=(TransientError,),
    ),
)
