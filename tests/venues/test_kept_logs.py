"""Events of a contract since its deployment: asked for once, but for the newest, which may still change."""

from dataclasses import dataclass, field

from bot.model.intent import Log
from bot.model.market import Block
from bot.ports import BlockLog
from bot.venues.kept_logs import KeptLogs


def at(number: int) -> Block:
    return Block(chain_id=1, number=number, hash=f"0x{number:064x}", parent_hash="0x", timestamp_s=number)


@dataclass
class Chain:
    """ports.ChainReader of a chain that has one log in each block, named by its fork."""

    fork: str = ""
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def logs(self, *, addresses, topics, from_block: int, to: Block) -> list[BlockLog]:
        assert (addresses, topics) == (["0xpool"], [["0xminted"]])
        self.asked.append((from_block, to.number))
        log = Log(address="0xpool", topics=("0xminted",), data=b"")
        return [
            BlockLog(log, number, f"{self.fork}{number}", f"0x{number}", 0, 0)
            for number in range(from_block, to.number + 1)
        ]


def kept(chain: Chain) -> KeptLogs:
    return KeptLogs(
        chain,  # type: ignore[arg-type] - of it only logs are read
        addresses=["0xpool"],
        topics=[["0xminted"]],
        from_block=10,
        rescan_blocks=5,
    )


def numbers(logs: list[BlockLog]) -> list[int]:
    return [item.block_number for item in logs]


async def test_only_what_is_new_or_may_still_change_is_asked_again():
    chain = Chain()
    logs = kept(chain)
    assert numbers(await logs.until(at(30))) == list(range(10, 31))
    assert numbers(await logs.until(at(31))) == list(range(10, 32))
    assert numbers(await logs.until(at(60))) == list(range(10, 61))
    assert chain.asked == [(10, 30), (26, 31), (27, 60)]


async def test_a_reorganisation_of_the_newest_blocks_is_seen():
    chain = Chain()
    logs = kept(chain)
    await logs.until(at(30))
    chain.fork = "other"
    after = await logs.until(at(31))
    assert [item.block_hash for item in after[-6:]] == [f"other{number}" for number in range(26, 32)]
    assert numbers(after) == list(range(10, 32))  # none twice, none missing


async def test_an_earlier_block_has_only_what_stood_before_it():
    logs = kept(Chain())
    await logs.until(at(60))
    assert numbers(await logs.until(at(20))) == list(range(10, 21))
    assert numbers(await logs.until(at(9))) == []
