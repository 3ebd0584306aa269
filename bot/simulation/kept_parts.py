"""Finished parts of a long run, kept in a folder, so that a run that was stopped goes on from them.

A part is found again only under the same data, range, exposure, policy, market and program: all of them are
hashed into its name. Nothing in a file is executed when it is read.
"""

import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import bot
from bot.errors import ConfigError
from bot.model.units import iso_utc
from bot.simulation.exposures import ExposureSpec
from bot.simulation.history.tables import Gap
from bot.simulation.sweep.study import code_digest, data_digest, digest_of
from bot.simulation.windows.file import Segment
from bot.simulation.windows.run import Account, Track

_FORMAT = 1
_META = "meta"
# What numpy and zipfile raise for a file that is not there or not whole: the part is run again.
_NOT_WHOLE = (OSError, ValueError, EOFError, RuntimeError, struct.error, zlib.error, zipfile.BadZipFile)
Facts = Mapping[str, object]


class KeptParts:
    """Parts by name in one folder. Raises ConfigError where the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"--keep {folder} cannot be used: {error.strerror}; name another folder"
            ) from None
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise ConfigError(f"--keep {folder} cannot be written; name another folder")

    def track(self, name: str, segment: Segment) -> Track | None:
        """Return a track that was kept; None where none is, or where the file is not whole."""
        found = self._read(name)
        return _track(found, segment) if found is not None else None

    def accounts(self, name: str) -> Mapping[str, Account] | None:
        found = self._read(name)
        if found is None:
            return None
        names = json.loads(str(found[_META]))["accounts"]
        return {item: _account(found, item) for item in names}

    def numbers(self, name: str) -> Mapping[int, Mapping[str, float]] | None:
        """Return what ``keep_numbers`` kept."""
        found = self._read(name)
        if found is None:
            return None
        rows = json.loads(str(found[_META]))["numbers"]
        return {int(key): {each: float(text) for each, text in row.items()} for key, row in rows.items()}

    def keep_track(self, name: str, track: Track) -> None:
        arrays: dict[str, np.ndarray] = {
            "times_s": track.times_s,
            "spot_usd": track.spot_usd,
            "position_usd": track.position_usd,
            "tiers": track.tiers,
            "blind": track.blind,
            **_arrays("alvh", track.alvh),
        }
        gaps = [[item.file, item.from_s, item.to_s, item.missing_rows, item.in_range] for item in track.gaps]
        self._write(name, arrays, {"missing": list(track.missing), "gaps": gaps})

    def keep_accounts(self, name: str, accounts: Mapping[str, Account]) -> None:
        arrays = {key: value for item, each in accounts.items() for key, value in _arrays(item, each).items()}
        self._write(name, arrays, {"accounts": list(accounts)})

    def keep_numbers(self, name: str, numbers: Mapping[int, Mapping[str, float]]) -> None:
        rows = {str(key): {each: repr(value) for each, value in row.items()} for key, row in numbers.items()}
        self._write(name, {}, {"numbers": rows})

    def _read(self, name: str) -> Mapping[str, np.ndarray] | None:
        path = self._folder / f"{name}.npz"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                found = {key: file[key] for key in file.files}
        except _NOT_WHOLE:
            return None
        return found if _META in found else None

    def _write(self, name: str, arrays: Mapping[str, np.ndarray], meta: Facts) -> None:
        """Write a part whole or not at all."""
        handle, temporary = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                parts = {_META: np.array(json.dumps(meta)), **arrays}
                np.savez_compressed(file, allow_pickle=False, **parts)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._folder / f"{name}.npz")
        except OSError as error:
            Path(temporary).unlink(missing_ok=True)
            raise ConfigError(
                f"--keep {self._folder} cannot be written: {error.strerror}; what is done stays there"
            ) from None


def part_name(kind: str, *, study: str, segment: Segment, facts: Facts) -> str:
    """Return the name of a part: what it is in words, and a digest of all that it depends on."""
    windows = [[item.id, item.start_s, item.end_s, item.kind] for item in segment.windows]
    digest = digest_of([kind, study, segment.start_s, segment.end_s, windows, facts])
    return f"{kind}-{iso_utc(segment.start_s)[:10]}-{digest[:24]}"


def study_digest(data: Path, spec: ExposureSpec, market: str) -> str:
    """Return a digest of what all parts of a run depend on: data, exposure, market and program.

    Raises ConfigError for a data folder that cannot be read.
    """
    return digest_of([_FORMAT, data_digest(data), repr(spec), market, bot.__version__, code_digest()])


def _arrays(name: str, account: Account) -> dict[str, np.ndarray]:
    return {f"{name}.gain_usd": account.gain_usd, f"{name}.trades_s": account.trades_s}


def _account(found: Mapping[str, np.ndarray], name: str) -> Account:
    return Account(gain_usd=found[f"{name}.gain_usd"], trades_s=found[f"{name}.trades_s"])


def _track(found: Mapping[str, np.ndarray], segment: Segment) -> Track:
    meta = json.loads(str(found[_META]))
    return Track(
        segment=segment,
        times_s=found["times_s"],
        spot_usd=found["spot_usd"],
        position_usd=found["position_usd"],
        tiers=found["tiers"],
        blind=found["blind"],
        alvh=_account(found, "alvh"),
        benchmarks={},
        missing=tuple(meta["missing"]),
        gaps=tuple(
            Gap(file=file, from_s=from_s, to_s=to_s, missing_rows=rows, in_range=in_range)
            for file, from_s, to_s, rows, in_range in meta["gaps"]
        ),
    )
