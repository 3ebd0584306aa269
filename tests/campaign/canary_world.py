"""The world of a canary run: a devnet, an account of its own, and every outside service as a sink that keeps
what came. Each secret is made up for the run, and each service has a token of its own in its address.
"""

import asyncio
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from string import ascii_letters, digits
from typing import Any

import aiohttp
from aiohttp import web
from commands import KEYSTORE_ROUNDS
from eth_account import Account
from eth_account.hdaccount.mnemonic import Mnemonic
from faults.proxy import Fault, FaultProxy

from bot.devnet.config import write_config
from bot.devnet.deployment import Deployment
from bot.devnet.moves.wire import calldata
from campaign.canary_forms import Canary

PORT_OF_NOBODY = 9  # discard: refuses at once
_USDC_RAW = 1_000_000 * 10**6
_RPC = ("rpc-1", "rpc-2", "relay")

# Sections beside those that a devnet has; every address ends in the token of its service.
_SECTIONS = """
[alerts]
urls = ["json://127.0.0.1:{port}/apprise/{apprise}", "mailto://bot:{smtp}@127.0.0.1:{smtp_port}?smtp=127.0.0.1&mode=insecure&from=bot@example.org&to=me@example.org"]
least = "info"
alive_at = "00:00"
heartbeat_url = "http://127.0.0.1:{port}/heartbeat/{heartbeat}"
heartbeat_every_s = 5

[[alerts.targets]]
url = "http://127.0.0.1:{port}/webhook/{webhook}"
secret = "{hmac}"

[tracing]
endpoint = "http://127.0.0.1:{port}/tracing/{tracing}"

[dashboard]
port = 0
token = "{dashboard}"

[logs]
max_mb = 0.1
level = "debug"
"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every canary by name; the account's key is that of the mnemonic."""

    by_name: dict[str, str]
    key: bytes

    @classmethod
    def made(cls, random: Random) -> "Secrets":
        """Make them up."""

        def token(length: int = 28) -> str:
            return "".join(random.choice(ascii_letters + digits) for _ in range(length))

        words = Mnemonic().to_mnemonic(random.randbytes(16))
        Account.enable_unaudited_hdwallet_features()
        names = (
            "rpc-1", "rpc-2", "relay", "websocket", "apprise", "smtp", "heartbeat", "webhook", "hmac",
            "tracing", "dashboard", "postgres", "web3signer",
        )  # fmt: skip
        found = {name: token() for name in names}
        found |= {"password": f"{token(9)} /+&%{token(9)}", "mnemonic": words}
        return cls(found, bytes(Account.from_mnemonic(words).key))

    @property
    def canaries(self) -> tuple[Canary, ...]:
        texts = (Canary(name, text.encode()) for name, text in self.by_name.items())
        return (Canary("key", self.key), *texts)

    @property
    def never_in_the_bot(self) -> tuple[Canary, ...]:
        """What no process but the signer may have in its memory (REL-Y1)."""
        return tuple(item for item in self.canaries if item.name in ("key", "password", "mnemonic"))


@dataclass(frozen=True, slots=True)
class Received:
    """One request that a service took."""

    service: str
    head: bytes  # line and headers
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Echo(Fault):
    """A service that says everything it was told: its address, the headers, the whole request."""

    kind: str

    async def http(self, request, body, proxy):
        told = f"{request.method} {request.url} {dict(request.headers)} {json.dumps(body)}"
        if self.kind == "error":
            errors = [
                {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": f"no: {told}"}}
                for call in (body if isinstance(body, list) else [body])
            ]
            return web.json_response(errors if isinstance(body, list) else errors[0])
        if self.kind == "redirect":
            return web.Response(status=302, headers={"Location": f"{request.url}&again=1"})
        status = {"limited": 429, "denied": 403, "page": 500, "json": 200}[self.kind]
        kind = "application/json" if self.kind == "json" else "text/html"
        return web.Response(status=status, text=f"<html>{told}", content_type=kind, reason=str(request.url))


ECHOES = ("limited", "denied", "page", "json", "error", "redirect")


@dataclass(kw_only=True)
class Services:
    """HTTP and SMTP on loopback, in a thread of their own, keeping what came."""

    upstream: str
    received: list[Received] = field(default_factory=list)
    port: int = 0
    smtp_port: int = 0
    failing: int = 0  # so many posts to alert services are answered with status 500
    proxies: dict[str, FaultProxy] = field(default_factory=dict)

    def fault(self, fault: Fault | None) -> None:
        """Let every provider fail in one way."""
        for proxy in self.proxies.values():
            proxy.fault = fault

    async def handle(self, request: web.Request) -> web.StreamResponse:
        service = request.path.split("/")[1]
        lines = [f"{request.method} {request.raw_path}", *(f"{k}: {v}" for k, v in request.headers.items())]
        self.received.append(Received(service, "\n".join(lines).encode(), await request.read()))
        if (proxy := self.proxies.get(service)) is not None:
            return await proxy.handle(request)
        if service in ("webhook", "apprise", "heartbeat") and self.failing > 0:
            self.failing -= 1
            return web.Response(status=500, text=f"failed {request.url} {dict(request.headers)}")
        return web.Response(text="{}", content_type="application/json")


class _Mail(socketserver.StreamRequestHandler):
    """Takes any password and any mail; keeps the mail."""

    def handle(self) -> None:
        services: Services = self.server.services  # type: ignore[attr-defined]
        self.wfile.write(b"220 sink\r\n")
        while line := self.rfile.readline():
            word = line[:4].upper()
            if word == b"EHLO":
                self.wfile.write(b"250-sink\r\n250 AUTH PLAIN\r\n")
            elif word == b"AUTH":
                self.wfile.write(b"235 ok\r\n")
            elif word == b"DATA":
                self.wfile.write(b"354 go\r\n")
                mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                services.received.append(Received("smtp", b"", mail))
                self.wfile.write(b"250 ok\r\n")
            elif word == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


@contextmanager
def services(upstream: str) -> Iterator[Services]:
    """Serve until the block ends."""
    made = Services(upstream=upstream)
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(_serve(made, ready, stop)))
    thread.start()
    mail = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Mail)
    mail.daemon_threads = True
    mail.services = made  # type: ignore[attr-defined]
    made.smtp_port = mail.server_address[1]
    post = threading.Thread(target=mail.serve_forever, kwargs={"poll_interval": 0.05})
    post.start()
    try:
        ready.wait(20)
        yield made
    finally:
        made.fault(None)
        mail.shutdown()
        post.join()
        mail.server_close()
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()


