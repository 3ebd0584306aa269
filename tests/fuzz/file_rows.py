"""Decoders of files: configuration, policies, journal, recordings, history, assumptions, saved runs."""

import gzip
import hashlib
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pandas as pd
from fuzz.kinds import BROKEN, CONFIG, Decoder, dumped, of_file, of_text, waited
from journal_builders import event, step
from report_builders import windows_run
from send_builders import filled, leg
from settings_texts import GOOD
from sweep_builders import evaluation

from bot.alerts.state import AlertState, _table_of, read_alert_state
from bot.app.doctor import _keystore
from bot.app.download_files import HistoryFile
from bot.app.health import _by_http
from bot.app.lp_request import parse_request
from bot.app.policy_signing import Signatures, read_signatures, recorded_sequence, signatures_document
from bot.app.signer_link import _first_words
from bot.app.testnet_site import address_in
from bot.chain.policy_signature import Grant
from bot.devnet.deployment import Deployment
from bot.devnet.service import find
from bot.devnet.testnet import TestnetDeployment
from bot.devnet.testnet_log import Begin, _line, _read
from bot.errors import ConfigError, InvariantError
from bot.model.hedge import HedgeLeg, LegOutcome
from bot.model.intent import IntentEvent, IntentState
from bot.model.market import Block
from bot.model.record import StepRecord
from bot.model.units import parse_utc_s
from bot.pipeline import codec
from bot.pipeline.breaker_desk import _read as _read_breakers
from bot.pipeline.desk import Request, request_document
from bot.pipeline.desk import _read as read_order
from bot.pipeline.journal_pruning import pruned_of
from bot.pipeline.playback import _read_parquet, read_part
from bot.pipeline.recording import SCHEMA, START, TAIL, tail_lines
from bot.settings import bot_policy, load_settings
from bot.settings.credentials import secret
from bot.simulation.exposures import parse_exposure
from bot.simulation.history.files import tables_for
from bot.simulation.history.tables import read_rows
from bot.simulation.kept_parts import KeptParts
from bot.simulation.market.model import load_market
from bot.simulation.monte_carlo.model import load_model
from bot.simulation.report.saved_run import RUN_FILE, read_run, run_text
from bot.simulation.stress.catalogue import read_scenario
from bot.simulation.sweep.space_file import read_space
from bot.simulation.sweep.store import FORMAT, open_results
from bot.simulation.windows.file import read_windows

ACCOUNT = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
GRANT = Grant(policy_hash="ab" * 32, chain_ids=(1,), account=ACCOUNT, sequence=7, valid_until_s=1_900_000_000)
SIGNED = Signatures(policy="classic", grant=GRANT, by_owner={ACCOUNT: b"\1" * 65})
LEG = leg()
BEGIN = Begin(chain_id=1, genesis="0x0", sender=ACCOUNT, first_nonce=0, inputs={})
SPOT = tables_for(parse_exposure("v2:ETH/USDC:1000000"))[0]
PRICES = b"ts,close\n2022-03-01T00:00:00Z,3000\n2022-03-01T01:00:00Z,3010\n"
WINDOWS = b"id,start_utc,end_utc_exclusive,kind\nluna,2022-05-01,2022-06-01,crisis\n"
STORED: dict[type[Any], Any] = {
    Block: Block(chain_id=1, number=7, hash="0x0", parent_hash="0x1", timestamp_s=5),
    HedgeLeg: LEG,
    LegOutcome: filled(LEG),
    IntentEvent: event(IntentState.RESERVED),
    StepRecord: step(1),
}
ONE = evaluation("one", [(0.5, 0.1)])
RESULT = (
    json.dumps({"format": FORMAT, "study": "study", **ONE.to_json()}, separators=(",", ":")) + "\n"
).encode()
BODY = PRICES.split(b"\n", 1)[1]
PART = b"#page %s 2\n%s" % (hashlib.sha256(BODY).hexdigest().encode(), BODY)
START_OF = {
    "schema": SCHEMA, "mode": "dry-run", "run": "r", "policy_hash": "p", "last": codec.dumps(step(1)),
}  # fmt: skip
SCENARIOS = tuple(
    item.read_bytes()
    for item in sorted(
        resources.files("bot.simulation.stress.scenarios").iterdir(), key=lambda item: item.name
    )
    if item.name.endswith(".toml") and not item.name.startswith("_")
)[:3]
BASE_POLICY = {"tiers": {"fast_vote": 0.75}}


def packaged(package: str, name: str) -> bytes:
    return resources.files(package).joinpath(name).read_bytes()


def packed(raw: bytes) -> bytes:
    return gzip.compress(raw, mtime=0)


def credential(path: Path) -> str | None:
    with patch.dict(os.environ, {"CREDENTIALS_DIRECTORY": str(path.parent)}):
        return secret(path.name)


