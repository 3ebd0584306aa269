"""Rows of `alvh doctor` that need no chain: ports, who reads the file, who signed the policy."""

import socket
from pathlib import Path

import pytest
from settings_texts import GOOD

from bot.app.checks import Health
from bot.app.place_checks import Listener, check_file, check_ports, check_user
from bot.app.policy_check import check_policy, check_signature
from bot.app.policy_signing import signatures_path, with_signature
from bot.chain.accounts import Account
from bot.chain.policy_signature import Grant
from bot.settings import Settings, load_policy, load_settings, read_source


@pytest.fixture
def taken():
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_in_use_is_named_with_the_key_that_moves_it(taken):
    (row,) = check_ports([Listener("metrics", "127.0.0.1", taken, stops_run=True)], is_running=False)
    assert row.health is Health.FAILED
    assert f"127.0.0.1:{taken}" in row.found
    assert "in use" in row.found
    assert "metrics.port" in row.mend


def test_a_page_that_cannot_be_served_stops_no_run(taken):
    (row,) = check_ports([Listener("dashboard", "127.0.0.1", taken, stops_run=False)], is_running=False)
    assert row.health is Health.WARN
    assert "dashboard.port" in row.mend


def test_a_port_that_a_running_bot_may_hold_is_no_failure(taken):
    (row,) = check_ports([Listener("metrics", "127.0.0.1", taken, stops_run=True)], is_running=True)
    assert row.health is Health.OK


def test_a_free_port_a_host_that_is_not_here_and_nothing_at_all(taken):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        free = server.getsockname()[1]
    here, elsewhere = (Listener("a", host, free, stops_run=True) for host in ("127.0.0.1", "192.0.2.1"))
    rows = check_ports([here, elsewhere], is_running=False)
    assert [row.health for row in rows] == [Health.OK, Health.FAILED]
    (none,) = check_ports([], is_running=False)
    assert none.health is Health.SKIPPED


def test_a_configuration_with_a_key_that_others_can_read(tmp_path: Path):
    path = tmp_path / "alvh.toml"
    secret = "https://one.example/v2/0123456789"
    path.write_text(f'rpc_url = "{secret}"')
    path.chmod(0o644)
    row = check_file(path, [secret])
    assert row.health is Health.WARN
    assert row.mend == f"chmod 600 {path}"
    assert "0123456789" not in row.found
    assert check_file(path, ["https://elsewhere.example/key"]).health is Health.OK
    path.chmod(0o600)
    assert check_file(path, [secret]).health is Health.OK


def test_root_is_noted(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert check_user().health is Health.WARN
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert check_user().health is Health.OK


# the policy and who signed it

OWNER = Account.from_key("0x" + "11" * 32)


def configured(tmp_path: Path, policy: str) -> Settings:
    path = tmp_path / "alvh.toml"
    text = (
        GOOD.replace("[policy]\n", "[policy]\n" + policy)
        if "[policy]" in GOOD
        else f"{GOOD}\n[policy]\n{policy}"
    )
    path.write_text(text)
    return load_settings(path)


async def test_without_owners_nobody_signs(tmp_path):
    row = await check_signature(configured(tmp_path, ""))
    assert row.health is Health.SKIPPED


async def test_an_unsigned_policy_and_one_that_is_signed(tmp_path):
    policy = tmp_path / "mine.toml"
    policy.write_text('name = "mine"\nextends = "steward"\n')
    settings = configured(tmp_path, f'file = "{policy}"\nowners = ["{OWNER.address}"]\n')
    assert check_policy(settings).health is Health.OK
    row = await check_signature(settings)
    assert row.health is Health.FAILED
    assert row.mend == f"alvh policy sign {policy}"
    account = settings.account.address if settings.account is not None else OWNER.address
    grant = Grant(
        policy_hash=load_policy(settings.policy).hash,
        chain_ids=tuple(chain.id for chain in settings.all_chains),
        account=account,
        sequence=1,
        valid_until_s=4_000_000_000,
    )
    signed = Account.unsafe_sign_hash(grant.digest, OWNER.key).signature
    with_signature(signatures_path(read_source(policy)), "mine", grant, OWNER.address, bytes(signed))
    row = await check_signature(settings)
    assert row.health is Health.OK, row
    policy.write_text('name = "mine"\nextends = "fortress"\n')
    row = await check_signature(settings)
    assert row.health is Health.FAILED
    assert "verify" in row.mend


def test_a_policy_that_is_none_is_named(tmp_path):
    row = check_policy(configured(tmp_path, 'file = "nowhere.toml"\n'))
    assert row.health is Health.FAILED
    assert "nowhere.toml" in row.found
