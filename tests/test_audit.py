"""What the scanners of scripts/audit find in the program: nothing; and in planted code: what was planted."""

import json
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest
from eth_account.hdaccount.mnemonic import Mnemonic
from supply import advisories, audit, scanners, secret_scan

from bot.devnet.deployment import MNEMONIC

# rule -> where it is planted, code that breaks the rule, code beside it that does not
PLANTED = {
    "swallowed-error": (
        "bot/app/a.py",
        "import contextlib\ntry:\n    f()\nexcept Exception:\n    pass\n"
        "with contextlib.suppress(Exception):\n    f()\n",
        "import contextlib\ntry:\n    f()\nexcept OSError:\n    pass\n"
        "with contextlib.suppress(KeyError):\n    f()\n",
    ),
    "sends-outside-the-send-route": (
        "bot/app/b.py",
        "async def f(node, raw):\n    await node.request('eth_sendRawTransaction', [raw], send=True)\n"
        "    await node.request('eth_other', [raw], send=True)\n",
        "async def f(node, raw):\n    await node.request('eth_call', [raw])\n",
    ),
    "watchers-and-decisions-send-nothing": (
        "bot/watchers/c.py",
        "method = 'eth_sendRawTransaction'\nother = 'personal_unlockAccount'\n",
        "method = 'eth_getLogs'\n",
    ),
    "node-signs-nothing": (
        "bot/chain/d.py",
        "METHOD = 'eth_signTypedData'\nOTHER = 'personal_sign'\n",
        "METHOD = 'eth_getCode'\n",
    ),
    "float-of-a-raw-amount": (
        "bot/venues/e.py",
        "def f(leg, paid_raw):\n    return float(paid_raw) + float(leg.value_wei)\n",
        "def f(leg, paid_usd):\n    return float(paid_usd) + float(leg.amount_raw / 10**leg.decimals)\n",
    ),
    "key-outside-the-signer": (
        "bot/app/f.py",
        "from eth_account import Account\nAccount.from_key(key)\nAccount.decrypt(fields, password)\n",
        "from bot.chain.signer_client import SignerClient\nSignerClient(path)\n",
    ),
    "secret-in-words": (
        "bot/app/g.py",
        "def f(s, log):\n    log.warning('asked', url=s.url.get_secret_value())\n"
        "    raise ValueError(f'{s.url.get_secret_value()} is wrong')\n",
        "def f(s, log):\n    log.warning('asked', url=s.url)\n    connect(s.url.get_secret_value())\n",
    ),
    "own-clock-in-a-decision": (
        "bot/engine/h.py",
        "import time\nfrom datetime import datetime, UTC\na = time.time()\nb = datetime.now(UTC)\n",
        "from datetime import datetime, UTC\ndef f(now_s):\n    return datetime.fromtimestamp(now_s, UTC)\n",
    ),
    "unchecked-tls": (
        "bot/app/i.py",
        "session.get(url, ssl=False)\nrequests.get(url, verify=False)\n",
        "session.get(url, ssl=context)\nrequests.get(url, verify=True)\n",
    ),
    "follows-redirects": (
        "bot/app/j.py",
        "session.get(url, allow_redirects=True)\nclient.get(url, follow_redirects=True)\n",
        "session.get(url, allow_redirects=False)\n",
    ),
    "runs-what-it-reads": (
        "bot/app/k.py",
        "import pickle\nimport numpy as np\npickle.loads(data)\nnp.load(path, allow_pickle=True)\n",
        "import json\nimport numpy as np\njson.loads(data)\nnp.load(path, allow_pickle=False)\n",
    ),
    "through-a-shell": (
        "bot/app/l.py",
        "import os\nimport subprocess\nsubprocess.run(words, shell=True)\nos.system(words)\n",
        "import subprocess\nsubprocess.run(words)\n",
    ),
}


def test_bandit_finds_nothing_of_medium_or_high_severity_but_what_is_accepted_with_a_reason():
    found = scanners.bandit()
    assert [one for one in found if (one.rule, one.path) not in scanners.ACCEPTED] == []
    assert {(one.rule, one.path) for one in found} == scanners.ACCEPTED.keys(), "an exception nobody needs"
    assert "HIGH" not in {one.severity for one in found}
    assert all(len(why.split()) >= 3 for why in scanners.ACCEPTED.values())