async def _serve(made: Services, ready: threading.Event, stop: asyncio.Event) -> None:
    application = web.Application(client_max_size=50_000_000)
    application.router.add_route("*", "/{rest:.*}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    async with aiohttp.ClientSession() as session:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.port = runner.addresses[0][1]
        for number, name in enumerate(_RPC, start=1):
            made.proxies[name] = proxy = FaultProxy(made.upstream, number)
            proxy._session = session
        ready.set()
        await stop.wait()
        await runner.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``secret_files`` holds what the secrets come from; nothing else may hold one."""

    folder: Path
    secrets: Secrets
    services: Services
    deployment: Deployment
    rpc_url: str  # of the node itself

    @property
    def secret_files(self) -> Path:
        return self.folder / "secret"

    @property
    def config(self) -> Path:
        return self.secret_files / "alvh.toml"

    @property
    def work(self) -> Path:
        """Where commands run and write."""
        return self.folder / "work"

    @property
    def state(self) -> Path:
        return self.work / "state"

    def rpc(self, service: str) -> str:
        token = self.secrets.by_name[service]
        return f"http://127.0.0.1:{self.services.port}/{service}/{token}?key={token}"

    def write(self) -> None:
        """Write configuration, keystore and password file."""
        self.work.mkdir(parents=True)
        write_config(self.deployment, rpc_url="RPC", directory=self.secret_files)
        password = self.secret_files / "password.txt"
        password.write_text(self.secrets.by_name["password"] + "\n")
        keystore = Account.encrypt(
            self.secrets.key, self.secrets.by_name["password"], kdf="pbkdf2", iterations=KEYSTORE_ROUNDS
        )
        (self.secret_files / "keystore.json").write_text(json.dumps(keystore))
        self.config.write_text(self._text(self.config.read_text()))

    def _text(self, text: str) -> str:
        user, mine = self.deployment.user, Account.from_key(self.secrets.key).address
        urls = json.dumps([self.rpc("rpc-1"), self.rpc("rpc-2")])
        socket = f"ws://127.0.0.1:{PORT_OF_NOBODY}/{self.secrets.by_name['websocket']}"
        chain = (
            f"rpc_urls = {urls}\nsend_url = {json.dumps(self.rpc('relay'))}\n"
            f"ws_url = {json.dumps(socket)}\ntimeout_s = 2.0\npublic_after_blocks = 3"
        )
        for old, new in (
            ('rpc_url = "RPC"', chain),
            ("poll_s = 1.0", "poll_s = 0.1"),
            (
                f"state_dir = {json.dumps(str(self.secret_files))}",
                f"state_dir = {json.dumps(str(self.state))}",
            ),
            (f"[account]\naddress = {user!r}", f"[account]\naddress = {mine!r}"),
        ):
            if old not in text:
                raise LookupError(f"a devnet's configuration has no {old!r} any more")
            text = text.replace(old, new, 1)
        ports = {"port": self.services.port, "smtp_port": self.services.smtp_port}
        return text + _SECTIONS.format(**self.secrets.by_name, **ports)

    async def fund(self, ask: Any) -> None:
        """Give the account coins and stables. ``ask`` makes one request of the node."""
        mine, place = Account.from_key(self.secrets.key).address, self.deployment
        data = calldata("mint(address,uint256)", mine, _USDC_RAW)
        await ask("anvil_setBalance", [mine, hex(10**20)])
        await ask("anvil_impersonateAccount", [place.deployer])
        await ask("eth_sendTransaction", [{"from": place.deployer, "to": place.usdc, "data": data}])
        await ask("evm_mine", [])
