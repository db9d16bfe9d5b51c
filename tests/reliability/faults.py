"""`python -m reliability.faults`: disturb a small graph at random moments -> a table of what survived, and faults.json.

Each disturbed command is repeated as it was. It must end in the bytes of the undisturbed run, with nothing left behind; or the disturbed
one must end in one clear error without a traceback, after whose cause is removed (disk space, permission, the damaged file) the same holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from reliability import damage
from reliability.damage import Fault
from reliability.graph import LOOP, STAGES, Graph

OTHERS = [stage for stage in STAGES if stage != LOOP]
# the share of `--moments` that each kind of fault gets
KINDS: dict[str, tuple[float, Callable[[Graph, str, random.Random], Fault]]] = {
    "kill": (1.0, damage.kill),
    "term": (0.25, damage.terminate),
    "int": (0.25, damage.interrupt),
    "kill-dvc": (0.1, damage.kill_dvc),
    "term-dvc": (0.1, damage.terminate_dvc),
    "worker": (0.1, damage.kill_worker),
    "disk": (0.25, damage.fill_disk),
    "folder": (0.15, damage.lock_folder),
    "bytes": (0.25, damage.flip_byte),
    "two": (0.1, damage.run_two),
}


@dataclass(frozen=True)
class Record:
    """One injected fault: its kind, stage and moment, the files that differ at the end, and everything else that is wrong."""

    kind: str
    stage: str
    moment: str
    hit: bool
    in_loop: bool
    faults: list[str]


def stages_of(kind: str) -> list[str]:
    """The stages that a kind of fault visits in turn; the training's loop is visited most often."""
    if kind == "worker":
        return ["preprocess", LOOP]
    if kind in ("kill-dvc", "term-dvc"):
        return [LOOP, "infer@oof", LOOP, "preprocess"]
    if kind == "bytes":
        return ["train@1", "infer@oof", "infer@test", "validate", "submit", "report", "split", LOOP]
    return [stage for other in OTHERS for stage in (other, LOOP)]


def plan(moments: int, only: list[str], seed: int) -> Iterator[tuple[str, str, random.Random]]:
    """Kind, stage and random generator of each fault, the kinds mixed, so that a run that stops early has seen all of them."""
    counts = {kind: max(1, round(moments * share)) for kind, (share, _) in KINDS.items() if kind in only}
    queue = sorted((place / count, kind, place) for kind, count in counts.items() for place in range(count))
    visits = {kind: itertools.cycle(stages_of(kind)) for kind in counts}
    for _, kind, place in queue:
        yield kind, next(visits[kind]), random.Random(f"{seed}/{kind}/{place}")


def inject(graph: Graph, kind: str, stage: str, rng: random.Random) -> Record:
    """Inject one fault and judge its end."""
    fault = KINDS[kind][1](graph, stage, rng)
    return Record(kind, stage, fault.moment, fault.hit, fault.in_loop, fault.faults)


def table(records: list[Record]) -> str:
    """Markdown: one row per kind of fault."""
    lines = ["| fault | moments | in the training's loop | stages | survived |", "|---|---|---|---|---|"]
    for kind in KINDS:
        rows = [record for record in records if record.kind == kind and record.hit]
        if rows:
            stages = len({record.stage for record in rows})
            loop, survived = sum(record.in_loop for record in rows), sum(not record.faults for record in rows)
            lines.append(f"| {kind} | {len(rows)} | {loop} | {stages} | {survived} |")
    return "\n".join(lines)


def main() -> None:
    """Run the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--moments", type=int, default=200, help="kill -9 at so many moments; the other kinds in proportion")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds of faults")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many minutes; 0: never")
    parser.add_argument("--out", type=Path, help="write the records as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        graph = Graph.run(Path(folder).resolve())
        print(f"undisturbed: {sum(graph.seconds.values()):.0f} s", flush=True)
        start, records = time.monotonic(), []
        for kind, stage, rng in plan(given.moments, given.only.split(","), given.seed):
            if given.minutes and time.monotonic() - start > 60 * given.minutes:
                break
            record = inject(graph, kind, stage, rng)
            records.append(record)
            print(f"{record.kind:9} {record.stage:10} {record.moment:40} {'; '.join(record.faults) or 'survived'}", flush=True)
    minutes = (time.monotonic() - start) / 60
    print(f"\n{table(records)}\n\n{minutes:.1f} minutes; missed (the stage had ended): {Counter(r.kind for r in records if not r.hit)}")
    if given.out:
        given.out.write_text(json.dumps({"minutes": round(minutes, 1), "records": [asdict(record) for record in records]}, indent=1) + "\n")
    sys.exit(any(record.faults for record in records))


if __name__ == "__main__":
    main()