def test_bandit_finds_what_is_planted_whatever_a_comment_says(tmp_path: Path):
    (tmp_path / "bot").mkdir()
    (tmp_path / "bot" / "a.py").write_text(
        "import subprocess\nsubprocess.run(words, shell=True)  # nosec\nimport hashlib\nhashlib.md5(data)\n"
    )
    assert {(one.rule, one.severity) for one in scanners.bandit(root=tmp_path)} == {
        ("B602", "HIGH"),
        ("B324", "HIGH"),
    }


def test_semgrep_finds_nothing_in_the_program():
    assert scanners.semgrep() == []


def test_each_rule_finds_what_is_planted_and_nothing_beside_it(tmp_path: Path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)  # or paths of rules begin elsewhere
    expected = set()
    for rule, (where, broken, honest) in PLANTED.items():
        path = tmp_path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(broken)
        path.with_stem(f"{path.stem}_honest").write_text(honest)
        expected.add((rule, where))
    found = scanners.semgrep(root=tmp_path)
    assert {(one.rule, one.path) for one in found} >= expected
    assert {one.rule for one in found} == PLANTED.keys()
    assert not [one for one in found if "_honest" in one.path]
    for rule, where in expected:
        assert len([one for one in found if (one.rule, one.path) == (rule, where)]) >= 2, rule
    assert set(PLANTED) == set(rules())


def rules() -> list[str]:
    lines = scanners.RULES.read_text().splitlines()
    return [line.partition("- id: ")[2] for line in lines if line.startswith("  - id: ")]


def test_rules_for_folders_are_not_passed_over_outside_a_checkout(tmp_path: Path):
    with pytest.raises(RuntimeError, match="no git checkout"):
        scanners.semgrep(root=tmp_path)


