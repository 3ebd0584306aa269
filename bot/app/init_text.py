"""The text of a configuration that ``alvh init`` writes: TOML with a word on each section."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

HEAD = """\
# Written by `alvh init`. docs/configuration.md explains every key; alvh show-config shows what holds.
# Secrets are not kept here: "${NAME}" is filled from the environment.
# "@name" is a known deployment; alvh check-addresses asks your node what is at each address.
"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WORDS = {
    "state_dir": "journals and history; one folder for each configuration",
    "chain": "home: its blocks drive the decisions",
    "chains": "another chain that is watched",
    "feeds": "prices in USD",
    "pools": "where positions lie, and a second source of the price",
    "managers": "contracts that position NFTs are found by",
    "indicative": "prices of a public option book for plans and dry runs; nothing is traded there",
    "positions": "what is protected; an entry_price stands in for what logs do not say",
    "policy": "how much protection, of what budget: alvh policy show POLICY",
    "alerts": "who is told: alvh alerts test",
}
_HINTS = {  # of a section that has no such key, or has it
    ("chain", "rpc_url", True): (
        "Better, three of different operators of which two must agree:",
        'rpc_urls = ["${ALVH_RPC_1}", "${ALVH_RPC_2}", "${ALVH_RPC_3}"]',
        "agreement = 2",
    ),
    ("alerts", "urls", False): (
        'urls = ["${ALVH_ALERT_URL}"] # of apprise: tgram://…, discord://…, mailto://…',
    ),
}


def text_of(tables: Mapping[str, Any]) -> str:
    """Return the configuration; keys outside a section come first, as TOML wants it."""
    lines = [HEAD]
    plain = {name: item for name, item in tables.items() if not isinstance(item, dict | list)}
    lines += [f"{_assigned(name, item)}{_word(name)}" for name, item in plain.items()]
    for name, item in tables.items():
        if name in plain:
            continue
        for number, table in enumerate(item if isinstance(item, list) else [item]):
            header = f"[[{name}]]" if isinstance(item, list) else f"[{name}]"
            lines += ["", f"{header}{_word(name) if number == 0 else ''}"]
            lines += [_assigned(key, value) for key, value in table.items()]
            lines += _hints(name, table)
    return "\n".join(lines) + "\n"


def _hints(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    for (section, key, has), hints in _HINTS.items():
        if section == name and (key in table) is has:
            yield from (f"# {hint}" for hint in hints)


def _word(name: str) -> str:
    return f" # {_WORDS[name]}" if name in _WORDS else ""


def _assigned(key: str, value: Any) -> str:
    return f"{_key(key)} = {_value(value)}"


def _key(key: str) -> str:
    return (
        key
        if key and all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in key)
        else _text(key)
    )


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    return repr(value) if isinstance(value, float) else str(value)  # also dates


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    return (_assigned(key, value) for key, value in table.items())


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
