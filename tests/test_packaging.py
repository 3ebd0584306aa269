"""The services and the image as they are described: no root, no secret in the open, commands that exist."""

import json
import re
import runpy
import shutil
import subprocess
import tomllib
from collections import defaultdict
from pathlib import Path

import pytest
from commands import ALVH
from settings_texts import GOOD, write
from shown_lines import read_by_the_program

from bot.cli.shared import EXIT_CONFIG
from bot.settings import load_settings

ROOT = Path(__file__).parents[1]
PACKAGING = ROOT / "packaging"
UNITS = sorted((PACKAGING / "systemd").glob("*.service"))
BOT, SIGNER, DASHBOARD = (
    PACKAGING / "systemd" / f"{name}.service" for name in ("alvh", "alvh-signer", "alvh-dashboard")
)
PAGE = (ROOT / "docs" / "packages.md").read_text()
HARDENED = {
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "ProtectProc": "invisible",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "RestrictNamespaces": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallFilter": "@system-service",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}
MOST_EXPOSURE = "2.0"  # of systemd-analyze security, 10 being a service that may do anything


def name_of(path: Path) -> str:
    return path.stem


def unit_of(path: Path) -> dict[str, list[str]]:
    """Return every value of each key of a unit, whichever its section."""
    found: dict[str, list[str]] = defaultdict(list)
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            key, is_pair, value = line.partition("=")
            assert is_pair, line
            found[key].append(value)
    return found


# units


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_a_service_has_no_root_and_can_write_its_own_folders_alone(path: Path):
    unit = unit_of(path)
    assert {key: unit[key] for key in HARDENED} == {key: [value] for key, value in HARDENED.items()}
    assert unit["User"][0] not in ("root", "")
    assert not unit["ReadWritePaths"]
    assert set(unit["StateDirectoryMode"]) == {"0710"}


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_a_service_stays_stopped_where_a_person_must_look(path: Path):
    unit = unit_of(path)
    assert (unit["Restart"], unit["RestartPreventExitStatus"]) == (["on-failure"], [str(EXIT_CONFIG)])


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_secrets_of_a_service_are_credentials_and_nothing_else(path: Path):
    unit = unit_of(path)
    assert all(re.fullmatch(r"([A-Z_]+):/etc/alvh/credentials/\1", item) for item in unit["LoadCredential"])
    said = " ".join(unit["Environment"])
    assert not re.search(r"password|secret|token|://", said, re.IGNORECASE)
    names = {item.partition(":")[0] for item in unit["LoadCredential"]}
    assert ("ALVH_KEYSTORE_PASSWORD" in names) is (path == SIGNER)


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_what_a_service_starts_is_a_command_of_the_program(path: Path):
    for line in unit_of(path)["ExecStart"]:
        program, *words = line.split()
        assert program == "/opt/alvh/bin/alvh"
        read_by_the_program(["alvh", *(word for word in words if not word.startswith("$"))])
        chosen = {"$ALVH_RUN": ["--live"], "$ALVH_DASHBOARD": ["--mode", "live"]}  # of /etc/alvh/alvh.env
        for name in (word for word in words if word.startswith("$")):
            read_by_the_program(["alvh", words[0], *chosen[name]])


@pytest.mark.parametrize("path", UNITS, ids=name_of)
def test_what_a_service_keeps_and_compiles_lies_in_its_own_folders(path: Path):
    unit = unit_of(path)
    said = dict(item.split("=", 1) for line in unit["Environment"] for item in line.split())
    (cache,) = unit["CacheDirectory"]
    for name in ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert Path(said[name]).is_relative_to(Path("/var/cache") / cache), name
    assert (said["XDG_STATE_HOME"], said["XDG_CACHE_HOME"]) == ("/var/lib", "/var/cache")


def test_the_bot_gives_signs_of_life_and_ends_its_step_before_it_stops():
    unit = unit_of(BOT)
    assert (unit["Type"], unit["NotifyAccess"], unit["WatchdogSec"]) == (["notify"], ["main"], ["10min"])
    assert (unit["KillMode"], unit["TimeoutStopSec"]) == (["mixed"], ["5min"])


def test_the_kernel_can_tell_bot_and_signer_who_the_other_is():
    """In a user namespace SO_PEERCRED names nobody: each would refuse the other."""
    for path in (BOT, SIGNER):
        assert "PrivateUsers" not in unit_of(path)


def test_the_signer_of_the_page_is_that_of_its_unit(tmp_path: Path):
    (text,) = re.findall(r"```toml\n(\[account\].*?)```", PAGE, re.DOTALL)
    settings = load_settings(write(tmp_path, GOOD.partition("[account]")[0] + text))
    unit = unit_of(SIGNER)
    assert (settings.signer.user, settings.signer.group) == (unit["User"][0], unit["Group"][0])
    assert settings.signer.folder == Path("/var/lib") / unit["StateDirectory"][0]
    assert settings.signer.group == unit_of(BOT)["Group"][0]
    assert settings.account is not None
    assert settings.account.keystore.parent == settings.signer.folder


def test_the_dashboard_reaches_neither_the_signer_nor_the_world():
    unit = unit_of(DASHBOARD)
    assert unit["InaccessiblePaths"] == [f"-/var/lib/{unit_of(SIGNER)['StateDirectory'][0]}"]
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == (["any"], ["localhost"])
    assert unit["StandardOutput"] == ["null"], "how to sign in would stand in the system's log"


def test_the_signer_reaches_no_other_machine():
    unit = unit_of(SIGNER)
    assert (unit["IPAddressDeny"], unit["IPAddressAllow"]) == (["any"], ["localhost"])


def test_every_user_of_a_service_is_made():
    made = re.findall(r"^u (\S+) ", (PACKAGING / "systemd" / "alvh.sysusers").read_text(), re.MULTILINE)
    units = [unit_of(path) for path in UNITS]
    assert {user for unit in units for user in (*unit["User"], *unit["Group"])} == set(made)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_reads_the_units_and_finds_them_closed(tmp_path: Path):
    copies = []
    for path in UNITS:
        copies.append(tmp_path / path.name)
        copies[-1].write_text(path.read_text().replace("/opt/alvh/bin/alvh", "/bin/true"))
    for check in (
        ["verify"],
        ["security", "--offline=true", "--no-pager", f"--threshold={MOST_EXPOSURE[0]}0"],
    ):
        done = subprocess.run(
            ["systemd-analyze", *check, *copies], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_the_commands_of_a_person_see_what_the_bot_sees():
    script = PACKAGING / "systemd" / "alvh-as-service"
    subprocess.run(["sh", "-n", script], check=True)
    words = script.read_text().partition("exec ")[2].replace("\\\n", " ").split()
    unit = unit_of(BOT)
    assert words[:3] == ["sudo", f"--user={unit['User'][0]}", "env"]
    assert set(words) >= {item for line in unit["Environment"] for item in line.split()}
    sources = {Path(item.partition(":")[2]).parent for item in unit["LoadCredential"]}
    assert {f"CREDENTIALS_DIRECTORY={folder}" for folder in sources} <= set(words)
    assert words[-2:] == ["/opt/alvh/bin/alvh", '"$@"']


# completions


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_are_what_the_program_prints(shell: str):
    printed = runpy.run_path(str(ROOT / "scripts" / "completions.py"))["printed"](shell)
    assert (PACKAGING / "completions" / f"alvh.{shell}").read_text() == printed, "run scripts/completions.py"


def test_a_word_is_completed_at_the_prompt():
    script = PACKAGING / "completions" / "alvh.bash"
    words = f"source {script}; COMP_WORDS=(alvh pol); COMP_CWORD=1; _alvh_completion {ALVH}; echo $COMPREPLY"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "policy\n"


# the image


def instructions() -> list[tuple[str, str]]:
    """Return (word, rest) of each instruction of the Containerfile, its lines joined."""
    text = re.sub(r"^#.*\n", "", (PACKAGING / "Containerfile").read_text(), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, _, rest in (line.partition(" ") for line in lines)]


def last(word: str) -> str:
    """Return an instruction of the stage that is shipped."""
    found = instructions()
    start = max(number for number, (each, _) in enumerate(found) if each == "FROM")
    return next(rest for each, rest in reversed(found[start:]) if each == word)


def test_the_image_runs_as_a_user_with_a_number_and_checks_its_health():
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last("USER"))
    assert last("USER").split(":")[0] in last("RUN")
    assert json.loads(last("HEALTHCHECK").rpartition("CMD ")[2]) == ["alvh", "health"]
    assert (json.loads(last("ENTRYPOINT")), json.loads(last("CMD"))) == (["alvh"], ["run"])
    read_by_the_program(["alvh", *json.loads(last("CMD"))])
    read_by_the_program(json.loads(last("HEALTHCHECK").rpartition("CMD ")[2]))


def test_the_image_takes_hash_locked_wheels_and_nothing_from_elsewhere():
    words = {word for word, _ in instructions()}
    assert words <= {
        *("FROM", "WORKDIR", "RUN", "COPY", "ENV", "VOLUME", "USER"),
        *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
    }
    ran = [rest for word, rest in instructions() if word == "RUN"]
    assert not [line for line in ran if re.search(r"\b(curl|wget|git|apt-get|sudo)\b", line)]
    for line in (line for line in ran if "pip install" in line):
        locked = "--require-hashes" in line and "--only-binary :all:" in line
        assert locked or ("--no-index" in line and "--no-deps" in line), line
    assert not [
        rest for word, rest in instructions() if word == "FROM" and ("latest" in rest or ":" not in rest)
    ]


def test_the_image_is_made_of_files_of_the_project_that_reach_its_build():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[ignored.index("*")] == "*"
    let_in = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / source).exists() for source in copied)
    built = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert {built["project"]["readme"], *built["project"]["license-files"]} <= copied


def test_the_image_writes_to_its_volumes_alone_and_the_page_mounts_them_with_a_root_that_is_read_only():
    volumes = json.loads(last("VOLUME"))
    said = dict(item.split("=", 1) for item in last("ENV").split())
    state, cache = f"{said['XDG_STATE_HOME']}/alvh-bot", f"{said['XDG_CACHE_HOME']}/alvh-bot"
    assert [state, cache] == volumes
    for name in ("HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR"):
        assert Path(said[name]).is_relative_to(cache), name
    for text in (PAGE, (PACKAGING / "Containerfile").read_text()):
        assert "--read-only" in text
        assert all(f":{volume}" in text for volume in volumes)
    assert "PASSWORD" not in last("ENV")
