"""The parts of the campaign: each proves something, prints as it goes, and returns figures by name."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from campaign import place
from campaign.wanted import is_whole

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a person may say of a part. 0: the part's own."""

    repeats: int = 0  # seeds, rounds, examples: what the part repeats
    jobs: int = 0
    fresh: bool = False  # also what ran over this very source
    minutes: float = 0.0  # of what lasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """``module`` has ``run(options) -> Figures``; it is imported when it runs."""

    module: str
    what: str

    def run(self, options: Options) -> Figures:
        run: Callable[[Options], Figures] = importlib.import_module(self.module).run
        return run(options)


PARTS: Mapping[str, Part] = {
    "faults": Part(
        module="campaign.faults", what="85 faults, each under so many seeds, judged by the auditor"
    ),
    "kills": Part(module="campaign.kills", what="kill -9 at twelve points of four actions, and blindly"),
    "reorgs": Part(module="campaign.reorgs", what="reorganisations of depth 1 to 20, three kinds of pools"),
    "lying": Part(module="campaign.lying", what="providers that lie in eight ways"),
    "caps": Part(module="campaign.caps", what="rolling caps over crashes and clocks that jump"),
    "crash": Part(module="campaign.crash", what="a true crash with outages: polls until it is protected"),
    "canary": Part(module="campaign.canary", what="secrets in twelve encodings, looked for in every sink"),
    "signer": Part(module="campaign.signer_fuzz", what="10,000 requests to the signer"),
    "fuzz": Part(module="campaign.fuzz", what="every decoder of bytes from outside"),
    "nonces": Part(module="campaign.nonce_drift", what="nonces that drifted, and how fast they heal"),
    "egress": Part(module="campaign.egress", what="who is contacted, and a package that phones home"),
    "planted": Part(module="campaign.planted.run", what="20 planted bugs that the campaign must catch"),
    "mutation": Part(module="campaign.mutation", what="mutants of the money modules against the tests"),
    "soak": Part(module="campaign.soak", what="a long run with random faults: memory, files, logs"),
}


def figures_of(name: str, options: Options) -> Figures:
    """Return a part's figures: those that were kept of this very source, or of a run now."""
    if not options.fresh and (found := place.kept(name)) is not None:
        return found
    return ran(name, options)


def ran(name: str, options: Options) -> Figures:
    """Run a part and return its figures; those of one that was cut short are not kept for the summary."""
    figures = PARTS[name].run(options)
    if is_whole(figures):
        place.keep(name, figures)
    return figures
