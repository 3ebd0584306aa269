"""The canary campaign (REL-I4, Y3, Y5, G8): the program's commands with secrets that were made up for the run
against services that fail in the ways that make errors talk; then every place where one could come out is
searched for each secret in twelve encodings.

A secret may be where it belongs: in the configuration, keystore and password file that a person wrote, and
in requests to its own service. The key, its password and the mnemonic are in no process but the signer.
"""

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from commands import CommandServer, environment
from faults import faults

from bot.chain.rpc import Rpc
from bot.devnet.node import Devnet, start_devnet
from bot.settings import cache_dir
from campaign.canary_forms import ENCODINGS, Needles
from campaign.canary_settings import refused_settings
from campaign.canary_sinks import Scan, children_of, open_to_its_user, plainly
from campaign.canary_world import ECHOES, PORT_OF_NOBODY, Echo, Secrets, World, services
from campaign.parts import Options

_ALVH = "from bot.cli import main; main()"
_WAIT_S = 240.0  # for a decision, on a machine that does much else
_PAGES = ("/", "/signals", "/positions", "/orders", "/runs", "/health", "/pause", "/login", "/nothing")
_TALK = (
    *(Echo(kind=kind) for kind in ECHOES),
    faults.Refused(), faults.CutBody(reset=False), faults.Ids(kind="wrong"), faults.Result(),
    faults.Late(delay_s=3.0),
)  # fmt: skip
_OWN = {  # service -> canaries that its requests may hold in their line and headers
    name: (name,) for name in ("rpc-1", "rpc-2", "relay", "apprise", "heartbeat", "webhook", "tracing")
} | {"nothing": ("rpc-1",)}  # asked with a user and a password


