"""What is wanted of each figure."""

import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    ">=": operator.ge,
    "<=": operator.le,
}


class Wanted(NamedTuple):
    """A figure, what it says, and its bound; no sign: it is told and not judged."""

    name: str
    words: str
    sign: str = ""
    bound: float = 0.0


WANTED = (
    Wanted("faults_covered", "faults covered and borne as stated, of 85", "=", 85),
    Wanted("cases", "cases run", ">=", 85),
    Wanted("violations", "violations of an invariant or a stated behaviour", "=", 0),
    Wanted("kills", "kills", ">=", 1_000),
    Wanted("duplicates", "orders that were doubled", "=", 0),
    Wanted("duplicate_bound_95", "95 % bound on the rate of doubled orders"),
    Wanted("kill_problems", "kills after which something else was wrong", "=", 0),
    Wanted("reorg_cases", "cases of reorganisations", ">=", 600),
    Wanted("reorg_bot_cases", "of the whole bot", ">=", 12),
    Wanted("reorg_wrong", "of all of them wrong", "=", 0),
    Wanted("lying_decisions_least_of_a_kind", "decisions beside each of 8 kinds of lies", ">=", 1_000),
    Wanted("lying_wrong", "decisions beside lies that were wrong", "=", 0),
    Wanted("cap_sequences", "sequences of spending, crashes and clocks", ">=", 5_000),
    Wanted("cap_violations", "spending over a cap: sequences, faults, kills", "=", 0),
    Wanted("canary_sinks", "sinks that secrets were looked for in", ">=", 100),
    Wanted("canary_encodings", "encodings that they were looked for in", ">=", 12),
    Wanted("canary_hits", "secrets found in a sink", "=", 0),
    Wanted("signer_requests", "requests to the signer", ">=", 10_000),
    Wanted("signer_outside", "signatures outside the policy", "=", 0),
    Wanted("egress_foreign", "contacts beside the configured ones", "=", 0),
    Wanted("egress_problems", "other things wrong with who is contacted", "=", 0),
    Wanted("rogue_noticed", "a planted thief's contacts are noticed, 1: all", "=", 1),
    Wanted("rogue_connected", "connections that the thief got", "=", 0),
    Wanted("fuzz_examples", "documents given to decoders", ">=", 100_000),
    Wanted("fuzz_problems", "decoders that failed otherwise than they may", "=", 0),
    Wanted("mutants_caught", "planted bugs caught, of 20", "=", 20),
    Wanted("mutants_total", "mutants of the money modules", ">=", 1_000),
    Wanted("mutation_score", "mutation score of the money modules", ">=", 0.9),
    Wanted("cap_line_score", "the same on lines that compare caps", "=", 1.0),
    Wanted("chain_id_line_score", "the same on lines that compare chain ids", "=", 1.0),
    Wanted("nonce_drift_cases", "nonces that drifted", ">=", 50),
    Wanted("nonce_drift_wrong", "of them not healed", "=", 0),
    Wanted("nonce_drift_blocks_p95", "blocks until they were, p95", "<=", 10),
    Wanted("crash_runs", "crashes with an outage", ">=", 100),
    Wanted("crash_wrong", "crashes neither protected in time nor told", "=", 0),
    Wanted("polls_to_protect_p95", "polls from a crash to its protection, p95", "<=", 3),
    Wanted("soak_minutes", "minutes of the soak", ">=", 5),
    Wanted("soak_rss_mib_per_hour", "growth of memory in the soak, MiB an hour"),
    Wanted("soak_fds_grown", "file handles grown in the soak, connections apart", "<=", 4),
    Wanted("soak_connections_most", "most connections to one provider in the soak", "<=", 50),
    Wanted("soak_log_bytes_per_poll", "bytes of log for each poll of the soak"),
    Wanted("soak_heads_lost", "heads lost in the soak", "=", 0),
    Wanted("soak_problems", "other things wrong after the soak", "=", 0),
)


def is_met(wanted: Wanted, figures: Mapping[str, Any]) -> bool:
    """Say whether a figure is there and within its bound."""
    value = figures.get(wanted.name)
    return not wanted.sign or (value is not None and _SIGNS[wanted.sign](value, wanted.bound))


def is_whole(figures: Mapping[str, Any]) -> bool:
    """Say whether a part counted as much as it must; how it went is another question."""
    counts = [wanted for wanted in WANTED if wanted.sign == ">=" and wanted.bound >= 1]
    return all(is_met(wanted, figures) for wanted in counts if wanted.name in figures)
