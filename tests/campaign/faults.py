"""The part of the 85 faults: every case under so many seeds, and the table of what came of it."""

import math
from collections import defaultdict
from collections.abc import Sequence

from campaign.catalogue import CASES, FAULTS
from campaign.parts import Figures, Options
from campaign.runner import Line, run_cases


def run(options: Options, *, ids: Sequence[str] = ()) -> Figures:
    """Run them and return the figures; ``ids`` for some of them."""
    chosen = ids or [fault.id for fault in FAULTS if fault.id in CASES]
    seeds = range(1, (options.repeats or 1) + 1)
    lines = run_cases(chosen, seeds, jobs=options.jobs, fresh=options.fresh)
    covered = {line.id for line in lines} - {line.id for line in lines if line.problems}
    print(
        f"{len(lines)} cases of {len(set(chosen))} faults, "
        f"{sum(bool(line.problems) for line in lines)} not as stated"
    )
    return {
        "faults_covered": len(covered),
        "faults_missing": [fault.id for fault in FAULTS if fault.id not in covered],
        "cases": len(lines),
        "violations": sum(len(line.problems) for line in lines),
        "violated": sorted({f"{line.id} seed {line.seed}" for line in lines if line.problems}),
        "cap_violations": sum(item.startswith("I3: OVER CAP") for line in lines for item in line.problems),
        "alarm_s_worst": max(
            (line.to_alarm_s for line in lines if line.to_alarm_s is not None), default=None
        ),
        "rows": _rows(lines),
    }


def _rows(lines: Sequence[Line]) -> list[dict[str, object]]:
    """Return what a page shows of each fault, the worst of its cases."""
    found: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        found[line.id].append(line)
    return [
        {
            "id": fault.id,
            "inject": fault.inject,
            "expected": fault.expected,
            "cases": len(own),
            "broken": sorted({name for line in own for name in line.broken}),
            "to_alarm_s": _most([line.to_alarm_s for line in own]),
            "to_recover_polls": _most([line.to_recover_polls for line in own]),
            "gas_lost_wei": max(line.gas_lost_wei for line in own),
        }
        for fault in FAULTS
        if (own := found.get(fault.id))
    ]


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None and math.isfinite(value)), default=None)