def settings_of(path: Path) -> Any:
    with patch.dict(os.environ):
        return load_settings(path)


def history_file(path: Path) -> Any:
    return len(HistoryFile.open(path.parent, "x", columns=("ts", "close")))


def results_in(path: Path) -> Any:
    with open_results(path, "study") as results:
        return results


def sequence_in(path: Path) -> int:
    return recorded_sequence(path.parent, ACCOUNT)


def recording_in(path: Path) -> Any:
    return read_part(path.parent)


def tail_in(path: Path) -> Any:
    return tail_lines(path.parent)


def doctor_on(path: Path) -> Any:
    account = SimpleNamespace(keystore=path, address=ACCOUNT)
    return _keystore(SimpleNamespace(account=account, signer=SimpleNamespace(user="")))


def kept(path: Path) -> Any:
    parts = KeptParts(path.parent)
    return parts.numbers("kept"), parts.accounts("kept")


def kept_bytes() -> bytes:
    out = io.BytesIO()
    meta = json.dumps({"numbers": {"1": {"x": "0.5"}}, "accounts": []})
    np.savez_compressed(out, allow_pickle=False, meta=np.array(meta))
    return out.getvalue()


def parquet_bytes() -> bytes:
    out = io.BytesIO()
    pd.DataFrame({"sequence": [1, 2], "now_s": [1.0, 2.0]}).to_parquet(out, engine="pyarrow")
    return out.getvalue()


def words_of(text: str) -> Any:
    return parse_request(wallet=None, positions=[text], entry_prices=[text])


def pruning(text: str) -> Any:
    return pruned_of(SimpleNamespace(body=text, seq=1, first_seq=1, last_seq=2))


def stored(kind: type[Any], value: Any) -> Decoder:
    return Decoder(
        name=f"stored {kind.__name__}", module="pipeline/codec.py", errors=BROKEN,
        run=of_text(lambda text: codec.loads(kind, text)), valid=(codec.dumps(value).encode(),),
        back=lambda found: codec.dumps(found).encode(),
    )  # fmt: skip


def row(name: str, module: str, read: Callable[[Path], Any], *valid: bytes, **more: Any) -> Decoder:
    """Return the row of a file, refused as a configuration is where nothing else is said."""
    named = {"name": more.pop("file")} if "file" in more else {}
    return Decoder(
        name=name, module=module, run=of_file(read, **named), valid=valid, **({"errors": CONFIG} | more)
    )


def said_by_a_child(raw: bytes) -> Any:
    """Read the first words of a process, line by line."""

    async def lines() -> AsyncIterator[bytes]:
        for line in raw.splitlines(keepends=True):
            yield line

    return waited(_first_words(SimpleNamespace(stdout=lines())))


def said_by_health(raw: bytes) -> Any:
    """Ask the port where a bot should answer."""
    answer = SimpleNamespace(read=lambda most: raw[:most])
    link = SimpleNamespace(request=lambda *_, **__: None, getresponse=lambda: answer, close=lambda: None)
    with patch("http.client.HTTPConnection", lambda *_, **__: link):
        return _by_http("127.0.0.1", 1)


