"""Configurations that tests change one thing of."""

from pathlib import Path

GOOD = """
[chain]
id = 31337
rpc_url = "http://127.0.0.1:8545/secret-key"

[[feeds]]
label = "ETH/USD"
underlying = "ETH"
address = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
heartbeat_s = 3600

[account]
address = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
keystore = "keystore.json"
"""

OTHER = """
[[chains]]
id = 42161
rpc_url = "https://arb.example/secret-key"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "alvh.toml"
    path.write_text(text)
    return path
