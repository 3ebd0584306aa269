"""A key that a signing service holds: Web3Signer's eth1 REST interface, and a service that is not believed.

The server here answers as the OpenAPI document of Web3Signer says: keys as 64 bytes of hex,
a signature over Keccak-256 of the data as plain text.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from coincurve import PrivateKey
from send_builders import ADDRESS, CHAIN_ID, COUNTER, KEY, SELECTOR, rules
from signer_builders import NOW_S

from bot.chain.fees import Fees
from bot.chain.raw_transaction import decode_raw
from bot.chain.safe import rejection, safe_tx_hash, signed_by
from bot.chain.signer import Unsigned
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey, RemoteKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.safe import safe_preimage
from bot.chain.transaction_bytes import assembled
from bot.errors import ConfigError, InvariantError, OutcomeUnknown

Answer = Callable[[bytes], tuple[int, str]]  # of the data to sign
OTHER = bytes.fromhex("61" * 32)


def public(key: bytes) -> str:
    return "0x" + PrivateKey(key).public_key.format(compressed=False)[1:].hex()


def honest(data: bytes) -> tuple[int, str]:
    return 200, "0x" + LocalKey(KEY).signature(data).hex()


@contextmanager
def service(answer: Answer = honest, *, keys: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """Serve on a port of this machine; gives the URL and what was asked for."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"GET {self.path}")
            self._reply(200, json.dumps([public(OTHER), public(KEY)]) if keys is None else keys)

        def do_POST(self) -> None:
            seen.append(f"POST {self.path}")
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert body.keys() == {"data"}
            assert self.path == f"/api/v1/eth1/sign/{public(KEY)}"
            self._reply(*answer(bytes.fromhex(body["data"][2:])))

        def _reply(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


def test_a_service_signs_what_a_key_here_would(tmp_path):
    asked = count_request()
    with service() as (url, seen):
        key = RemoteKey(url, address=ADDRESS)
        desk = SigningDesk(key, rules(), SignerMemory(tmp_path / "memory"))
        signed = assembled(asked, desk.sign(asked, now_s=NOW_S))
        tx = rejection("0x" + "5a" * 20, 3)
        over_safe = key.signature(safe_preimage(tx, chain_id=1, safe=tx.to))
    assert decode_raw(signed.raw).sender == ADDRESS.lower()
    assert signed_by(safe_tx_hash(tx, chain_id=1, safe=tx.to), over_safe) == ADDRESS
    assert seen == ["GET /api/v1/eth1/publicKeys", *[f"POST /api/v1/eth1/sign/{public(KEY)}"] * 2]


def count_request() -> Unsigned:
    return Unsigned(
        chain_id=CHAIN_ID, nonce=0, to=COUNTER, data=SELECTOR + bytes(32), value_wei=0, gas=100_000,
        fees=Fees(max_fee_wei=9, tip_wei=1), valid_until_s=NOW_S + 60,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["0x{}", "{}", '"0x{}"', "0x{}\n"])
def test_forms_of_the_answer(form):
    with service(lambda data: (200, form.format(LocalKey(KEY).signature(data).hex()))) as (url, _):
        assert RemoteKey(url, address=ADDRESS).signature(b"m") == LocalKey(KEY).signature(b"m")


def _parity(data: bytes) -> tuple[int, str]:
    made = LocalKey(KEY).signature(data)
    return 200, (made[:64] + bytes([made[64] - 27])).hex()


def test_a_parity_in_place_of_v_is_understood():
    with service(_parity) as (url, _):
        assert RemoteKey(url, address=ADDRESS).signature(b"m") == LocalKey(KEY).signature(b"m")


def _high_s(data: bytes) -> tuple[int, str]:
    made, order = (
        LocalKey(KEY).signature(data),
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141,
    )
    s = order - int.from_bytes(made[32:64], "big")
    return 200, (made[:32] + s.to_bytes(32, "big") + bytes([55 - made[64]])).hex()


LIES: dict[str, Answer] = {
    "another key": lambda data: (200, LocalKey(OTHER).signature(data).hex()),
    "another message": lambda data: (200, LocalKey(KEY).signature(data + b"x").hex()),
    "a high s": _high_s,
    "64 bytes": lambda data: (200, LocalKey(KEY).signature(data)[:64].hex()),
    "zeros": lambda _: (200, "00" * 65),
    "words": lambda _: (200, "no such key"),
    "nothing": lambda _: (200, ""),
}


@pytest.mark.parametrize("case", LIES, ids=str)
def test_a_service_is_not_believed(case):
    """REL-K16."""
    with service(LIES[case]) as (url, _):
        key = RemoteKey(url, address=ADDRESS)
        with pytest.raises(InvariantError, match="over what it was asked to sign"):
            key.signature(b"m")


def _slow(_: bytes) -> tuple[int, str]:
    time.sleep(3.0)
    return 200, ""


@pytest.mark.parametrize(
    "answer", [lambda _: (500, "out of order"), lambda _: (404, ""), lambda _: (302, ""), _slow]
)
def test_no_answer_leaves_the_outcome_unknown_and_the_nonce_taken(answer, tmp_path):
    """The service may have signed: a second payload for the nonce is refused as after any signature."""
    asked = count_request()
    with service(answer) as (url, _):
        key = RemoteKey(url, address=ADDRESS, timeout_s=1.5)
        desk = SigningDesk(key, rules(), SignerMemory(tmp_path / "memory"))
        with pytest.raises(OutcomeUnknown, match=r"a signature by 127\.0\.0\.1"):
            desk.sign(asked, now_s=NOW_S)
        assert desk.has_signed(CHAIN_ID, 0)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("[]", "holds no key of .* it lists 0 keys"),
        (json.dumps([public(OTHER)]), "lists 1 keys"),
        ('{"a": 1}', "lists no keys"),
        ('[1, null, "0x12", "zz"]', "lists 4 keys"),
        ("not JSON", "does not list its keys"),
    ],
)
def test_a_service_without_the_key_is_refused(keys, words):
    with service(keys=keys) as (url, _), pytest.raises(ConfigError, match=words):
        RemoteKey(url, address=ADDRESS)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:1", "does not list its keys"),
        ("ftp://127.0.0.1", "signer.url"),
        ("http://signer.example.com", "plain http to a public host"),
        ("http://me:secretword@127.0.0.1", "only"),
        ("http://127.0.0.1/?token=secretword", "only"),
    ],
)
def test_a_bad_address_of_a_service_is_refused_without_its_secrets(url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        RemoteKey(url, address=ADDRESS)
    assert "secretword" not in str(caught.value)
