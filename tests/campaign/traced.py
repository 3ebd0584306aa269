"""What a program contacted and which files it opened, read from a log of ``strace -f``.

``SYSCALLS`` is what has to be traced. A packet that leaves a socket which was never connected names its
target in sendto or sendmsg, any other in connect. A raw or packet socket counts as foreign by itself. What
asks the kernel by io_uring alone is not seen; nothing that is installed does.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SYSCALLS = "socket,connect,sendto,sendmsg,sendmmsg,open,openat,openat2,execve,clone,clone3,fork,vfork"
LONGEST_TEXT = 300  # characters of a string that strace prints: paths and arguments whole

_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_INET = re.compile(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
_INET6 = re.compile(r'sin6_port=htons\((\d+)\).*?inet_pton\(AF_INET6, "([^"]+)"')
_UNIX = re.compile(r'sa_family=AF_UNIX, sun_path=(@?)"([^"]*)"')
_FAMILY = re.compile(r"sa_family=(\w+)")
_OPENED = re.compile(r'(?:AT_FDCWD, |\d+<[^>]*>, |\d+, )?"([^"]*)"')
_CHILD = re.compile(r"(\d+) +(?:<\.\.\. )?(?:clone3?|v?fork)(?: resumed>|\().*= (\d+)$")
_ARGUMENT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_RAW = ("SOCK_RAW", "SOCK_PACKET", "AF_PACKET")
_SENDING = ("connect", "sendto", "sendmsg", "sendmmsg")
_QUIET = ("AF_NETLINK", "AF_UNSPEC")  # the kernel itself; a socket that forgets its peer


@dataclass(frozen=True, slots=True)
class Contact:
    """One attempt to reach something. ``to`` is "address:port", "unix:path" or what else was asked for."""

    to: str
    call: str
    command: str  # arguments of the process that tried
    ended: str  # what the kernel answered, as strace writes it

    @property
    def connected(self) -> bool:
        return not self.ended.startswith("-1")


@dataclass(frozen=True, slots=True)
class Opened:
    """One attempt to open a file."""

    path: str
    command: str
    ended: str

    @property
    def succeeded(self) -> bool:
        return not self.ended.startswith("-1")


@dataclass(frozen=True, slots=True)
class Trace:
    """Everything that a program and its children reached for, in order."""

    contacts: tuple[Contact, ...]
    opened: tuple[Opened, ...]

    def foreign(self, allowed: frozenset[str], *, folder: Path) -> tuple[Contact, ...]:
        """Return contacts that are no endpoint of ``allowed`` and no socket below ``folder``."""
        own = f"unix:{folder}/"
        return tuple(one for one in self.contacts if one.to not in allowed and not one.to.startswith(own))

    def readers(self, path: Path, *, but: Callable[[str], bool]) -> tuple[Opened, ...]:
        """Return who opened a file or tried to, except commands for which ``but`` is true."""
        return tuple(one for one in self.opened if one.path.endswith(path.name) and not but(one.command))


def read_trace(text: str) -> Trace:
    """Read the log of ``strace -f -o``. Lines of other calls are passed over."""
    lines = text.splitlines()
    parents = dict(_children(lines))
    commands: dict[str, str] = {}
    contacts, opened = [], []
    for number, line in enumerate(lines):
        if (found := _LINE.match(line)) is None:
            continue
        pid, call, rest = found.groups()
        if call == "execve":
            commands[pid] = " ".join(_ARGUMENT.findall(rest.partition("[")[2].partition("]")[0]))
            continue
        command = _command(pid, commands, parents)
        ended = _ended(lines, number, pid, call)
        if call.startswith("open") and (path := _OPENED.match(rest)):
            opened.append(Opened(path[1], command, ended))
        contacts += [Contact(to, call, command, ended) for to in _targets(call, rest)]
    return Trace(tuple(contacts), tuple(opened))


def _children(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (process or thread, the one that started it)."""
    for line in lines:
        if (found := _CHILD.match(line)) is not None:
            yield found[2], found[1]


def _command(pid: str, commands: dict[str, str], parents: dict[str, str]) -> str:
    """Return what a thread or process runs: its own program, or that of whoever started it."""
    while pid not in commands and pid in parents:
        pid = parents[pid]
    return commands.get(pid, "")


def _ended(lines: list[str], number: int, pid: str, call: str) -> str:
    """Return what a call returned, on its own line or where it was resumed; "" when it never did."""
    if not lines[number].endswith("<unfinished ...>"):
        return lines[number].rpartition(" = ")[2]
    for line in lines[number + 1 :]:
        if line.startswith(f"{pid} ") and f"<... {call} resumed>" in line:
            return line.rpartition(" = ")[2]
    return ""


def _targets(call: str, rest: str) -> list[str]:
    if call == "socket":
        return [f"a socket {word}" for word in _RAW if word in rest][:1]
    if call not in _SENDING or not (families := _FAMILY.findall(rest)):
        return []
    found = [f"{address}:{port}" for port, address in _INET.findall(rest)]
    found += [f"[{address}]:{port}" for port, address in _INET6.findall(rest)]
    found += [f"unix:{abstract}{path}" for abstract, path in _UNIX.findall(rest)]
    known = ("AF_INET", "AF_INET6", "AF_UNIX", *_QUIET)
    return found + [f"a socket of {family}" for family in families if family not in known]
