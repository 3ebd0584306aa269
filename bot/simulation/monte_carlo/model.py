"""What Monte Carlo paths are made of: the file and its values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from bot.errors import ConfigError
from bot.model.market import FloatArray
from bot.model.parsing import toml_of

PACKAGED = "monte_carlo.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimes:
    """A Markov chain of two regimes, usual and crisis, that all assets share."""

    enter_a_year: float
    crisis_days: float
    vol_multiple: float
    jumps_a_year: float
    crisis_jumps_a_year: float
    crisis_priced: float  # share of what a crisis is expected to bring that implied vol takes up

    @property
    def crisis_share(self) -> float:
        """Share of the time that is crisis, in the long run."""
        leave_a_year = 365.0 / self.crisis_days
        return self.enter_a_year / (self.enter_a_year + leave_a_year)

    @property
    def mean_jumps_a_year(self) -> float:
        """Jumps a year in the long run."""
        return self.jumps_a_year + self.crisis_share * (self.crisis_jumps_a_year - self.jumps_a_year)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetModel:
    """Price and vol of one asset: Merton's jumps, a log vol that is an Ornstein-Uhlenbeck process."""

    spot_usd: float
    drift: float
    vol: float
    vol_spread: float
    vol_half_life_days: float
    lean: float
    jump_mean: float
    jump_sd: float
    vol_kick: float
    implied_over_realised: float

    @property
    def jump_variance(self) -> float:
        """Variance that one jump brings."""
        return self.jump_mean**2 + self.jump_sd**2

    def mean_variance(self, regimes: Regimes) -> float:
        """Return the variance a year that the model has in the long run, jumps included."""
        share = regimes.crisis_share
        usual = self.vol**2 * math.exp(2.0 * self.vol_spread**2)
        diffused = usual * (1.0 - share + share * regimes.vol_multiple**2)
        return diffused + regimes.mean_jumps_a_year * self.jump_variance


@dataclass(frozen=True, slots=True, kw_only=True)
class Funding:
    calm: float
    stress: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fees:
    """Fee income a year, as a share of the position's value, while the price is in its range."""

    v2: float
    v3: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    block_days: float
    vol_decay: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TierRule:
    """How a day's end tells what the engine makes of its hours: weights of scores, not policy."""

    slow_days: float
    at_rest: float
    by_level: float
    by_rise: float
    by_fall: float
    third_under: float
    fast_fall: float
    fast_rise: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PathModel:
    """Everything that paths assume beside the option market."""

    regimes: Regimes
    assets: Mapping[str, AssetModel]
    correlation: FloatArray  # of the assets in their order
    funding: Funding
    fees: Fees
    bootstrap: Bootstrap
    tiers: TierRule

    def with_one_regime(self) -> "PathModel":
        """Return the model without crises: plain jump diffusion with stochastic vol."""
        usual = self.regimes
        return replace(self, regimes=replace(usual, enter_a_year=0.0))

    def assumptions(self) -> tuple[str, ...]:
        """Return every assumption as a line for a person."""
        regimes = self.regimes
        lines = [
            f"{name}: vol {100 * item.vol:.0f} % a year, deviation of its log {item.vol_spread:.2f} with a "
            f"half-life of {item.vol_half_life_days:g} days, correlation with returns {item.lean:+.2f}; "
            f"jumps of {100 * item.jump_mean:+.1f} % on average, deviation {100 * item.jump_sd:.1f} %; "
            f"drift {100 * item.drift:+.1f} % a year; implied vol {item.implied_over_realised:.2f} times "
            f"what "
            "the model expects."
            for name, item in self.assets.items()
        ]
        if regimes.enter_a_year > 0.0:
            lines.append(
                f"Crises begin {regimes.enter_a_year:g} times a year and last {regimes.crisis_days:g} "
                f"days: vol "
                f"times {regimes.vol_multiple:g}, {regimes.crisis_jumps_a_year:g} jumps a year in place of "
                f"{regimes.jumps_a_year:g}."
            )
        else:
            lines.append(f"One regime with {regimes.jumps_a_year:g} jumps a year.")
        lines.append(
            f"Funding is {self.funding.calm:+.1%} a year in calm and {self.funding.stress:+.1%} in full "
            f"stress; LP "
            f"fees {self.fees.v2:.0%} (v2) and {self.fees.v3:.0%} (v3) of value a year, in range."
        )
        return tuple(lines)


def load_model(path: Path | None = None) -> PathModel:
    """Return the model of a file, or the packaged one. Raises ConfigError naming the key that is wrong."""
    name = str(path) if path else PACKAGED
    try:
        text = (
            path.read_text(encoding="utf-8")
            if path
            else resources.files(__package__).joinpath(PACKAGED).read_text(encoding="utf-8")
        )
        tables = toml_of(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"model file {name} cannot be read: {error}") from error
    return parse_model(tables, name=name)