def test_a_scanner_that_is_not_installed_is_an_error_that_says_how(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(scanners, "TOOLS", tmp_path)
    with pytest.raises(scanners.ToolMissing, match="scripts/test"):
        scanners.bandit()


# secrets


def test_no_tracked_file_holds_a_secret_and_every_known_constant_is_still_there():
    found = secret_scan.scan()
    known = secret_scan.known()
    assert [one for one in found if (one.path, one.digest) not in known] == []
    here = {(path, digest) for path, digest in known if (scanners.ROOT / path).exists()}
    assert {(one.path, one.digest) for one in found} == here, "a constant that its file has no more"
    assert all(len(why.split()) >= 3 for why in known.values())


PLANTED_SECRETS = {  # made here, so that none stands in this file
    "32 bytes that may be a private key": [
        "0x" + sha256(b"a key").hexdigest(),
        sha256(b"b").hexdigest().upper(),
    ],
    "the words of a wallet": [f"keep this: {Mnemonic().generate(12)}", Mnemonic().generate(24)],
    "a private key in PEM": ["-----BEGIN " + "EC PRIVATE KEY-----"],
    "an extended private key": ["xprv" + "9s21ZrQH143K" * 9],
    "an AWS key": ["AKIA" + "Q3EGRUXZ5V7N2M4P"],
    "a GitHub token": ["ghp_" + "a1B2c3D4e5" * 4],
    "a PyPI token": ["pypi-AgEI" + "cHlwaS5vcmcCJDU1" * 2],
    "an npm token": ["npm_" + "a1B2c3D4e5f6" * 3],
    "a Slack token or hook": [
        "xoxb-" + "1234567890-abcdef",
        "hooks.slack.com/" + "services/T0AB/B0CD/" + "x1" * 12,
    ],
    "a Discord hook": ["https://discord.com/" + "api/webhooks/123456789012345678/" + "aB3_" * 17],
    "a Telegram token": ["1234567890:" + "AA" + "aB3-aB3_aB3" * 3],
    "a Google key": ["AIza" + "aB3-x" * 7],
    "a key of a model's service": ["sk-" + "proj-" + "a1B2c3D4e5" * 3],
    "a key in a node's address": ["https://mainnet.infura.io/" + "v3/" + "0a1b2c3d" * 4],
    "a signed token (JWT)": ["eyJ" + "hbGciOiJIUzI1NiJ9.eyJ" + "zdWIiOiIxMjM0NTY3.c2lnbmF0dXJlLW9mLWl0"],
    "a password in an address": ["postgresql://" + "bot:" + "hunter22@db.example/x"],
}


def test_every_shape_of_a_secret_is_found_where_it_is_planted(tmp_path: Path):
    subprocess.run(["git", "init", "--quiet", tmp_path], check=True)
    for number, (what, texts) in enumerate(PLANTED_SECRETS.items()):
        for text in texts:
            (tmp_path / f"{number}.py").write_text(f"a = 1\nkey = '{text}'\n")
            (one,) = [one for one in secret_scan.unknown(tmp_path) if one.path == f"{number}.py"]
            assert (one.what, one.line) == (what, 2)
            assert text not in repr(one)
    assert set(PLANTED_SECRETS) == {
        "32 bytes that may be a private key",
        "the words of a wallet",
        *secret_scan.SHAPES,
    }


def test_what_is_known_in_one_file_is_a_finding_in_another_and_hashes_of_locks_are_none():
    text = f"MNEMONIC = '{MNEMONIC}'"
    (devnet,) = secret_scan.found_in("bot/devnet/deployment.py", text)
    assert (devnet.path, devnet.digest) in secret_scan.known()
    (elsewhere,) = secret_scan.found_in("bot/app/live.py", text)
    assert (elsewhere.path, elsewhere.digest) not in secret_scan.known()
    for honest in (
        f"    --hash=sha256:{sha256(b'a wheel').hexdigest()}",
        f"code = '0x{sha256(b'x').hexdigest() * 2}'",
        f"salt = '0x{'00' * 31}01'",
        "the quick brown fox jumps over the lazy dog while nobody at all looks on",
        "https://eth.example/path:with@sign",
    ):
        assert list(secret_scan.found_in("a.md", honest)) == [], honest


# advisories


def test_no_locked_release_has_a_published_advisory():
    """A machine without a source cannot say so: then this is skipped aloud, and scripts/audit fails."""
    try:
        answer = advisories.ask_all()
    except advisories.NoSource as why:
        pytest.skip(f"ADVISORIES COULD NOT BE ASKED: {why}")
    assert (answer.known, answer.unknown) == ((), ())
    assert answer.asked == len(advisories.locked())


def test_a_source_that_does_not_know_the_control_is_no_source():
    """As where an index serves files alone: pip-audit itself says "no known vulnerabilities" there."""

    def nothing(source, packages):
        if source == "pypi":
            return dict.fromkeys(packages, "Dependency not found on PyPI and could not be audited")
        return {package: [] for package in packages}

    with pytest.raises(advisories.NoSource, match=r"pypi: Dependency not found .*osv: has no advisory"):
        advisories.ask_all(ask=nothing)


def test_advisories_and_packages_that_a_source_does_not_have_are_told_apart():
    packages = advisories.locked()
    bad, strange = sorted(packages)[:2]

    def one_is_bad(source, asked):
        found = {package: [] for package in asked} | {advisories.CONTROL: ["PYSEC-2019-217"]}
        return found | ({bad: ["PYSEC-1"], strange: "not found"} if bad in found else {})

    answer = advisories.ask_all(ask=one_is_bad)
    assert (answer.source, answer.asked) == ("pypi", len(packages))
    assert answer.known == (f"{' '.join(bad)}: PYSEC-1",)
    assert answer.unknown == (f"{' '.join(strange)}: not found",)


def test_a_person_who_asks_is_failed_without_a_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    def none():
        raise advisories.NoSource("nobody answers")

    monkeypatch.setattr(advisories, "ask_all", none)
    for module, name in ((scanners, "bandit"), (scanners, "semgrep"), (secret_scan, "unknown")):
        monkeypatch.setattr(module, name, list)
    assert audit.main(["--json", str(tmp_path / "out.json")]) == 1
    assert "advisories could not be asked: nobody answers" in capsys.readouterr().out
    found = json.loads((tmp_path / "out.json").read_text())
    assert found == {
        "bandit": [],
        "semgrep": [],
        "secrets": [],
        "advisories": ["advisories could not be asked: nobody answers"],
    }
