"""A full disk is outlived: told, nothing decided, and gone on with once there is room (REL-H1, P4)."""

import asyncio
import errno
import os

import pytest

from bot.app import room
from bot.errors import NoSpaceError, TransientError

FULL = NoSpaceError("step 3 could not be written: database or disk is full")


class _Reader:
    """Knows no head, as a node that is gone."""

    async def head(self):
        raise TransientError("the node is gone")


def _no_room(_handle, _start, _bytes):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_room_is_what_can_be_written_and_synced_and_nothing_is_left_of_the_look(tmp_path, monkeypatch):
    assert room.has_room(tmp_path)
    assert not room.has_room(tmp_path / "absent")
    monkeypatch.setattr(os, "posix_fallocate", _no_room)
    assert not room.has_room(tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_it_tells_and_looks_again_until_there_is_room(tmp_path, monkeypatch):
    told, looks = [], iter([False, False, True])
    monkeypatch.setattr(room, "has_room", lambda _: next(looks))
    found = await room.outlive_full_disk(
        FULL, tmp_path, _Reader(), stop=asyncio.Event(), on_trouble=told.append, every_s=0.001
    )
    assert found
    assert list(map(str, told)) == [str(FULL), "the node is gone", "the node is gone"]


async def test_a_start_that_failed_is_not_tried_again_at_once(tmp_path, monkeypatch):
    """What looks like room may not do for it: its journal may be on another disk."""
    looks = []
    monkeypatch.setattr(room, "has_room", lambda _: not looks.append(None))
    found = asyncio.ensure_future(
        room.outlive_full_disk(
            FULL, tmp_path, None, stop=asyncio.Event(), on_trouble=lambda _: None, every_s=0.05
        )
    )
    await asyncio.sleep(0.01)
    assert looks == []
    assert await found


@pytest.mark.parametrize("has_room", [True, False])
async def test_who_was_told_to_stop_stops(tmp_path, monkeypatch, has_room):
    monkeypatch.setattr(room, "has_room", lambda _: has_room)
    stop = asyncio.Event()
    stop.set()
    assert not await room.outlive_full_disk(FULL, tmp_path, _Reader(), stop=stop, on_trouble=lambda _: None)
