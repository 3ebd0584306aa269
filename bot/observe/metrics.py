"""What Prometheus reads of a run. Names follow its conventions: base units, ``_total`` for counters.

Labels are groups, layers, signals, exposures and the like, all of which the configuration bounds; no label is
an address of a provider, a transaction or a reason. Of a metric at most ``MAX_SERIES`` label sets are kept.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.metrics import MetricWrapperBase

from bot import __version__
from bot.model.hedge import LegStatus, Side
from bot.model.record import Decision, GroupDecision, StepRecord
from bot.model.tier import Tier
from bot.pipeline.loop import Moment

MAX_SERIES = 500
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
_PREFIX = "alvh"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFigures:
    """How one provider stands; it is named by its chain and its place in the configuration."""

    chain: int
    place: int
    usable: bool
    benched: bool
    head: int | None
    latency_s: float
    failures: int = 0  # in a row


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetFigures:
    """How one alert target stands."""

    name: str
    waiting: int
    delivered: int
    failures: int
    failing_since_s: float  # NaN: it does not fail


@dataclass(slots=True, kw_only=True)
class Metrics:
    """All metrics of one run, in a registry of its own."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    clock: Callable[[], float] = time.time
    _gauges: dict[str, Gauge] = field(default_factory=dict, init=False)
    _counters: dict[str, Counter] = field(default_factory=dict, init=False)
    _stages: Histogram = field(init=False)
    _build: Info = field(init=False)

    def __post_init__(self) -> None:
        for name, (words, labels) in GAUGES.items():
            self._gauges[name] = Gauge(f"{_PREFIX}_{name}", words, labels, registry=self.registry)
        for name, (words, labels) in COUNTERS.items():
            self._counters[name] = Counter(f"{_PREFIX}_{name}", words, labels, registry=self.registry)
        self._stages = Histogram(
            f"{_PREFIX}_stage_duration_seconds",
            "Time of a stage: cut, quote, decide, execute, journal; and step, all but cut.",
            ["stage"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self._build = Info(f"{_PREFIX}_build", "What runs.", registry=self.registry)

    def begin(self, *, mode: str) -> None:
        """Say what runs."""
        self._build.info({"version": __version__, "mode": mode})
        self._gauges["start_timestamp_seconds"].set(self.clock())

    @contextmanager
    def span(self, stage: str) -> Iterator[None]:
        """Time a stage."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            self._stages.labels(stage).observe(time.perf_counter() - began_s)

    def step(self, record: StepRecord, moment: Moment) -> None:
        """Take what a step decided and did."""
        decision = record.decision
        self._gauges["last_decision_timestamp_seconds"].set(self.clock())
        self._gauges["last_decision_sequence"].set(record.sequence)
        self._counters["decisions"].inc()
        self._gauges["holds"].set(len(decision.holds))
        self._groups(decision.groups)
        self._set("protocol_tier", (((item.protocol,), item.tier.value) for item in decision.protocols))
        if not record.is_heartbeat:
            self._readings(decision)
        self._money(record, decision)
        self._orders(record)
        self._blocks(moment)

    def _groups(self, groups: Sequence[GroupDecision]) -> None:
        self._set("tier", (((item.group,), item.shown_tier.value) for item in groups))
        self._set("market_tier", (((item.group,), item.tier.value) for item in groups))
        self._set("protection_wanted_ratio", (((item.group,), item.wanted_share) for item in groups))
        self._set("protection_covered_ratio", (((item.group,), item.covered_share) for item in groups))
        self._set("value_at_risk_usd", (((item.group,), item.var_usd) for item in groups))
        targets = [(item.group, each) for item in groups for each in item.targets]
        self._set("layer_wanted_contracts", (((g, t.layer), t.wanted_contracts) for g, t in targets))
        self._set("layer_held_contracts", (((g, t.layer), t.held_contracts) for g, t in targets))
        missing = {(g, t.layer.value): 0.0 for g, t in targets}
        for item in groups:
            for short in item.shortfalls:
                key = (item.group, short.layer.value)
                missing[key] = max(missing.get(key, 0.0), short.missing)
        self._set("layer_shortfall_ratio", missing.items())
        votes = [(item.group, vote) for item in groups for vote in item.votes]
        self._set("family_score", (((g, v.family), v.score) for g, v in votes))
        self._set("family_voting", (((g, v.family), float(v.voting)) for g, v in votes))
        self._set("family_degraded", (((g, v.family), float(v.degraded)) for g, v in votes))

    def _readings(self, decision: Decision) -> None:
        self._set(
            "signal_score",
            (((r.signal, r.subject, r.source), r.score) for r in decision.readings if math.isfinite(r.score)),
        )
        counts: dict[tuple[str, ...], float] = {}
        for reading in decision.readings:
            key = (reading.quality.value,)
            counts[key] = counts.get(key, 0.0) + 1.0
        self._set("readings", counts.items())

    def _money(self, record: StepRecord, decision: Decision) -> None:
        limits = decision.limits
        names = [key.removesuffix("_cap_usd") for key in limits if key.endswith("_cap_usd")]
        self._set("budget_limit_usd", (((name,), limits[f"{name}_cap_usd"]) for name in names))
        self._set(
            "budget_left_usd",
            (((name,), limits[f"{name}_cap_usd"] - limits.get(f"{name}_used_usd", 0.0)) for name in names),
        )
        self._set("spot_usd", (((name,), value) for name, value in record.spot_usd.items()))
        self._set("exposure_value_usd", (((key,), value) for key, value in record.exposure_value_usd.items()))
        self._gauges["hedge_value_usd"].set(record.hedge_value_usd)
        self._gauges["perpetual_value_usd"].set(record.perpetual_value_usd)
        self._gauges["cash_flow_usd"].set(record.cash_flow_usd)

    def _orders(self, record: StepRecord) -> None:
        counters = self._counters
        for leg in record.outcomes:
            counters["orders"].labels("option", leg.status.value).inc()
            if leg.status in (LegStatus.FILLED, LegStatus.PARTIAL):
                name = "premium_usd" if leg.leg.side is Side.BUY else "proceeds_usd"
                _add(counters[name].labels(leg.leg.layer.value), leg.premium_usd)
                _add(counters["swap_usd"], leg.swap_usd)
        for kind, others in (
            ("perpetual", record.perpetuals),
            ("account", record.account_orders),
            ("cover", record.covers),
        ):
            for item in others:
                counters["orders"].labels(kind, item.status.value).inc()
        for cover in record.covers:
            if cover.status is LegStatus.FILLED:
                _add(counters["premium_usd"].labels("COVER"), cover.premium_usd)
        gas_usd = [item.gas_usd for item in record.outcomes]
        gas_usd += [item.gas_usd for item in record.perpetuals]
        gas_usd += [item.gas_usd for item in record.account_orders]
        gas_usd += [item.gas_usd for item in record.covers]
        for value in gas_usd:
            _add(counters["gas_usd"], value)

    def _blocks(self, moment: Moment) -> None:
        blocks = moment.blocks.items()
        self._set("chain_block_number", (((str(chain),), block.number) for chain, block in blocks))
        self._set(
            "chain_block_timestamp_seconds",
            (((str(chain),), block.timestamp_s) for chain, block in blocks),
        )

    def trouble(self, error: Exception) -> None:
        """Count a failure between steps, by its class."""
        self._counters["troubles"].labels(type(error).__name__).inc()

    def stalled(self, seconds: float) -> None:
        self._counters["event_loop_stalls"].inc()
        self._counters["event_loop_stalled_seconds"].inc(seconds)

    def providers(self, figures: Iterable[ProviderFigures]) -> None:
        """Take how the providers stand, when somebody asks."""
        found = [((str(item.chain), str(item.place)), item) for item in figures]
        self._set("provider_usable", ((key, float(item.usable)) for key, item in found))
        self._set("provider_benched", ((key, float(item.benched)) for key, item in found))
        self._set("provider_head_block", ((key, item.head) for key, item in found if item.head is not None))
        self._set("provider_failures_in_a_row", ((key, item.failures) for key, item in found))
        self._set("provider_latency_seconds", ((key, item.latency_s) for key, item in found))

    def alerts(self, targets: Iterable[TargetFigures], *, standing: Mapping[str, int]) -> None:
        """Take how the alert targets stand, when somebody asks. ``standing``: severity to how many."""
        found, now_s = list(targets), self.clock()
        self._set("alerts_standing", (((name,), count) for name, count in standing.items()))
        self._set("alerts_waiting", (((item.name,), item.waiting) for item in found))
        self._set("alerts_delivered", (((item.name,), item.delivered) for item in found))
        self._set("alerts_delivery_failures", (((item.name,), item.failures) for item in found))
        self._set(
            "alerts_failing_seconds",
            (
                ((item.name,), 0.0 if math.isnan(item.failing_since_s) else now_s - item.failing_since_s)
                for item in found
            ),
        )

    def heartbeat(self, last_success_s: float) -> None:
        self._gauges["heartbeat_last_success_timestamp_seconds"].set(last_success_s)

    def open_orders(self, counts: Mapping[str, int]) -> None:
        """Take how many orders are open, by kind, when somebody asks."""
        self._set("orders_open", (((kind,), count) for kind, count in counts.items()))

    def journal_writable(self, is_writable: bool) -> None:
        self._gauges["journal_writable"].set(float(is_writable))

    def log_failures(self, count: int) -> None:
        self._gauges["log_write_failures"].set(count)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self.registry)

    @property
    def names(self) -> frozenset[str]:
        """Every name that a query may use, with the suffixes that Prometheus adds."""
        return frozenset(
            name for family in self.registry.collect() for name in _names_of(family.name, family.type)
        )

    def _set(self, name: str, values: Iterable[tuple[Sequence[str], float]]) -> None:
        """Replace all series of a gauge: what is gone is shown no longer."""
        gauge = self._gauges[name]
        gauge.clear()
        for _, (labels, value) in zip(range(MAX_SERIES), values, strict=False):
            gauge.labels(*labels).set(value)


def _add(counter: MetricWrapperBase, value: float) -> None:
    """Count money that is known and positive; a counter takes no other."""
    if isinstance(counter, Counter) and math.isfinite(value) and value > 0.0:
        counter.inc(value)


def _names_of(name: str, kind: str) -> tuple[str, ...]:
    if kind == "counter":
        return (f"{name}_total",)
    if kind == "histogram":
        return (f"{name}_bucket", f"{name}_sum", f"{name}_count")
    return (f"{name}_info",) if kind == "info" else (name,)


_TIERS = ", ".join(f"{tier.value} {tier.name}" for tier in Tier)
_Table = Mapping[str, tuple[str, Sequence[str]]]
GAUGES: _Table = {
    "start_timestamp_seconds": ("When the run began.", ()),
    "last_decision_timestamp_seconds": ("When the last decision was made, by this machine's clock.", ()),
    "last_decision_sequence": ("Number of the last decision in the journal.", ()),
    "holds": ("Reasons why nothing new is opened now.", ()),
    "tier": (f"The higher of market and protocol tier: {_TIERS}.", ("group",)),
    "market_tier": (f"Market tier: {_TIERS}.", ("group",)),
    "protocol_tier": (f"Tier of a protocol, stable or bridge: {_TIERS}.", ("protocol",)),
    "protection_wanted_ratio": ("Part of the value at risk that is to be protected.", ("group",)),
    "protection_covered_ratio": ("Part of it that held and planned hedges protect.", ("group",)),
    "value_at_risk_usd": ("Value at risk.", ("group",)),
    "layer_wanted_contracts": ("Contracts that a layer should hold.", ("group", "layer")),
    "layer_held_contracts": ("Contracts that a layer holds.", ("group", "layer")),
    "layer_shortfall_ratio": ("Part of a layer's target that is missing.", ("group", "layer")),
    "family_score": ("Consensus score of a family of signals.", ("group", "family")),
    "family_voting": ("1 while a family votes for a higher tier.", ("group", "family")),
    "family_degraded": ("1 while fewer than half of a family's signals are live.", ("group", "family")),
    "signal_score": ("Score of a signal, 0 calm to 1 stressed.", ("signal", "subject", "source")),
    "readings": ("Readings of the last full record by quality.", ("quality",)),
    "budget_limit_usd": ("A limit of R9.", ("budget",)),
    "budget_left_usd": ("What is left of it.", ("budget",)),
    "spot_usd": ("Price of an underlying.", ("underlying",)),
    "exposure_value_usd": ("Value of a position with its fees, hedges left out.", ("exposure",)),
    "hedge_value_usd": ("What all held hedges are worth; NaN while a venue cannot be read.", ()),
    "perpetual_value_usd": ("Part of it: what closing the perpetuals would gain.", ()),
    "cash_flow_usd": ("Money that hedging brought, or took where negative, since its journal began.", ()),
    "orders_open": ("Orders whose end is not known yet.", ("kind",)),
    "chain_block_number": ("Newest block that was decided on.", ("chain",)),
    "chain_block_timestamp_seconds": ("Its time.", ("chain",)),
    "provider_usable": ("1 while a provider may be asked.", ("chain", "provider")),
    "provider_benched": ("1 while a provider is out for a reason.", ("chain", "provider")),
    "provider_failures_in_a_row": ("Its failures since its last answer.", ("chain", "provider")),
    "provider_head_block": ("Newest block that a provider showed.", ("chain", "provider")),
    "provider_latency_seconds": ("Running mean of its answers.", ("chain", "provider")),
    "alerts_standing": ("Alerts that stand.", ("severity",)),
    "alerts_waiting": ("Messages that wait for a target.", ("target",)),
    "alerts_delivered": ("Messages that a target took, earlier runs included.", ("target",)),
    "alerts_delivery_failures": ("Deliveries that failed, earlier runs included.", ("target",)),
    "alerts_failing_seconds": ("For how long a target has failed; 0 while it works.", ("target",)),
    "heartbeat_last_success_timestamp_seconds": ("When the heartbeat was last taken.", ()),
    "journal_writable": ("1 while the journal's disk takes more.", ()),
    "log_write_failures": ("Lines that the log file did not take.", ()),
}
COUNTERS: _Table = {
    "decisions": ("Decisions of this process.", ()),
    "orders": ("Orders of this process by how they ended, or stood.", ("kind", "status")),
    "premium_usd": ("Premium paid by this process, venue fees included.", ("layer",)),
    "proceeds_usd": ("Proceeds of sales and settlements.", ("layer",)),
    "swap_usd": ("Cost of swaps into the settlement asset.", ()),
    "gas_usd": ("Gas of all orders.", ()),
    "troubles": ("Failures between decisions by class; most pass by themselves.", ("kind",)),
    "event_loop_stalls": ("Times that the loop did not come round for seconds.", ()),
    "event_loop_stalled_seconds": ("For how long in all.", ()),
}
