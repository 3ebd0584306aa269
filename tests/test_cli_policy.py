"""`alvh policy` as a person and a program run it."""

import json
from pathlib import Path

import pytest
from commands import KEYSTORE_ROUNDS, CommandServer, Home
from eth_account import Account

ACCOUNT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
KEYS = [Account.from_key(bytes([number]) * 32) for number in (1, 2, 3)]
OWNERS = [str(key.address) for key in KEYS]
TERMS = ("--account", ACCOUNT, "--chain", "1", "--chain", "10", "--valid-until", "2099-01-01")
PASSWORD = "a password of tests"


@pytest.fixture
def alvh(server: CommandServer, tmp_path: Path):
    """Run `alvh policy` in a folder with a policy, three owners' keystores and no configuration."""
    (tmp_path / "mine.toml").write_text('name = "mine"\nextends = "steward"\n')
    (tmp_path / "password").write_text(PASSWORD + "\n")
    for number, key in enumerate(KEYS[:2]):
        path = tmp_path / f"owner{number}.json"
        fields = Account.encrypt(key.key, PASSWORD, kdf="pbkdf2", iterations=KEYSTORE_ROUNDS)
        path.write_text(json.dumps(fields))
        path.chmod(0o600)

    def run(*arguments: str):
        return server.start("policy", *arguments, cwd=tmp_path).wait()

    return run


def sign(alvh, number: int, *more: str, sequence: int = 3):
    options = ("--owner", OWNERS[number], "--keystore", f"owner{number}.json", "--password-file", "password")
    return alvh("sign", "mine.toml", "--sequence", str(sequence), *TERMS, *options, *more)


def owners(*numbers: int) -> tuple[str, ...]:
    return tuple(word for number in numbers for word in ("--owner", OWNERS[number]))


@pytest.mark.parametrize("name", ["classic", "steward", "fortress", "promoter"])
def test_check_says_what_a_session_affords(alvh, name):
    ended = alvh("check", name)
    assert (ended.code, ended.err) == (0, "")
    assert f"{name} is valid" in ended.out
    assert "warning: " in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    document = alvh("check", name, "--json").document
    tiers = [item["tier"] for item in document["exposures"][1]["tiers"]]
    assert tiers == ["CALM", "GUARDED", "ELEVATED", "SEVERE", "CRISIS"]
    assert document["implied_vol"] == 1.27
    assert document["valid"] is True


def test_check_tells_all_that_is_wrong_one_line_each(alvh, tmp_path):
    (tmp_path / "bad.toml").write_text(
        'name = "bad"\nextends = "classic"\ntiers.vote = 7\ntiers.cooldwn = "6 h"\nbudget.budget_30d = 0.01\n'
    )
    ended = alvh("check", "bad.toml")
    assert (ended.code, ended.out) == (4, "")
    assert [line.split(" must ")[0].split(" is ")[0] for line in ended.err.splitlines()] == [
        "error: policy key tiers.cooldwn",
        "error: policy key tiers.vote",
        "error: policy key budget.budget_30d",
    ]
    assert "did you mean 'cooldown'" in ended.err
    document = json.loads(alvh("check", "bad.toml", "--json").out)
    assert (document["valid"], len(document["problems"])) == (False, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("check", "stewart"), ("stewart", "did you mean 'steward'")),
        (("check", "steward", "--vol", "1.5"), ("--vol", "150%", "1.5")),
        (("check", "steward", "--vol", "5000%"), ("--vol", "5000%", "1000%")),
        (("check", "steward", "--market", "no.toml"), ("no.toml", "cannot be read")),
        (("show", "no.toml"), ("no.toml", "No such file")),
        (("diff", "classic"), ("'B'",)),
        (("sign", "mine.toml", "--sequence", "1", "--valid-until", "2099-01-01"), ("alvh.toml",)),
        (("verify", "mine.toml"), ("alvh.toml",)),
    ],
    ids=str,
)
def test_refusals(alvh, arguments, words):
    alvh(*arguments).refused(4, *words)


def test_show_diff_and_schema(alvh, tmp_path):
    whole = tmp_path / "whole.toml"
    whole.write_text(alvh("show", "steward").out)
    assert "state the same numbers" in alvh("diff", "steward", "whole.toml").out
    ended = alvh("diff", "classic", "fortress")
    assert "tiers.cooldown" in ended.out
    assert max(map(len, ended.out.splitlines())) <= 80
    rows = {item["key"]: item for item in alvh("diff", "classic", "fortress", "--json").document}
    assert (rows["sizing.shares.CRISIS"]["first"], rows["sizing.shares.CRISIS"]["second"]) == ("25 %", "50 %")
    assert alvh("schema").document["properties"]["tiers"]["additionalProperties"] is False


