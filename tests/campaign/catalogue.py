"""The 85 faults of reliability.md: what is done, what the bot must do, and the case that proves it."""

from collections.abc import Mapping
from dataclasses import dataclass

from campaign.case import Case
from campaign.cases import chain, changes, data, host, kill, operator, packages, rpc, transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row of the catalogue."""

    id: str
    inject: str
    expected: str


def _rows(text: str) -> tuple[Fault, ...]:
    rows = [line.split("|") for line in text.strip().splitlines()]
    return tuple(Fault(id=row[0].strip(), inject=row[1].strip(), expected=row[2].strip()) for row in rows)


FAULTS = _rows(
    """
    F1 | one provider refuses connections | the next answers within the poll; no storm of alerts
    F2 | all providers down for ten minutes | no decision, an alert, the gap recorded, then it goes on
    F3 | answers 0.1 to 30 s late | bounded by one deadline
    F4 | headers and then silence, or a byte a second | the deadline fires
    F5 | reset in mid-body, truncated JSON | discarded; reads alone are asked again
    F6 | HTML, empty body, wrong type, gzip bomb, 200 MB | discarded, memory bounded
    F7 | wrong, missing or repeated ids, short batches | nothing of it is believed
    F8 | result null, method by method | unknown, never a number
    F9 | results of wrong types and sizes | refused with the name of the field
    F10 | 429 with and without Retry-After, 402, 403 | waits, changes provider, hides the URL
    F11 | head frozen, behind, far ahead, going back | the provider is benched
    F12 | a provider on a fork | disagreement is a hold and an alert
    F13 | another chain at start, on reconnect, in mid-session | that provider is not used
    F14 | lies about price, balance, nonce, receipt, block; one of three, two of three | majority, or hold
    F15 | a receipt without its event, or of another block | not done; looked at again
    F16 | logs kept back | found by blooms, asked again
    F17 | parts of a multicall fail | unknown, field by field
    F18 | head from a fast node, reads from one that lags | reads are pinned by hash; discarded
    F19 | websocket cut, silent, out of order | polling misses nothing
    F20 | absurd gas and fees | clamped or held
    C1 | reorganisations of depth 1 to 20 before our transaction | observed anew, nothing doubled
    C2 | a reorganisation removes our transaction, the pool forgets it | the same bytes go out again
    C3 | the same, and the node puts it back | waits, nothing new is signed
    C4 | the same, and another transaction takes the nonce | lost, at depth; the bot halts
    C5 | mined in alternating forks | the canonical one counts
    C6 | a reorganisation below the final block | halt and alert, until a person releases it
    C7 | blocks of 0.1 s, an hour without one, 500 empty ones, none with room | bounded in blocks and seconds
    C8 | the base fee rises a hundredfold | bumped up to the cap, then held and told
    C9 | a rollup's sequencer is down, or just back | held in both
    T1 | taken, and the connection cut before the reply | taken for sent; looked up by hash
    T2 | a hash is answered, and the pool never has it | the same bytes again
    T3 | evicted from the pool | the same bytes again, or with more fees
    T4 | refusals in the words of six clients | each is understood; unknown words are ambiguous
    T5 | mined and reverted | one record, gas booked, not repeated blindly
    T6 | replaced by our own bump, and the old one is mined | the receipt of the winner counts
    T7 | replaced by a foreign transaction of the same key | halt
    T8 | out of gas, intrinsic gas too low | named; one new estimate within the cap
    T9 | no coin for gas, too few tokens | held and told; nothing more is allowed than needed
    T10 | approved, and the purchase fails | revoked, or used again; never doubled
    T11 | partial fills, fees on transfer, false in place of a revert | the real change is booked
    T12 | the venue's code changes | nothing is signed for it
    T13 | a sandwich around the purchase | the bound holds, or it reverts
    T14 | a transaction with a later nonce lies in the pool | named; filled when the configuration says so
    K1 | killed after the decision | the restart ends it, once
    K2 | killed after the budget was reserved | the same
    K3 | killed after the nonce was reserved | the same
    K4 | killed after the transaction was built | the same
    K5 | killed after the signature | one payload for the nonce
    K6 | killed in the journal's write, before its fsync | one payload for the nonce
    K7 | killed after the fsync | the same bytes
    K8 | killed before the send | the same bytes
    K9 | killed after the send, before its reply | the same bytes
    K10 | killed after the reply, before its row | the same bytes
    K11 | killed after the receipt, before the book | booked once
    K12 | killed after the book, before anybody was told | booked once
    K13 | terminated, stopped for two minutes, out of memory, power cut | as after a kill; the lease holds
    K14 | killed in close, roll, approve, revoke, migration, backup, new configuration | the same
    K15 | a crash loop | ends; the transactions are as many as without it
    K16 | the signer dies, hangs, answers a wrong signature, signs as another | refused; nothing is sent
    H1 | the disk is full | nothing is opened, watching goes on
    H2 | fsync fails | nothing is sent after it
    H3 | bits flipped, file cut, WAL gone, an old copy restored | seen; no trade
    H4 | the journal locked by a reader, a slow disk | no row is lost
    H5 | clocks that jump | waits are monotonic; a market later than its clock is a hold
    H6 | the loop stands still | told; old data are dropped
    H7 | a long run | memory, files and logs stay flat
    H8 | names that do not resolve, certificates that are wrong, proxies in the environment | refused
    D1 | a pool's price moved by 5 to 90 % for 1 to 5 blocks | no trade
    D2 | an oracle that is old, in the future, zero, negative, clamped, of other decimals | hold
    D3 | two sources differ | hold
    D4 | the quote token off its peg, a price in a wrong unit | nothing over the cap
    D5 | noise at a threshold | at most one change in a dwell time
    D6 | a true crash with outages | protected within three polls, or told what is missing
    D7 | options that expire, vanish, are too dear, too small, paused | refused by name, another one, or hold
    D8 | a quote for another option | refused
    D9 | random walks with gaps | no law of tiers and money is broken
    O1 | a second copy | one leader; a copied key is seen by its nonce
    O2 | the configuration changed to nonsense under a running bot | the last good one stays
    O3 | the kill switch at every point | nothing new is signed after a second; what is under way is followed
    O4 | a dry run turned live by a conflict of settings | the strictest wins
    O5 | a journal of another chain or key | refused by its identity
    O6 | alert targets down, addresses with secrets | tried again, told, hidden
    O7 | a crowd at the web page | no step is delayed by a second
    O8 | a package that phones home or reads keys | blocked, and seen
    O9 | an upgrade and a downgrade while an order is open | the order is ended, or refused
    """
)

CASES: Mapping[str, Case] = {
    **rpc.CASES,
    **chain.CASES,
    **transaction.CASES,
    **kill.CASES,
    **host.CASES,
    **data.CASES,
    **operator.CASES,
    **packages.CASES,
    **changes.CASES,
}