ROWS: tuple[Decoder, ...] = (
    Decoder(
        name="health of a bot",
        module="app/health.py",
        run=said_by_health,
        errors=(),
        valid=dumped({"healthy": True}),
    ),
    Decoder(
        name="first words of a signer",
        module="app/signer_link.py",
        run=said_by_a_child,
        errors=(),
        valid=dumped({"address": ACCOUNT}),
    ),
    row("configuration", "settings/__init__.py", settings_of, GOOD.encode()),
    row("policy", "settings/policies.py", bot_policy, packaged("bot.policies", "classic.toml")),
    row("credential", "settings/credentials.py", credential, b"secret\n", file="ALVH_RPC_URL"),
    row(
        "sequence numbers",
        "app/policy_signing.py",
        sequence_in,
        *dumped({ACCOUNT: 3}),
        file="policy-sequence.json",
    ),
    row(
        "signatures of a policy",
        "app/policy_signing.py",
        read_signatures,
        *dumped(signatures_document(SIGNED)),
        back=lambda found: json.dumps(signatures_document(found)).encode(),
    ),
    row("alert state", "alerts/state.py", read_alert_state, *dumped(_table_of(AlertState()))),
    *(stored(kind, value) for kind, value in STORED.items()),
    Decoder(
        name="pruning",
        module="pipeline/journal_pruning.py",
        run=of_text(pruning),
        errors=BROKEN,
        valid=dumped({"previous_hash": "a", "last_hash": "b"}),
    ),
    row(
        "order that waits",
        "pipeline/desk.py",
        read_order,
        *dumped(request_document(Request(legs=(LEG,), by="me"))),
        errors=(),
        wrong=lambda found: (
            "" if not isinstance(found, str) or (found.isprintable() and len(found) < 600) else "no line"
        ),
    ),
    row(
        "start of a recording",
        "pipeline/playback.py",
        recording_in,
        *dumped(START_OF),
        file=START,
        errors=(ConfigError, InvariantError),
    ),
    row(
        "state of the breakers",
        "pipeline/breaker_desk.py",
        _read_breakers,
        *dumped(
            {
                "trip": {"who": "breaker lag", "at_s": 1.5, "why": "x"},
                "trip_orders": ["a"],
                "forgiven": ["b"],
                "disagrees_since_s": 2.5,
                "lags_at_s": [3.5],
            }
        ),
        errors=(),
        back=lambda found: json.dumps(found).encode(),
    ),
    row("tail of a recording", "pipeline/recording.py", tail_in, b'{"sequence": 1}\n{"sequ', file=TAIL),
    row("table of a recording", "pipeline/playback.py", _read_parquet, parquet_bytes()),
    row(
        "history of prices",
        "simulation/history/tables.py",
        lambda path: read_rows(path, SPOT),
        PRICES,
        file="x.csv",
    ),
    row(
        "packed history",
        "simulation/history/tables.py",
        lambda path: read_rows(path, SPOT),
        packed(PRICES),
        file="x.csv.gz",
    ),
    row("history that is fetched", "app/download_files.py", history_file, packed(PRICES), file="x.csv.gz"),
    row("history that is half fetched", "app/download_files.py", history_file, PART, file="x.part"),
    row("windows", "simulation/windows/file.py", read_windows, WINDOWS, packed(WINDOWS)),
    row(
        "assumptions of the market",
        "simulation/market/file.py",
        load_market,
        packaged("bot.simulation.market", "market.toml"),
    ),
    row(
        "model of paths",
        "simulation/monte_carlo/model.py",
        load_model,
        packaged("bot.simulation.monte_carlo", "monte_carlo.toml"),
    ),
    row("scenario", "simulation/stress/catalogue.py", read_scenario, *SCENARIOS),
    row(
        "space of a sweep",
        "simulation/sweep/space_file.py",
        lambda path: read_space(BASE_POLICY, path=path, given=()),
        b"[tiers]\nfast_vote = [0.5, 0.75]\n",
    ),
    Decoder(
        name="--set of a sweep",
        module="simulation/sweep/space_file.py",
        errors=CONFIG,
        run=of_text(lambda text: read_space(BASE_POLICY, path=None, given=[text])),
        valid=(b"tiers.fast_vote=0.5,0.75",),
    ),
    row("results of a sweep", "simulation/sweep/store.py", results_in, RESULT, file="results.jsonl"),
    row("kept parts", "simulation/kept_parts.py", kept, kept_bytes(), file="kept.npz"),
    row(
        "saved run",
        "simulation/report/saved_run.py",
        read_run,
        run_text(windows_run()).encode(),
        file=RUN_FILE,
    ),
    row(
        "keystore to be looked at",
        "app/doctor.py",
        doctor_on,
        *dumped({"version": 3, "crypto": {}, "address": ACCOUNT[2:]}),
        errors=(),
    ),
    row("keystore of a testnet", "app/testnet_site.py", address_in, *dumped({"address": ACCOUNT[2:]})),
    row(
        "record of a devnet",
        "devnet/service.py",
        lambda path: find(path.parent),
        *dumped({"pid": 1, "port": 2, "deployment_file": "x"}),
        file="running.json",
        errors=(),
    ),
    row(
        "log of a deployment",
        "devnet/testnet_log.py",
        lambda path: _read(path, path.read_bytes()),
        _line(BEGIN, "")[0],
    ),
    row(
        "deployment of a testnet",
        "devnet/testnet.py",
        TestnetDeployment.load,
        refused=dumped({"chain_id": 1}),
    ),
    Decoder(
        name="deployment of a devnet",
        module="devnet/deployment.py",
        run=of_text(Deployment.from_json),
        errors=CONFIG,
        valid=(),
        refused=dumped({"chain_id": 1}),
    ),
    Decoder(
        name="positions by name",
        module="app/lp_request.py",
        run=of_text(words_of),
        errors=CONFIG,
        valid=(),
        refused=(b"v3:12", b"1/v2:0x" + b"5a" * 20, b"3000", b"v3:12=3000"),
    ),
    Decoder(
        name="UTC time",
        module="model/units.py",
        run=of_text(lambda text: parse_utc_s(text, field="x")),
        errors=CONFIG,
        valid=(b"2022-05-09", b"2022-05-09T16:14:00Z"),
    ),
)