def test_two_of_three_owners_sign_and_it_is_verified(alvh, tmp_path):
    assert sign(alvh, 0).code == 0
    missing = alvh("verify", "mine.toml", *owners(0, 1, 2), "--threshold", "2")
    assert missing.code == 1
    assert "mine.toml is NOT valid: 1 of 3 owners signed, 2 needed" in missing.out
    ended = sign(alvh, 1)
    assert "2 signatures" in ended.out
    assert PASSWORD not in ended.out + ended.err
    done = alvh("verify", "mine.toml", *owners(0, 1, 2), "--threshold", "2")
    assert (done.code, done.err) == (0, "")
    assert "mine.toml is signed and valid: 2 of 3 owners signed, 2 needed" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    document = alvh("verify", "mine.toml", *owners(0, 1, 2), "--threshold", "2", "--json").document
    assert [item["verdict"] for item in document["owners"]] == ["signed", "signed", "missing"]
    assert (document["sequence"], document["chain_ids"], document["account"]) == (3, [1, 10], ACCOUNT)
    assert alvh("verify", "mine.toml", *owners(0, 1, 2)).code == 1, "all that are named, unless told"


def test_a_changed_policy_and_a_lower_sequence_are_refused(alvh, tmp_path):
    assert sign(alvh, 0).code == 0
    low = alvh("verify", "mine.toml", *owners(0), "--least-sequence", "4")
    assert low.code == 1
    assert "sequence number 3 is lower than 4" in " ".join(low.out.split())
    assert alvh("verify", "mine.toml", *owners(0), "--least-sequence", "3").code == 0
    (tmp_path / "mine.toml").write_text('name = "mine"\nextends = "fortress"\n')
    changed = alvh("verify", "mine.toml", *owners(0))
    assert changed.code == 1
    assert "changed after it was signed" in " ".join(changed.out.split())
    sign(alvh, 0).refused(4, "other terms", "--sequence 4")
    assert sign(alvh, 0, sequence=4).code == 0
    assert alvh("verify", "mine.toml", *owners(0)).code == 0


def test_a_wallet_signs_the_typed_data_that_is_printed(alvh):
    document = alvh("sign", "mine.toml", "--sequence", "1", *TERMS, "--typed-data").document
    signature = Account.sign_typed_data(KEYS[2].key, full_message=document).signature.hex()
    given = ("sign", "mine.toml", "--sequence", "1", *TERMS, "--signature", signature)
    alvh(*given, "--owner", OWNERS[1]).refused(4, OWNERS[2], OWNERS[1])
    assert alvh(*given, "--owner", OWNERS[2]).code == 0
    assert alvh("verify", "mine.toml", *owners(2)).code == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--valid-until", "2001-01-01"), ("--valid-until", "has passed")),
        (("--valid-until", "soon"), ("--valid-until", "ISO 8601")),
        (("--account", "bob"), ("--account", "bob")),
        (("--chain", "0"), ("chain ids",)),
        (("--keystore", "none.json"), ("none.json", "No such file")),
        (("--password-file", "mine.toml"), ("cannot be opened with this password",)),
        (("--keystore", "owner1.json"), (OWNERS[0], OWNERS[1])),
        (("--signature", "0xzz"), ("--signature", "hex")),
    ],
    ids=str,
)
def test_signing_is_refused(alvh, tmp_path, change, words):
    sign(alvh, 0, *change).refused(4, *words)
    assert not (tmp_path / "mine.signatures.json").exists()


@pytest.mark.parametrize(
    ("pattern", "replacement", "words"),
    [
        ('"sequence": 3', '"sequence": 9', "digest"),
        ('"format": 1', '"format": 2', "format"),
        ('"account"', '"acount"', "account"),
        ("{", "[", "damaged"),
        (OWNERS[0], "0x12", "40 hex digits"),
    ],
)
def test_a_damaged_signature_file(alvh, tmp_path, pattern, replacement, words):
    sign(alvh, 0)
    path = tmp_path / "mine.signatures.json"
    path.write_text(path.read_text().replace(pattern, replacement, 1))
    alvh("verify", "mine.toml", *owners(0)).refused(4, "mine.signatures.json", words)


def test_no_signatures_are_not_found(alvh):
    alvh("verify", "mine.toml", *owners(0)).refused(2, "mine.signatures.json", "alvh policy sign")


@pytest.mark.devnet
def test_with_a_configuration_owners_and_sequence_are_kept(home: Home):
    user = next(line.split("'")[1] for line in home.config.read_text().splitlines() if "holder" in line)
    home.change(r'preset = "classic"', f'preset = "classic"\nowners = ["{user}"]\nthreshold = 1')

    def sign_as_user(sequence: int, *more: str):
        return home.alvh(
            "policy", "sign", "classic", "--sequence", str(sequence), "--valid-until", "2099-01-01", *more
        )

    assert sign_as_user(5).code == 0
    assert home.alvh("policy", "verify", "classic", "--record").code == 0
    assert json.loads((home.folder / "policy-sequence.json").read_text()) == {user: 5}
    lower = ("--signatures", "old.json")
    assert sign_as_user(4, *lower).code == 0
    refused = home.alvh("policy", "verify", "classic", *lower)
    assert refused.code == 1
    assert "sequence number 4 is lower than 5" in " ".join(refused.out.split())
    elsewhere = ("--signatures", "other.json", "--chain", "1")
    assert sign_as_user(6, *elsewhere).code == 0
    other = home.alvh("policy", "verify", "classic", "--signatures", "other.json")
    assert other.code == 1
    assert "chain 31337 is configured and not among those signed for" in " ".join(other.out.split())
