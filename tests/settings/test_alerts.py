"""[alerts], [metrics], [logs], [tracing]: what is refused, in which words; no secret is shown."""

import re
import tomllib
from pathlib import Path

import pytest
from settings_texts import GOOD, write

from bot.alerts.condition import KINDS
from bot.alerts.schedule import Daily, Every
from bot.alerts.templates import FIELDS
from bot.app.alert_parts import manners_of, targets_of
from bot.errors import ConfigError
from bot.observe.metrics import COUNTERS, GAUGES
from bot.settings import load_settings
from bot.settings.alerts import AlertSettings
from bot.settings.secret_values import secrets_in

DOCS = Path(__file__).parents[2] / "docs"


def alerts(tmp_path, text):
    return load_settings(write(tmp_path, f"{GOOD}\n[alerts]\n{text}\n")).alerts


def test_the_old_spelling_is_still_read(tmp_path):
    found = alerts(tmp_path, 'urls = ["json://127.0.0.1/secret-path"]\nleast = "critical"')
    (target,) = targets_of(found)
    assert (target.sender.name, target.least.name, target.kinds) == ("1 JSON", "CRITICAL", ())
    assert "secret" not in repr(found)


def test_times_are_of_the_zone_that_is_named(tmp_path):
    text = 'time_zone = "Europe/Berlin"\nquiet_from = "22:00"\nquiet_until = "07:00"\ndigest_at = "08:00"'
    found = manners_of(alerts(tmp_path, text))
    assert found.quiet.begins.zone.key == found.zone.key == "Europe/Berlin"
    assert isinstance(found.digest, Daily)
    assert isinstance(manners_of(AlertSettings(digest_every_s=600.0)).digest, Every)
    plain = manners_of(AlertSettings())
    assert (plain.quiet, plain.digest, plain.alive, plain.settle_s) == (None, None, None, 60.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('time_zone = "Berlin"', "alerts: time_zone: time zone 'Berlin' is not known"),
        ('quiet_from = "22:00"', "quiet_from and quiet_until belong together"),
        ('quiet_from = "22:00"\nquiet_until = "22:00"', "the same time"),
        ('quiet_from = "25:00"\nquiet_until = "07:00"', "quiet_from: a time of day is written HH:MM"),
        ('digest_at = "8"', "digest_at: a time of day"),
        ('alive_at = "noon"', "alive_at: a time of day"),
        ('digest_at = "08:00"\ndigest_every_s = 600', "exclude each other"),
        ("digest_every_s = 1", "alerts.digest_every_s: .*60"),
        ('least = "loud"', "alerts.least"),
        ("max_per_hour = 0", "alerts.max_per_hour"),
        ('heartbeat_url = "http://example.org/secret-ping"', "heartbeat_url is plain http"),
        ('heartbeat_url = "http://169.254.169.254/secret"', "metadata service"),
        ('heartbeat_url = "secret-ping"', "heartbeat_url must be https"),
        (
            '[alerts.templates.tier]\ntitle = "{nothing}"',
            r"tier.title: \{nothing\} is not a field; there",
        ),
        ('[alerts.templates.tier]\nbody = "{title.__class__}"', r"templates.tier.body: \{title.__class__\}"),
        ('[alerts.templates.tier]\nbody = "{title!r:>9}"', r"\{title!r:>9\} is not a field"),
        ('[alerts.templates.tier]\nbody = "{"', "templates.tier.body: .*write {{ and }} for braces"),
        ('[alerts.templates.tier]\nbody = "{}"', r"\{\} is not a field"),
        ('[alerts.templates.teir]\nbody = "x"', "templates.teir: there is no such kind"),
        ('[alerts.templates.tier]\ntext = "x"', "unknown key alerts.templates.tier.text"),
        ('[[alerts.targets]]\nurl = "json://127.0.0.1"\nkinds = ["teir"]', "kind 'teir'; did you mean tier"),
        ('[[alerts.targets]]\nurl = "json://127.0.0.1"\nlest = "info"', "lest; did you mean least"),
        ('[[alerts.targets]]\nleast = "info"', "alerts.targets.0.url is missing"),
    ],
)
def test_each_bad_value_is_named_in_one_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as refused:
        alerts(tmp_path, text)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[metrics]\nport = 0", "metrics.port"),
        ("[metrics]\nport = 70000", "metrics.port"),
        ('[metrics]\nhost = "10.0.0.1"\nport = 9464', "can be reached by others: name in hosts"),
        ('[logs]\nlevel = "loud"', "logs.level"),
        ("[logs]\nkeep = 0", "logs.keep"),
        ('[tracing]\nendpoint = "http://collector.example/secret"', "tracing.endpoint is plain http"),
        ("[metrics]\nprot = 1", "unknown key metrics.prot; did you mean port"),
    ],
)
def test_each_bad_value_of_what_is_observed_is_named(tmp_path, text, words):
    with pytest.raises(ConfigError, match=words) as refused:
        load_settings(write(tmp_path, f"{GOOD}\n{text}\n"))
    assert "secret" not in str(refused.value)


