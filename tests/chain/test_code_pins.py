"""Code that changed since a person looked is refused before anything is signed (REL-T12, REL-I10)."""

import json

import pytest
from send_builders import ADDRESS, COUNTER, COUNTER_CODE, Proxy, count, error, leg, manager, nonce, request

from bot.chain.code_pins import SLOTS, CodePins, kept_pins
from bot.chain.rpc import Rpc
from bot.errors import ConfigError, TransientError, VenueRejected

pytestmark = pytest.mark.devnet

BEHIND, OTHER, BEACON = "0x" + "b1" * 20, "0x" + "b2" * 20, "0x" + "be" * 20
# PUSH20 address PUSH0 MSTORE PUSH1 32 PUSH0 RETURN: every call gets an address, as implementation() does
ANSWERS = "0x73{}5f5260205ff3"


@pytest.fixture(autouse=True)
def open_leg(journal):
    journal.open_leg(leg(), at_s=1.0)


async def _point(node, slot: str, address: str, *, of: str = COUNTER) -> None:
    await node.request("anvil_setStorageAt", [of, slot, "0x" + address[2:].rjust(64, "0")])


@pytest.fixture
async def proxied(node):
    """The counter as a proxy would look: its slot points to other code."""
    await node.request("anvil_setCode", [BEHIND, "0x6001"])
    await node.request("anvil_setCode", [OTHER, "0x6002"])
    await _point(node, SLOTS["implementation"], BEHIND)
    return node


async def test_unchanged_code_is_signed_for(node, journal):
    pins = await CodePins.read(node, [COUNTER, COUNTER.upper().replace("X", "x")])
    assert list(pins.rows) == [COUNTER]
    assert (await manager(node, journal, pins=pins).send(request())).succeeded
    assert await count(node, 1) == 1


async def test_another_code_is_refused(node, journal):
    pins = await CodePins.read(node, [COUNTER])
    await node.request("anvil_setCode", [COUNTER, COUNTER_CODE + "00"])
    with pytest.raises(VenueRejected, match=f"{COUNTER} was changed since it was checked: its code has hash"):
        await manager(node, journal, pins=pins).send(request())
    assert journal.intents() == ()
    assert await nonce(node, "pending") == 0


@pytest.mark.parametrize("slot", SLOTS)
async def test_a_proxy_that_points_elsewhere_is_refused(node, journal, slot):
    await node.request("anvil_setCode", [BEHIND, "0x6001"])
    await _point(node, SLOTS[slot], BEHIND)
    pins = await CodePins.read(node, [COUNTER])
    assert (await manager(node, journal, pins=pins).send(request())).succeeded
    await _point(node, SLOTS[slot], OTHER)
    with pytest.raises(VenueRejected, match=f"it points to {OTHER}, pinned is {BEHIND}"):
        await manager(node, journal, pins=pins).send(request(2))


async def test_a_contract_that_becomes_a_proxy_is_refused(node, journal):
    pins = await CodePins.read(node, [COUNTER])
    await _point(node, SLOTS["beacon"], BEACON)
    with pytest.raises(VenueRejected, match=f"it points to {BEACON}, pinned is nothing"):
        await manager(node, journal, pins=pins).send(request())


async def test_other_code_behind_the_same_pointer_is_refused(proxied, journal):
    pins = await CodePins.read(proxied, [COUNTER])
    await proxied.request("anvil_setCode", [BEHIND, "0x6003"])
    with pytest.raises(VenueRejected, match="the code behind it has hash"):
        await manager(proxied, journal, pins=pins).send(request())


async def test_a_beacon_that_points_elsewhere_is_refused(proxied, journal):
    await _point(proxied, SLOTS["implementation"], "0x" + "00" * 20)
    await proxied.request("anvil_setCode", [BEACON, ANSWERS.format(BEHIND[2:])])
    await _point(proxied, SLOTS["beacon"], BEACON)
    pins = await CodePins.read(proxied, [COUNTER])
    assert pins.rows[COUNTER]["behind"] == BEHIND
    assert (await manager(proxied, journal, pins=pins).send(request())).succeeded
    # The beacon of the standard keeps its pointer in storage; here its answer is its code, so both change.
    await proxied.request("anvil_setCode", [BEACON, ANSWERS.format(OTHER[2:])])
    with pytest.raises(VenueRejected, match=f"its beacon points to {OTHER}, pinned is {BEHIND}"):
        await manager(proxied, journal, pins=pins).send(request(2))


async def test_pins_outlive_the_process_and_say_what_changed(proxied, journal):
    pins = CodePins.of_rows(json.loads(json.dumps((await CodePins.read(proxied, [COUNTER])).rows)))
    assert pins.changes(await CodePins.read(proxied, [COUNTER])) == {}
    await _point(proxied, SLOTS["implementation"], OTHER)
    changes = pins.changes(await CodePins.read(proxied, [COUNTER, BEHIND]))
    assert changes == {COUNTER: f"it points to {OTHER}, pinned is {BEHIND}"}
    with pytest.raises(VenueRejected, match="was changed"):
        await manager(proxied, journal, pins=pins).send(request())


async def test_pins_are_kept_until_a_person_removes_them(proxied, journal, tmp_path):
    path = tmp_path / "pins.json"
    first = await kept_pins(proxied, [COUNTER], path)
    await _point(proxied, SLOTS["implementation"], OTHER)
    again = await kept_pins(proxied, [COUNTER, BEHIND], path)
    assert again.rows[COUNTER] == first.rows[COUNTER]
    assert set(json.loads(path.read_text())) == {COUNTER, BEHIND}
    with pytest.raises(VenueRejected, match="remove its entry from the file of pins"):
        await manager(proxied, journal, pins=again).send(request())
    path.write_text(json.dumps({key: row for key, row in again.rows.items() if key != COUNTER}))
    accepted = await kept_pins(proxied, [COUNTER], path)
    assert (await manager(proxied, journal, pins=accepted).send(request())).succeeded


@pytest.mark.parametrize("text", ["", "[]", "[1]", '{"0x00": 1}', "{"])
async def test_a_damaged_file_of_pins_is_never_taken_for_an_empty_one(node, tmp_path, text):
    (path := tmp_path / "pins.json").write_text(text)
    with pytest.raises(ConfigError, match="cannot be read"):
        await kept_pins(node, [COUNTER], path)
    assert path.read_text() == text


async def test_pins_that_cannot_be_kept_are_none(node, tmp_path):
    with pytest.raises(ConfigError, match="cannot be written"):
        await kept_pins(node, [COUNTER], tmp_path / "nowhere" / "pins.json")


async def test_a_target_without_code_cannot_be_pinned(node):
    with pytest.raises(ConfigError, match=f"there is no contract at {ADDRESS.lower()}"):
        await CodePins.read(node, [ADDRESS])


async def test_damaged_rows_are_refused():
    with pytest.raises(ConfigError, match="pinned code"):
        CodePins.of_rows({COUNTER: {"hash": "0x"}})


async def test_code_that_cannot_be_read_is_not_taken_for_unchanged(node, node_url, journal):
    pins = await CodePins.read(node, [COUNTER])

    def before(call):
        return error(call, "pruned") if call["method"] == "eth_getStorageAt" else None

    async with Proxy(node_url, before=before) as proxy, Rpc(proxy.url) as rpc:
        with pytest.raises(TransientError, match="code of a contract cannot be checked"):
            await manager(rpc, journal, pins=pins).send(request())
    assert journal.intents() == ()


async def test_what_is_not_pinned_is_not_checked(node, journal):
    assert (await manager(node, journal, pins=CodePins({})).send(request())).succeeded
