"""The demo: the production path on a local chain that a scenario moves by transactions and time alone."""

import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bot.app.live import Bot, open_bot
from bot.app.policy import keys_decided_by
from bot.chain.rpc import Rpc, quantity
from bot.devnet import service
from bot.devnet.config import DEFAULT_POLICY, write_config
from bot.devnet.deployment import Deployment
from bot.devnet.history import history
from bot.devnet.market import MarketMover
from bot.devnet.node import start_devnet
from bot.devnet.scenarios import MarketPoint, is_protocol_test, left_out, market_path, playable
from bot.errors import ConfigError, InvariantError
from bot.model.market import SeriesKey
from bot.model.record import StepRecord
from bot.pipeline.history import History
from bot.settings import PolicySettings, Settings, cache_dir, load_settings
from bot.simulation.report.data import ReportData
from bot.simulation.report.files import write_report
from bot.simulation.report.journal import from_steps
from bot.simulation.stress.description import Scenario

RECORDING = "recording"  # folder in what --keep leaves, for alvh replay
OnStep = Callable[[StepRecord, int, int], None]  # record, steps done, steps in all


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResult:
    """What a demo saw and did."""

    scenario: Scenario
    seed: int
    chain_id: int
    records: tuple[StepRecord, ...]
    report: ReportData
    setup_s: float
    run_s: float


async def demo(
    *,
    scenario: str,
    seed: int,
    report: Path | None,
    keep: Path | None,
    on_step: OnStep,
    policy: str = DEFAULT_POLICY,
) -> DemoResult:
    """Run one scenario on a fresh devnet: in a scratch folder, or in ``keep``, where all of it stays.

    Raises NotFoundError or ConfigError for a scenario that is unknown or that no chain can carry; ConfigError
    or TransientError without a devnet; InvariantError when an order is not on the chain as it was booked.
    """
    chosen = replace(playable(scenario), name=scenario)  # as it was asked for: "terra" is "terra-2022"
    started_s = time.monotonic()
    async with AsyncExitStack() as stack:
        rpc_url, deployment, folder = await _ground(stack, keep)
        settings = _settings(chosen, deployment, rpc_url, folder, policy)
        rpc = await stack.enter_async_context(Rpc(rpc_url))
        mover = MarketMover(rpc, deployment)
        record = keep / RECORDING if keep else None
        bot = await stack.enter_async_context(open_bot(settings, mode="demo", record=record))
        path = await _begin(bot, mover, chosen, seed)
        ready_s = time.monotonic()
        records = [record async for record in _play(bot, mover, path, on_step)]
        await _audit(rpc, records)
        data = await _report(bot, records, chosen, settings.policy)
    if report:
        write_report(data, report)
    return DemoResult(
        scenario=chosen,
        seed=seed,
        chain_id=settings.chain.id,
        records=tuple(records),
        report=data,
        setup_s=ready_s - started_s,
        run_s=time.monotonic() - ready_s,
    )


def _settings(
    scenario: Scenario, deployment: Deployment, rpc_url: str, folder: Path, policy: str
) -> Settings:
    """Write the configuration that the scenario needs, and read it as a user's."""
    is_protocol = is_protocol_test(scenario)
    return load_settings(
        write_config(deployment, rpc_url=rpc_url, directory=folder, policy=policy, protocol=is_protocol)
    )


async def _ground(stack: AsyncExitStack, keep: Path | None) -> tuple[str, Deployment, Path]:
    """Start a devnet and return its URL, deployment and the folder for the bot's state."""
    if keep is None:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alvh-demo-")))
        devnet = await stack.enter_async_context(await start_devnet(cache_dir()))
        return devnet.rpc_url, devnet.deployment, scratch
    _require_unused(keep)
    running = await service.up(cache_dir(), keep, lives_on=False)
    return running.rpc_url, running.deployment, keep


def _require_unused(folder: Path) -> None:
    if any(folder.glob("*.sqlite")):
        raise ConfigError(f"--keep {folder} holds the journal of an earlier run; name an empty folder")


async def _audit(rpc: Rpc, records: Sequence[StepRecord]) -> None:
    """Check from the chain alone that every order that was filled is there, in the block it was booked in."""
    for outcome in (item for record in records for item in record.outcomes if item.tx_hash):
        receipt = await rpc.read("eth_getTransactionReceipt", [outcome.tx_hash])
        found = (quantity(receipt["status"]), quantity(receipt["blockNumber"])) if receipt else None
        if found != (1, outcome.block_number):
            raise InvariantError(
                f"order {outcome.leg.key} was booked as {outcome.tx_hash} in block {outcome.block_number}, "
                f"the chain says {found}"
            )


async def _begin(bot: Bot, mover: MarketMover, scenario: Scenario, seed: int) -> tuple[MarketPoint, ...]:
    """Bring the market to the first point and the history up to it; return the path."""
    path = market_path(scenario, seed)
    await mover.move(path[0])
    await _warm(bot, scenario, seed, end_s=path[0].at_s)
    return path


async def _warm(bot: Bot, scenario: Scenario, seed: int, *, end_s: int) -> None:
    """Load 35 days of made-up history that ends at the levels which the watchers read on the chain now."""
    head = await bot.reader.head()
    probe = replace(bot.source, history=History())  # the real store must begin with the oldest row
    first = await probe.cut(head, now_s=bot.source.clock(head))
    levels: Mapping[SeriesKey, float] = {
        key: float(column.values[-1]) for key, column in first.columns.series.items() if column.values.size
    }
    bot.source.history.append(history(scenario, seed, end_s=end_s, levels=levels))


async def _play(
    bot: Bot, mover: MarketMover, path: Sequence[MarketPoint], on_step: OnStep
) -> AsyncIterator[StepRecord]:
    """Step the bot at every point. The chain stands at the first one already."""
    for number, point in enumerate(path, start=1):
        if number > 1:
            await mover.move(point)
        record = await bot.step_at(await bot.reader.head())
        on_step(record, number, len(path))
        yield record


async def _report(
    bot: Bot, records: list[StepRecord], scenario: Scenario, policy: PolicySettings
) -> ReportData:
    head = await bot.reader.head()
    moment = await bot.source.cut(head, now_s=bot.source.clock(head))
    positions = await bot.pipeline.positions(moment)
    found = from_steps(
        records,
        title=f"{scenario.name}: {scenario.title}",
        positions=positions,
        shapes=[item.shape for item in moment.exposures],
        policy=keys_decided_by(policy, records[-1].decision.policy_hash),
    )
    assumptions = (
        "The chain is a local devnet; the contracts are the real ones.",
        *(f"Left out, no devnet carries it: {item}." for item in left_out(scenario)),
    )
    return replace(found, assumptions=assumptions, sources=scenario.sources)
