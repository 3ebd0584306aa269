"""Keys of earlier versions: what became of each, for who starts a new version with an old file."""

from collections.abc import Mapping, Sequence

_FORMERLY: Mapping[str, str] = {
    "execution.deadline_s": "it is execution.wait_s now",
    "lyra.greek_cache": "it is not needed any more; remove it, and name lyra.synthetix_adapter",
    "lyra.settlement_pool": "the pool is named by its fee now: lyra.settlement_pool_fee",
}


def became(place: Sequence[int | str]) -> str:
    """Return what became of a key of an earlier version; empty for one that never was."""
    return _FORMERLY.get(".".join(part for part in place if isinstance(part, str)), "")
