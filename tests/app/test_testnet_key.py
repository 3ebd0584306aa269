"""``alvh testnet key``: the account that pays for a deployment, as a file that only its password opens."""

from pathlib import Path

from commands import CommandServer
from testnet_chain import PASSWORD

from bot.app.testnet_site import address_in
from bot.chain.signing.keystore import open_keystore


def test_a_new_key_is_an_encrypted_file_that_a_deployment_opens(
    server: CommandServer, tmp_path: Path
) -> None:
    made = server.start(
        "testnet", "key", "--json", cwd=tmp_path, env={"ALVH_KEYSTORE_PASSWORD": PASSWORD}
    ).wait()
    path = tmp_path / "deployer.json"
    assert made.document == {"address": address_in(path), "keystore": "deployer.json"}
    assert path.stat().st_mode & 0o777 == 0o600
    opened = open_keystore(path, PASSWORD, address=address_in(path))
    assert opened.address == made.document["address"]
    again = server.start("testnet", "key", cwd=tmp_path, env={"ALVH_KEYSTORE_PASSWORD": PASSWORD}).wait()
    again.refused(4, "deployer.json cannot be created: File exists")
    empty = server.start(
        "testnet", "key", "--keystore", "other.json", cwd=tmp_path, env={"ALVH_KEYSTORE_PASSWORD": ""}
    ).wait()
    empty.refused(4, "the password of the new keystore other.json is empty")
    server.start("testnet", "key", "--keystore", "other.json", cwd=tmp_path).wait().refused(
        4, "a password for the new keystore other.json is needed", "--password-file"
    )
    assert not (tmp_path / "other.json").exists()
