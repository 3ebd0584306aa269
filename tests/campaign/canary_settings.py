"""Settings, keystores, passwords and arguments that are refused, each with a secret in what is wrong."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from eth_account import Account

from campaign.canary_world import PORT_OF_NOBODY, World

_STEP = ("run", "--live", "--once")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """One command that must end with an error which does not repeat what it was given."""

    name: str
    config: Path
    arguments: tuple[str, ...] = ("show-config",)
    env: dict[str, str] = field(default_factory=dict)


def refused_settings(world: World) -> Iterator[Refused]:
    """Yield every case; its configuration is written when it is yielded."""
    yield from _bad_texts(world)
    no_service = world.config.read_text().replace("json://127", "nosuch://127")
    yield Refused(name="an alert of no service", config=_written(world, no_service), arguments=_STEP)
    yield from _bad_keys(world)
    yield from _bad_environment(world)
    yield from _bad_arguments(world)


def _bad_texts(world: World) -> Iterator[Refused]:
    """Yield configurations with a secret in a place, or in a form, that is refused."""
    of, text = world.secrets.by_name, world.config.read_text()
    key, words = world.secrets.key.hex(), of["mnemonic"]
    changes = {
        "no TOML": text + f"\n{of['hmac']} = = \n",
        "an open string": text + f'\nrpc_url = "{of["rpc-1"]}\n',
        "a key twice": text + f'\n[dashboard]\ntoken = "{of["dashboard"]}"\n',
        "an unknown key": text + f'\n[derive_x]\npassword = "{of["password"]}"\n',
        "a private key": _in_account(text, f'private_key = "0x{key}"'),
        "a mnemonic": _in_account(text, f'mnemonic = "{words}"'),
        "a password": _in_account(text, f'password = {json.dumps(of["password"])}'),
        "a key for an address": re.sub(
            r"\naddress = [^\n]*\nkeystore", f'\naddress = "0x{key}"\nkeystore', text
        ),
        "a scheme": re.sub(r'"http://127', '"ftp://127', text, count=1),
        "a space in a URL": text.replace(of["rpc-1"], of["rpc-1"] + " x", 1),
        "a port": re.sub(r"(rpc_urls = \[.http://127.0.0.1):\d+", r"\1:99999999", text),
        "a plain public URL": re.sub(r"(rpc_urls = \[.http://)127.0.0.1:\d+", r"\1node.example", text),
        "a short token": text.replace(of["dashboard"], of["dashboard"][:15]),
        "a webhook of a cloud": text.replace("http://127.0.0.1", "http://169.254.169.254"),
        "a database of another kind": text + f'\n[storage]\nurl = "mysql://a:{of["postgres"]}@h/d"\n',
        "a list for a text": text.replace(f'token = "{of["dashboard"]}"', f'token = ["{of["dashboard"]}"]'),
        "a text for a number": text.replace("max_mb = 0.1", f'max_mb = "{of["hmac"]}"'),
        "no such variable": text.replace(of["hmac"], "${a" + of["hmac"] + "}"),
    }  # fmt: skip
    for name, changed in changes.items():
        if changed == text:
            raise LookupError(f"the configuration has no place for {name!r} any more")
        yield Refused(name=name, config=_written(world, changed))


def _bad_keys(world: World) -> Iterator[Refused]:
    """Yield keystores and passwords that are refused, and a signing service that is not there."""
    of, text, key = world.secrets.by_name, world.config.read_text(), world.secrets.key
    folder = world.secret_files
    keystore, password = folder / "keystore.json", folder / "password.txt"
    other, wrong = folder / "other.json", folder / "wrong.txt"
    swapped = _written(world, text.replace(str(keystore), str(other)), name="key.toml")
    weak = {"kdf": "scrypt", "iterations": 2**12}
    kept = {
        "a plain key in hex": key.hex(),
        "a plain key": json.dumps({"version": 3, "privateKey": f"0x{key.hex()}"}),
        "a mnemonic as keystore": of["mnemonic"],
        "a weak keystore": json.dumps(Account.encrypt(key, of["password"], **weak)),
        "a cut keystore": keystore.read_text()[:200],
    }
    for name, content in kept.items():
        _private(other, content)
        yield Refused(name=name, config=swapped, arguments=_STEP)
    _private(other, keystore.read_text()).chmod(0o644)
    yield Refused(name="a keystore for all", config=swapped, arguments=_STEP)
    _private(wrong, of["password"] + "x")
    yield Refused(
        name="a wrong password",
        config=_written(world, text.replace(str(password), str(wrong))),
        arguments=_STEP,
    )
    _private(wrong, of["password"]).chmod(0o640)
    yield Refused(
        name="a password for a group",
        config=world.config,
        arguments=("signer", "--password-file", str(wrong)),
    )
    service = f'\n[signer]\nurl = "http://127.0.0.1:{PORT_OF_NOBODY}/{of["web3signer"]}"\n'
    yield Refused(name="no signing service", config=_written(world, text + service), arguments=_STEP)


def _bad_environment(world: World) -> Iterator[Refused]:
    of = world.secrets.by_name
    values = {
        "ALVH_CHAIN__RPC_URLS": of["rpc-1"],
        "ALVH_CHAIN__POLL_S": of["rpc-2"],
        "ALVH_ALERTS__URLS": f'["{of["apprise"]}',
        "ALVH_DASHBOARD__TOKEN": of["dashboard"][:10],
        "ALVH_STORAGE__URL": f"mysql://a:{of['postgres']}@h/d",
        "ALVH_DASHBOARD__PORT": of["dashboard"],
    }
    for name, value in values.items():
        yield Refused(name=f"{name} of the environment", config=world.config, env={name: value})
    yield Refused(
        name="a wrong password of the environment", config=world.config, arguments=_STEP,
        env={"ALVH_KEYSTORE_PASSWORD": of["password"] + "x"},
    )  # fmt: skip


def _bad_arguments(world: World) -> Iterator[Refused]:
    key, of = world.secrets.key.hex(), world.secrets.by_name
    for name, arguments in {
        "a key for an option": ("run", "--private-key", f"0x{key}"),
        "a key for a command": (f"0x{key}",),
        "a key for a wallet": ("monitor", "--wallet", f"0x{key}", "--once"),
        "a mnemonic for a wallet": ("monitor", "--wallet", of["mnemonic"], "--once"),
        "a token for a number": ("run", "--metrics", of["hmac"]),
        "a URL for a position": ("plan", "--position", world.rpc("rpc-1")),
        "a URL that cannot be": (
            "monitor",
            "--rpc-url",
            f"http://[::1/{of['rpc-2']}",
            "--wallet",
            "0x" + "aa" * 20,
        ),
    }.items():
        yield Refused(name=name, config=world.config, arguments=arguments)


def _in_account(text: str, line: str) -> str:
    return text.replace("[account]\n", f"[account]\n{line}\n", 1)


def _written(world: World, text: str, *, name: str = "changed.toml") -> Path:
    path = world.secret_files / name
    path.write_text(text)
    return path


def _private(path: Path, text: str) -> Path:
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(text)
    return path
