"""What asking an option venue for quotes comes to: those that were had, and why the others were not."""

from collections.abc import Iterable
from dataclasses import dataclass

from bot.model.hedge import Instrument, Quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An option that is listed and has no quote, or no executable one."""

    instrument: Instrument
    because: str


Quoted = tuple[tuple[Quote, ...], tuple[Refusal, ...]]


def sorted_out(answers: Iterable[tuple[Instrument, Quote | str]]) -> Quoted:
    """Return the quotes and the refusals among the answers: a quote, or the reason why there is none."""
    found: list[Quote] = []
    refused: list[Refusal] = []
    for instrument, answer in answers:
        if isinstance(answer, Quote):
            found.append(answer)
        else:
            refused.append(Refusal(instrument=instrument, because=answer))
    return tuple(found), tuple(refused)