def parse_model(tables: Mapping[str, Any], *, name: str = PACKAGED) -> PathModel:
    """Return the model that the tables of a file describe. Raises ConfigError."""
    needed = {"regimes", "assets", "correlation", "funding", "fees", "bootstrap", "tiers"}
    _same_keys(tables, needed, where=f"model file {name}")
    assets_table = tables["assets"]
    if not isinstance(assets_table, Mapping) or not assets_table:
        raise ConfigError(
            f"model file {name}: [assets] must have a table for each asset, such as [assets.ETH]"
        )
    assets = {
        asset: _section(AssetModel, table, where=f"model file {name}, [assets.{asset}]")
        for asset, table in assets_table.items()
    }
    return PathModel(
        regimes=_section(Regimes, tables["regimes"], where=f"model file {name}, [regimes]"),
        assets=assets,
        correlation=_correlation(tables["correlation"], tuple(assets), name),
        funding=_section(Funding, tables["funding"], where=f"model file {name}, [funding]"),
        fees=_section(Fees, tables["fees"], where=f"model file {name}, [fees]"),
        bootstrap=_section(Bootstrap, tables["bootstrap"], where=f"model file {name}, [bootstrap]"),
        tiers=_section(TierRule, tables["tiers"], where=f"model file {name}, [tiers]"),
    )


_BOUNDS = {
    "enter_a_year": (0.0, 50.0),
    "crisis_days": (1.0, 365.0),
    "vol_multiple": (1.0, 10.0),
    "jumps_a_year": (0.0, 365.0),
    "crisis_jumps_a_year": (0.0, 365.0),
    "crisis_priced": (0.0, 1.0),
    "spot_usd": (1e-6, 1e9),
    "drift": (-2.0, 2.0),
    "vol": (0.01, 5.0),
    "vol_spread": (0.0, 1.5),
    "vol_half_life_days": (0.5, 1000.0),
    "lean": (-0.99, 0.99),
    "jump_mean": (-0.5, 0.5),
    "jump_sd": (0.0, 0.5),
    "vol_kick": (-1.0, 1.0),
    "implied_over_realised": (0.5, 3.0),
    "calm": (-5.0, 5.0),
    "stress": (-5.0, 5.0),
    "v2": (0.0, 10.0),
    "v3": (0.0, 10.0),
    "block_days": (1.0, 365.0),
    "vol_decay": (0.5, 0.999),
    "slow_days": (1.0, 365.0),
    "at_rest": (-1.0, 1.0),
    "by_level": (0.0, 100.0),
    "by_rise": (0.0, 100.0),
    "by_fall": (0.0, 10.0),
    "third_under": (0.0, 1.0),
    "fast_fall": (0.0, 5.0),
    "fast_rise": (0.0, 5.0),
}


def _section(cls: type[Any], table: object, *, where: str) -> Any:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, was {table!r}")
    _same_keys(table, {item.name for item in fields(cls)}, where=where)
    return cls(
        **{key: _number(value, *_BOUNDS[key], where=f"{where}: {key}") for key, value in table.items()}
    )


def _number(value: object, low: float, high: float, *, where: str) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and low <= float(value) <= high:  # type: ignore[arg-type]
        return float(value)  # type: ignore[arg-type]
    raise ConfigError(f"{where} must be a number from {low:g} to {high:g}, was {value!r}")


def _same_keys(found: Mapping[str, object], needed: set[str], *, where: str) -> None:
    for wrong, word in ((set(found) - needed, "unknown"), (needed - set(found), "missing")):
        if wrong:
            raise ConfigError(
                f"{where}: {word} key {', '.join(sorted(wrong))}; needed are {', '.join(sorted(needed))}"
            )


def _correlation(table: object, assets: Sequence[str], name: str) -> FloatArray:
    """Return the matrix of a table of pairs, each "ONE OTHER" once."""
    where = f"model file {name}, [correlation]"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} must be a table, was {table!r}")
    wanted = {f"{one} {other}" for at, one in enumerate(assets) for other in assets[at + 1 :]}
    _same_keys(table, wanted, where=where)
    found = np.eye(len(assets))
    for pair, value in table.items():
        one, other = (assets.index(part) for part in pair.split())
        found[one, other] = found[other, one] = _number(value, -0.999, 0.999, where=f"{where}: {pair}")
    if np.linalg.eigvalsh(found).min() <= 0.0:
        raise ConfigError(
            f"{where}: no assets can be correlated like this together; bring the pairs closer to 0"
        )
    return found