def test_what_is_observed_is_off_unless_it_is_asked_for(tmp_path):
    found = load_settings(write(tmp_path, GOOD))
    assert (found.metrics.port, found.logs.file, found.tracing.endpoint) == (None, None, None)
    text = f'{GOOD}\n[metrics]\nhost = "10.0.0.1"\nport = 9464\nhosts = ["alvh.lan"]\n'
    assert load_settings(write(tmp_path, text)).metrics.hosts == ("alvh.lan",)


# What the documents say


def test_the_examples_of_the_document_are_accepted(tmp_path, monkeypatch):
    monkeypatch.setenv("ALERT_URL", "json://127.0.0.1/x")
    monkeypatch.setenv("HEARTBEAT_URL", "https://beat.example/x")
    monkeypatch.setenv("HOOK_SECRET", "sixteen letters and more")
    blocks = re.findall(r"```toml\n(.*?)```", (DOCS / "alerts.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        assert tomllib.loads(block)
        found = load_settings(write(tmp_path, f"{GOOD}\n{block}")).alerts
        manners_of(found)
        targets_of(found)


def test_the_documents_name_every_kind_field_and_metric_and_no_other():
    text = (DOCS / "alerts.md").read_text()
    kinds = set(re.findall(r"`([a-z-]+)`", text.split("## Kinds")[1]))
    assert kinds - {"alvh"} == set(KINDS)
    own = text.split("## Own words")[1].split("## Kinds")[0].split("Fields: ")[1].split("Nothing else")[0]
    assert set(re.findall(r"`(\w+)`", own)) == set(FIELDS)
    table = (DOCS / "observability.md").read_text().split("| metrics (all")[1].split("\n\n")[0]
    named = set(re.findall(r"`([a-z_]+)`", "".join(row.split("|")[1] for row in table.splitlines()[2:])))
    shown = {*GAUGES, *(f"{name}_total" for name in COUNTERS), "stage_duration_seconds", "build_info"}
    assert named == shown


def test_every_secret_of_the_settings_is_known_to_the_redaction(tmp_path):
    text = """
[alerts]
urls = ["tgram://first-secret/chat"]
heartbeat_url = "https://beat.example/second-secret"
[[alerts.targets]]
url = "https://hook.example/third-secret"
secret = "a fourth one, of sixteen letters"
[[watch]]
kind = "fred"
series_id = "SP500"
metric = "index_close"
subject = "SPX"
api_key = "fifth-secret"
[[perps]]
underlying = "ETH"
exchange = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
base_token = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
config = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
"""
    found = " ".join(secrets_in(load_settings(write(tmp_path, GOOD + text))))
    for word in ("first-secret", "second-secret", "third-secret", "fourth one", "fifth-secret", "secret-key"):
        assert word in found
    assert "SP500" not in found
    assert "0x" not in found, "a token's address is no secret"