@dataclass(kw_only=True)
class Canaries:
    """One campaign over one world."""

    world: World
    scan: Scan
    server: CommandServer
    say: Callable[[str], Any]
    runs: int = 0
    problems: list[str] = field(default_factory=list)  # beside hits: what stood open

    # commands that end

    def command(self, *arguments: str, config: Path | None = None, env: dict[str, str] | None = None) -> int:
        """Run one command to its end and look at what it said; return its exit code."""
        where = ("--config", str(config or self.world.config))
        running = self.server.start(*arguments, *where, cwd=self.world.work, env=env)
        ended = running.wait()
        self.runs += 1
        name = " ".join(item for item in arguments if not item.startswith("/"))
        self.scan.look(f"alvh {name}: stdout", ended.out.encode())
        self.scan.look(f"alvh {name}: stderr", ended.err.encode())
        return ended.code

    def commands(self, wanted: Sequence[tuple[str, ...]]) -> None:
        for arguments in wanted:
            self.command(*arguments)

    # a run that goes on

    def live(self, faulty: Sequence[Any], *, beside: Sequence[str] = ()) -> None:
        """Run the bot live with everything beside it, fail in every way, look at all that can be asked."""
        port = _free_port()
        arguments = ("run", "--live", "--metrics", str(port), "--record", "recording", *beside)
        with self._process("live", *arguments, "--log-file", "alvh.log") as bot:
            self._until(bot, lambda: _asked(port, "/health") and "step" in _asked(port, "/health"))
            for fault in faulty:
                self._fail(fault)
            self._look_at(bot, port)
            bot.send_signal(signal.SIGABRT)  # the interpreter writes every thread's stack, the kernel a core
            bot.wait(60.0)

    @contextmanager
    def _process(self, name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program itself, with core files allowed and its fault handler on."""
        said = {part: self.world.folder / f"{name}.{part}" for part in ("stdout", "stderr")}
        command = [sys.executable, "-X", "faulthandler", "-c", _ALVH, *arguments]
        limited = plainly("bash", "-c", 'ulimit -c unlimited; exec "$@"', "bash", *command)
        with said["stdout"].open("wb") as out, said["stderr"].open("wb") as err:
            process = subprocess.Popen(
                [*limited, "--config", str(self.world.config)],
                cwd=self.world.work, stdout=out, stderr=err, env=environment(),
            )  # fmt: skip
            self.runs += 1
            try:
                yield process
            finally:
                process.kill()
                process.wait()
        for part, path in said.items():
            self.scan.look(f"{name}: {part}", path.read_bytes())

    def _until(self, bot: "subprocess.Popen[bytes]", done: Callable[[], Any]) -> None:
        end_s = time.monotonic() + _WAIT_S
        while not done():
            if bot.poll() is not None or time.monotonic() > end_s:
                said = (self.world.folder / "live.stderr").read_text("utf-8", "replace")
                raise SystemExit(f"the bot did not decide: exit {bot.poll()}, {said[-500:]}")
            time.sleep(0.05)

    def _fail(self, fault: Any) -> None:
        """Let every provider fail for two blocks, then let it be well for two, so that it is asked again."""
        for now in (fault, None):
            self.world.services.fault(now)
            for _ in range(2):
                asyncio.run(_node(self.world, "evm_mine"))
                time.sleep(0.3)

    def _look_at(self, bot: "subprocess.Popen[bytes]", port: int) -> None:
        for path in ("/metrics", "/health"):
            self.scan.look(f"HTTP {path}", _asked(port, path).encode())
        below = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in children_of(bot.pid)}
        self.scan.process("bot", bot.pid)
        kept = Needles(self.world.secrets.never_in_the_bot)
        self.scan.memory("bot", bot.pid, kept)
        for pid, words in below.items():
            kind = "signer" if "signer" in words else "dashboard" if "dashboard" in words else "child"
            self.scan.process(kind, pid)
            if kind == "signer":
                self.problems += [
                    f"the signer's {part} is open to its user" for part in open_to_its_user(pid)
                ]
            else:
                self.scan.memory(kind, pid, kept)
                self._look_at_pages(pid)

    def _look_at_pages(self, pid: int) -> None:
        """Look at every page of the dashboard, before and after signing in."""
        url = f"http://127.0.0.1:{_port_of(pid)}"
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        token = self.world.secrets.by_name["dashboard"]
        for form in ({"token": "wrong"}, {"token": token}):
            self._page(opener, url, "/login", urllib.parse.urlencode(form).encode())
            for path in _PAGES:
                self._page(opener, url, path)

    def _page(self, opener: Any, url: str, path: str, form: bytes | None = None) -> None:
        request = urllib.request.Request(url + path, data=form, headers={"Origin": url})  # noqa: S310 - http to loopback
        with suppress(urllib.error.URLError):
            try:
                answer = opener.open(request, timeout=20)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                self.scan.look(f"dashboard {path}", str(answer.headers).encode() + answer.read())

    # what is there in the end

    def look_around(self) -> None:
        """Look at every file that was written, and at every request that a service took."""
        self.scan.folder("file", self.world.work)
        for item in self.world.services.received:
            self.scan.look(f"{item.service}: line and headers", item.head, own=_OWN.get(item.service, ()))
            self.scan.look(f"{item.service}: body", item.body)


COMMANDS = (
    ("show-config",), ("doctor",), ("monitor", "--once", "--record", "recording-2"), ("plan",),
    ("check-addresses",), ("status", "--mode", "live", "--json"), ("history", "--mode", "live"),
    ("explain", "--mode", "live"), ("positions", "--mode", "live"), ("quote",), ("db", "verify"),
    ("db", "status"),
    ("export", "--mode", "live", "--output", "export-csv"),
    ("export", "--mode", "live", "--output", "export-parquet", "--format", "parquet"),
    ("report", "--mode", "live", "--report", "report"), ("alerts", "test"), ("venues",),
    ("pause", "--why", "a test"),    ("resume", "--yes"),
)  # fmt: skip
SHORT_COMMANDS = (("doctor",), ("export", "--mode", "live", "--output", "export-csv"))


def initialised(one: Canaries) -> None:
    """Write a configuration by ``alvh init`` whose .env alone may hold tokens."""
    given = (
        "init", "--like", str(one.world.config), "--position", f"v3:{one.world.deployment.user_v3_token_id}",
        "--alert-url", f"json://127.0.0.1:{one.world.services.port}/apprise/{one.world.secrets.by_name['apprise']}",
        "--env-file", str(one.world.secret_files / ".env"), "--json",
    )  # fmt: skip
    running = one.server.start(*given, "--output", "own.toml", cwd=one.world.work)
    ended = running.wait()
    one.runs += 1
    if ended.code:
        one.problems.append(f"alvh init ended with {ended.code}: {ended.err}")
    one.scan.look("alvh init: stdout", ended.out.encode())
    one.scan.look("alvh init: stderr", ended.err.encode())


def failing_commands(one: Canaries) -> None:
    """Run commands while every provider says whatever it was told, and with addresses that lead nowhere."""
    for fault in _TALK[: len(ECHOES)]:
        one.world.services.fault(fault)
        one.commands((("doctor",), ("run", "--once"), ("run", "--live", "--once")))
    one.world.services.fault(None)
    for name, url in _broken_urls(one.world).items():
        path = one.world.secret_files / f"{name}.toml"
        path.write_text(re.sub(r"rpc_urls = [^\n]*", f'rpc_url = "{url}"', one.world.config.read_text()))
        for command in ("doctor", "run", "plan"):
            one.command(command, *(("--once",) if command == "run" else ()), config=path)


def _broken_urls(world: World) -> dict[str, str]:
    token, port = world.secrets.by_name["rpc-1"], world.services.port
    return {
        "tls": f"https://127.0.0.1:{port}/v2/{token}",
        "dns": f"https://no-such-host.invalid/v2/{token}",
        "refused": f"http://127.0.0.1:{PORT_OF_NOBODY}/v2/{token}?key={token}",
        "user": f"http://user:{token}@127.0.0.1:{port}/nothing",
        "host": f"https://{token}.invalid/",
    }


def bad_settings(one: Canaries) -> None:
    """Have every refusal of settings, keystore, password and arguments said (Y4)."""
    for case in refused_settings(one.world):
        code = one.command(*case.arguments, config=case.config, env=case.env)
        if code == 0:
            one.problems.append(f"{case.name} was taken")


def database(one: Canaries) -> None:
    """Run over PostgreSQL, where a server can be started, and look at its dump; and without a server."""
    import pytest
    from postgres_server import running_server

    password = one.world.secrets.by_name["postgres"]
    text = one.world.config.read_text()
    path = one.world.secret_files / "postgres.toml"
    path.write_text(
        f'{text}\n[storage]\nurl = "postgresql://alvh:{password}@127.0.0.1:{PORT_OF_NOBODY}/alvh"\n'
    )
    for command in (("run", "--once"), ("doctor",), ("db", "status"), ("show-config",)):
        one.command(*command, config=path)
    try:
        with running_server() as server:
            url = server.url.replace("alvh@", f"alvh:{password}@")
            path.write_text(f'{text}\n[storage]\nurl = "{url}"\n')
            for command in (
                ("run", "--live", "--once"),
                ("db", "verify"),
                ("export", "--output", "export-pg"),
            ):
                one.command(*command, config=path)
            dump = subprocess.run(
                ["pg_dump", "-h", str(server.folder), "-U", "alvh", "postgres"],
                capture_output=True, check=True, timeout=60,
            )  # fmt: skip
            one.scan.look("PostgreSQL: dump", dump.stdout)
            one.scan.look("PostgreSQL: server log", (server.folder / "log").read_bytes())
    except pytest.skip.Exception as reason:
        one.say(f"  without PostgreSQL: {reason}")


def campaign(
    devnet: Devnet, folder: Path, *, seed: int, short: bool = False, say: Callable[[str], Any] = print
) -> Canaries:
    """Run everything in ``folder`` on a devnet, and return what was found."""
    with ExitStack() as stack:
        made = Secrets.made(Random(seed))
        served = stack.enter_context(services(devnet.rpc_url))
        world = World(
            folder=folder, secrets=made, services=served, deployment=devnet.deployment, rpc_url=devnet.rpc_url
        )
        world.write()
        asyncio.run(world.fund(lambda method, params: _node(world, method, *params)))
        (folder / "commands").mkdir()
        server = stack.enter_context(CommandServer(folder / "commands"))
        one = Canaries(world=world, scan=Scan(needles=Needles(made.canaries)), server=server, say=say)
        served.failing = 3
        steps: dict[str, Callable[[], None]] = {
            "live": lambda: one.live(_TALK[:2]) if short else one.live(_TALK, beside=("--dashboard",)),
            "commands": lambda: one.commands(SHORT_COMMANDS if short else COMMANDS),
        }
        if not short:
            steps |= {
                "init": lambda: initialised(one),
                "failing commands": lambda: failing_commands(one),
                "bad settings": lambda: bad_settings(one),
                "database": lambda: database(one),
            }
        for name, step in steps.items():
            step()
            say(f"  {name}: {one.runs} runs, {len(one.scan.sinks)} sinks, {len(one.scan.hits)} hits")
        server.end_all()
        one.look_around()
    return one


def figures(one: Canaries) -> dict[str, Any]:
    """Return the campaign's figures by their published names."""
    return {
        "canary_hits": len(one.scan.hits) + len(one.problems),
        "canary_sinks": len(one.scan.sinks),
        "canary_encodings": len(ENCODINGS),
        "canary_runs": one.runs,
        "canary_where": [*map(str, sorted(one.scan.hits)), *one.problems],
    }


def run(_: Options) -> dict[str, Any]:
    """Run the whole campaign on a devnet of its own."""
    devnet = asyncio.run(start_devnet(cache_dir(), states_kept=100_000))
    try:
        with tempfile.TemporaryDirectory(prefix="alvh-canary-") as folder:
            one = campaign(devnet, Path(folder), seed=1, say=_say)
    finally:
        devnet.stop()
    found = figures(one)
    for where in found["canary_where"]:
        _say(f"  {where}")
    _say(
        f"{found['canary_hits']} hits of {len(one.world.secrets.canaries)} canaries in {len(ENCODINGS)} "
        f"encodings: {found['canary_sinks']} sinks of {found['canary_runs']} runs"
    )
    return found


async def _node(world: World, method: str, *params: Any) -> Any:
    async with Rpc(world.rpc_url, timeout_s=30) as rpc:
        return await rpc.request(method, params, send=method == "eth_sendTransaction")


def _asked(port: int, path: str) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except (urllib.error.URLError, OSError):
        return ""


def _free_port() -> int:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _port_of(pid: int) -> int:
    """Return the port that a process listens on, as the kernel says."""
    own = {os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[3] == "0A" and f"socket:[{words[9]}]" in own:
            return int(words[1].split(":")[1], 16)
    raise LookupError(f"process {pid} listens on no port")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
