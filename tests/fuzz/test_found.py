"""What fuzzing found, kept as it was found: each of these once got past the errors that its decoder names."""

import json
import math
from typing import Any

import pytest
from fuzz.chain_rows import GOOD, LOG, RECEIPT
from fuzz.decoders import DECODERS, problem
from fuzz.signer_rows import LINE
from fuzz.web_rows import CHANNEL, ORDER_ROW

BY_NAME = {decoder.name: decoder for decoder in DECODERS}
DEEP = "[" * 1_000 + "]" * 1_000


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def lacking(log: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in log.items() if name != field}


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("reply of a node", f'{{"id": 1, "error": {DEEP}}}'.encode()),  # RecursionError
        ("reply of a node", f'{{"id": 1, "error": {{"message": {DEEP}}}}}'.encode()),
        (
            "agreement",
            dumped({**GOOD, "eth_getLogs": [lacking(LOG, "topics")]}),
        ),  # KeyError: one liar is enough
        ("agreement", dumped({**GOOD, "eth_getLogs": [lacking(LOG, "blockNumber")]})),
        (
            "receipt",
            dumped({**RECEIPT, "logs": [{**LOG, "topics": [LOG["topics"][0], "0xZZ", None]}]}),
        ),  # ValueError
        ("queued nonces", dumped({"txpool_contentFrom": {"result": {"pending": {"9" * 5_000: {}}}}})),
        ("raw transaction", bytes.fromhex("02cc") + b"\1\1\1\1\1\xc0\1\1\xc0\1\1\1"),  # AttributeError
        ("pause", dumped({"who": "me", "at_s": 1e308, "why": "x"})),  # OverflowError: no pause, but a crash
        ("pause", dumped({"who": "me", "at_s": 10**400, "why": "x"})),
        ("pause", dumped({"who": "me\x1b[31m", "at_s": 1.0, "why": "two\nlines"})),
        ("line of the memory", b"{"),
        ("line of the memory", dumped(LINE | {"at": 10**400})),  # OverflowError, at the next sum of spending
        ("line of the memory", dumped(LINE | {"at": math.nan})),
        ("keystore", DEEP.encode() * 20),
        ("order that waits", dumped({"by": "me", "legs": [json.dumps({"9" * 5_000: 1})]})),  # 2,000 signs
        ("queue of proposals", b"[" * 100_000),
        ("control of the Safe", b"[" * 100_000),
        ("answer of the signer", dumped({"refused": "VenueRejected", "words": "two\nlines \u202e"})),
        ("Derive reply", f'{{"error": {{"code": 1, "message": {DEEP}}}}}'.encode()),
        ("Derive reply in the journal", f'{{"result": {DEEP}}}'.encode()),  # after the order was sent
        (
            "Derive websocket",
            dumped({"id": 1, "result": {"current_subscriptions": [[CHANNEL]]}}),
        ),  # TypeError
        ("Derive order", f'{{"cancel_reason": {DEEP}, {json.dumps(ORDER_ROW)[1:]}'.encode()),
        ("Derive order in the journal", b"{}"),
        ("JSON table of the user", f'[{{"date": "2026-11-01", "k": {DEEP}}}]'.encode()),
        ("calendar file", b"a=" + b"9" * 5_000),
        ("configuration", b"a=" + b"9" * 5_000),
        ("policy", b"a=" + b"9" * 5_000),
        ("scenario", b"hours = 1" + b"0" * 400),  # OverflowError
        ("sequence numbers", b'{"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed": 1e400}'),
        ("alert state", b'{"version": 1e400}'),
        ("start of a recording", b'{"schema": 1}'),
        ("tail of a recording", b"{}\n"),
        ("history of prices", b"ts,close\n0022-03-01T00:00:00Z,3000\n2022-03-01T01:00:00Z,3010\n"),
        ("history of prices", b"x" * 100_000),
        ("history that is half fetched", "#page 00 ²\nx".encode()),
        ("record of a devnet", b'{"pid": null, "port": 2, "deployment_file": "x"}'),
        ("positions by name", b"v3:" + b"9" * 5_000),
        ("signatures of a policy", b"[" * 100_000),
    ],
    ids=lambda value: value if isinstance(value, str) else "found",  # bytes may hold the time of the run
)
def test_what_was_found_stays_refused(name: str, raw: bytes):
    assert not problem(BY_NAME[name], raw)
