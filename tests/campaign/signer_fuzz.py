"""10,000 requests to the real signer process over its socket, judged by an oracle (REL-Y1, I10, E16).

Good requests of each kind and mutated ones, from one seed. A signature that the oracle would not have given
is outside; a campaign in which hardly anything is signed proves nothing, so at least a fifth must be.
"""

import asyncio
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from commands import environment

from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment
from bot.devnet.node import prepare
from bot.settings import cache_dir
from campaign.parts import Options
from campaign.signer_oracle import DAY_USD, TRANSACTION_USD, Oracle, Places
from campaign.signer_requests import Requests

REQUESTS = 10_000
LEAST_SIGNED = 0.2
_ALVH = "from bot.cli import main; main()"
_SAFE, _MULTI_SEND = "0x" + "5a" * 20, "0x" + "9b" * 20
_MORE = """
[safe]
address = "{safe}"
multi_send = "{multi_send}"

[[signer.caps]]
token = "{usdc}"
decimals = 6
per_transaction = {transaction}
per_day = {day}

[[signer.caps]]
token = "{susd}"
decimals = 18
per_transaction = {transaction}
per_day = {day}
"""


@dataclass(kw_only=True)
class Tally:
    requests: int = 0
    signed: int = 0
    good: int = 0  # requests that were left as they were made
    refused: int = 0
    dropped: int = 0  # the link was closed instead
    outside: list[str] = field(default_factory=list)


class Link:
    """A leader's link to the signer, made anew when the signer closes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        self.epoch = 0

    def ask(self, message: bytes | dict[str, Any]) -> dict[str, Any] | None:
        """Return the answer, None where the link was closed instead."""
        self.lead()
        assert self._socket is not None
        try:
            if isinstance(message, dict):
                self._socket.sendall(_frame(message))
                return self._answer()
            self._socket.sendall(message)
            self._socket.shutdown(socket.SHUT_WR)  # it may wait for more than there is
            answer = self._answer()
            self.close()
            return answer
        except OSError:
            self.close()
            return None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def lead(self) -> None:
        """Be the leader, of a new epoch where the link had ended."""
        if self._socket is not None:
            return
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20.0)
        self._socket.connect(str(self._path))
        hello = {"kind": "hello", "who": "fuzz", "policy_hash": "", "resume": 0, "take_over": True}
        self._socket.sendall(_frame(hello))
        found = self._answer()
        if found is None or "ok" not in found:
            raise SystemExit(f"the signer refused a hello: {found}")
        self.epoch = int(found["ok"]["epoch"])

    def _answer(self) -> dict[str, Any] | None:
        assert self._socket is not None
        head = self._socket.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            self.close()
            return None
        (size,) = struct.unpack(">I", head)
        return dict(json.loads(self._socket.recv(size, socket.MSG_WAITALL)))


def fuzz(link: Link, at: Places, *, count: int, seed: int, say: Callable[[str], Any]) -> Tally:
    """Ask ``count`` times and judge each signature."""
    tally, oracle, made = Tally(), Oracle(at=at), Requests(random=Random(seed), at=at)
    while tally.requests < count:
        link.lead()
        made.epoch = link.epoch
        asked, is_good = made.next()
        tally.requests += 1
        tally.good += is_good
        answer = link.ask(asked)
        if answer is None:
            tally.dropped += 1
        elif "ok" not in answer:
            tally.refused += 1
        elif "signature" in answer["ok"]:
            tally.signed += 1
            _judge(oracle, asked, answer["ok"]["signature"], tally)
        if tally.requests % 2_000 == 0:
            say(
                f"  {tally.requests} requests, {tally.signed} signed, {len(tally.outside)} outside the policy"
            )
    return tally


def _judge(oracle: Oracle, asked: bytes | dict[str, Any], signature: str, tally: Tally) -> None:
    if isinstance(asked, bytes):
        tally.outside.append(f"a signature for {asked[:60]!r}")
    elif why := oracle.judge(asked, bytes.fromhex(signature)):
        tally.outside.append(f"{why}: {json.dumps(asked)[:600]}")


@contextmanager
def fuzzed_signer(folder: Path) -> Iterator[tuple[Link, Places]]:
    """Run ``alvh signer`` over the rules of a devnet; it asks no node anything."""
    _, snapshot = asyncio.run(prepare(cache_dir()))
    deployment = Deployment.load(snapshot.deployment_file)
    config = write_config(deployment, rpc_url="http://127.0.0.1:9", directory=folder)
    at = places(deployment)
    config.write_text(
        config.read_text()
        + _MORE.format(
            safe=at.safe, multi_send=at.multi_send, usdc=at.usdc, susd=at.susd,
            transaction=TRANSACTION_USD, day=DAY_USD,
        )
    )  # fmt: skip
    command = [sys.executable, "-c", _ALVH, "signer", "--lifeline", "--config", str(config)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if b"address" not in line:
            raise SystemExit(f"the signer did not start: {line.decode(errors='replace').strip()}")
        link = Link(folder / "signer.sock")
        try:
            yield link, at
            if process.poll() is not None:
                raise SystemExit(f"the signer ended with {process.returncode}")
        finally:
            link.close()
            assert process.stdin is not None
            process.stdin.close()
            process.wait(20)


def places(at: Deployment) -> Places:
    return Places(
        account=at.user.lower(), safe=_SAFE, multi_send=_MULTI_SEND, usdc=at.usdc.lower(),
        susd=at.susd.lower(),
        router=at.v3_router.lower(), market=at.lyra_option_market.lower(),
        collateral=at.lyra_short_collateral.lower(), manager=at.v3_position_manager.lower(),
    )  # fmt: skip


def run(options: Options) -> dict[str, Any]:
    """Fuzz the signer with ``options.repeats`` requests (0: 10,000)."""
    count = options.repeats or REQUESTS
    with (
        tempfile.TemporaryDirectory(prefix="alvh-fuzz-") as folder,
        fuzzed_signer(Path(folder)) as (link, at),
    ):
        tally = fuzz(link, at, count=count, seed=1, say=_say)
    for found in tally.outside[:20]:
        _say(f"  OUTSIDE: {found}")
    if tally.signed < LEAST_SIGNED * tally.requests:
        tally.outside.append(
            f"only {tally.signed} of {tally.requests} requests were signed: nothing is proved"
        )
        _say(f"  {tally.outside[-1]}")
    _say(
        f"{tally.requests} requests, {tally.signed} signed, {tally.refused} refused, {tally.dropped} links "
        f"closed, {len(tally.outside)} outside the policy"
    )
    return {
        "signer_requests": tally.requests,
        "signer_signed": tally.signed,
        "signer_outside": len(tally.outside),
    }


def _frame(message: dict[str, Any]) -> bytes:
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
