"""What a decision reports of a group's layers: a row for each slot, and the wings that protect it."""

from bot.engine.choose import Slot
from bot.engine.layers import LayerPlan
from bot.engine.perpetual_orders import PerpetualPlan, perpetual_row
from bot.engine.plan import GroupPlan
from bot.engine.wings import Wing
from bot.model.hedge import LayerTarget


def planned_wings(plan: GroupPlan) -> tuple[Wing, ...]:
    """Return what is held and alive, and what is about to be bought."""
    held = [
        Wing(layer=item.layer, instrument=item.instrument, contracts=item.size, cost_usd=item.cost_usd)
        for item in plan.review.kept
    ]
    new = [
        Wing(
            layer=item.layer,
            instrument=item.quote.instrument,
            contracts=item.contracts,
            cost_usd=item.expected_usd,
        )
        for item in plan.purchases
    ]
    return (*held, *new)


def layer_rows(plan: GroupPlan, perpetual: PerpetualPlan) -> list[LayerTarget]:
    """Return NEAR, MID and TAIL as they should be and are; NEAR's is the perpetual's where that serves."""
    rows = []
    for layer_plan in plan.layers:
        slots = [slot for slot in plan.sizing.targets if slot.layer is layer_plan.layer]
        held = {slot: units for slot, units in plan.review.counted.items() if slot.layer is layer_plan.layer}
        if not slots:
            row = _closed_row(layer_plan, sum(held.values()))
            serves = plan.near.serves_layer(layer_plan.layer)
            rows.append(perpetual_row(perpetual, row) if serves else row)
        rows.extend(_open_row(plan, layer_plan, slot, held.get(slot, 0.0)) for slot in slots)
    return rows


def _closed_row(layer_plan: LayerPlan, held_units: float) -> LayerTarget:
    return LayerTarget(
        layer=layer_plan.layer,
        open=False,
        weight=0.0,
        instrument=None,
        wanted_contracts=0.0,
        held_contracts=held_units,
        because=layer_plan.because,
    )


def _open_row(plan: GroupPlan, layer_plan: LayerPlan, slot: Slot, held_units: float) -> LayerTarget:
    target = plan.sizing.targets[slot]
    quote = target.choice.quote
    multiplier = quote.instrument.multiplier if quote else 1.0
    return LayerTarget(
        layer=layer_plan.layer,
        open=True,
        weight=target.weight,
        instrument=quote.instrument if quote else None,
        wanted_contracts=target.units / multiplier,
        held_contracts=held_units / multiplier,
        because=f"{layer_plan.because}; {target.choice.because}",
    )
