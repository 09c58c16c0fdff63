"""What a site must cope with: hostile names, what diverged, was skipped, is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from records import OTHER_MACHINE, cost, run

from creditbench.reports.site.build import Content, write_site
from creditbench.reports.site.evidence import Evidence, Expected
from creditbench.suite.frame import read_results
from creditbench.suite.record import Audit, Audited, Cost, Finding, Point, Run
from creditbench.suite.specification import Spec
from creditbench.suite.store import Store

EVIL = "<script>alert('x')</script>\"'&<img src=x onerror=alert(1)>"
REASON = "weights stopped being finite </script><script>alert(2)</script>"
SCORES = {"bp": 0.98, "fa": 0.96, "dfa": 0.97, "last-layer": 0.9}
RATIO = {"bp": 1.0, "fa": 0.8, "dfa": 0.7, "last-layer": 0.3}


def trained(score: float | None, slope: float = 0.01, **changes: object) -> Run:
    """A run with a curve of five epochs that ends at its score."""
    own = run(score, **changes)  # type: ignore[arg-type]
    end = 0.5 if score is None else score
    points = [Point(epoch, end - slope * (5 - epoch), 1.0 / epoch, 0.5 * epoch) for epoch in range(1, 6)]
    return replace(own, curve=tuple(points), steps=400, train_seconds=2.5, validation_score=end)


def counted(own: Cost, macs: float) -> Cost:
    """A cost with operations by phase, so that energy can be modelled."""
    counts = {"macs": macs / 2, "adds": 10.0, "bytes_read": 100.0, "bytes_written": 100.0}
    return replace(
        own,
        operations={"forward": counts, "credit": counts, "update": {"adds": 5.0}, "inference": counts},
        train_macs_per_sample=macs,
        peak_bytes_by_kind={"parameters": 1000, "activations": 500},
    )


def folder(place: Path) -> Path:
    store = Store(place)
    for task, network in (("digits", "mlp"), ("digits", "conv"), ("mnist", "mlp")):
        for number, (rule, score) in enumerate(SCORES.items()):
            for seed in range(3):
                store.put(
                    trained(score + seed / 1000, rule=rule, seed=seed, task=task, network=network, epochs=5)
                )
            own = cost(RATIO[rule] / 1000, rule=rule, task=task, network=network, epochs=5)
            store.put(counted(own, 1e5 * (4 - number) + 1e5))
    # On digits and mlp: one that costs nothing known, one of whose seeds one diverged, one that was refused.
    for seed in range(3):
        store.put(trained(0.95 + seed / 1000, rule="uncosted", seed=seed, epochs=5))
        status = "diverged" if seed == 2 else "ok"
        store.put(trained(None if seed == 2 else 0.9, rule="shaky", seed=seed, status=status, epochs=5,
                          reason=REASON if seed == 2 else None))  # fmt: skip
    store.put(run(None, "skipped", rule="picky", reason="no convolutions", epochs=5))
    store.put(trained(0.94, rule="elsewhere", epochs=5, machine=OTHER_MACHINE))
    store.put(trained(0.93, rule="fa", epochs=5, recipe="default", learning_rate=0.1))
    store.put(trained(0.92, rule="FA", epochs=5))
    # A hostile name, and a task of one.
    store.put(trained(0.91, rule=EVIL, epochs=5))
    store.put(counted(cost(2e-3, rule=EVIL, epochs=5), 3e5))
    store.put(trained(0.5, rule="bp", task=EVIL, network=f"mlp:{EVIL}", epochs=5))
    findings = {
        "weight_transport": Finding("yes", "weights above are changed", 1.1, curve={"0.1": 0.5, "1": 1.1}),
        "update_locking": Finding("undetermined", "parameters above are changed", None, f"because {EVIL}"),
        "black_box_layer": Finding("not applicable", "a box", None, "no hidden block learns"),
        "device_noise": Finding("no", "every write is off", 0.05),
    }
    for rule in ("bp", EVIL):
        store.put(Audit(Audited("digits", 1, "mlp", rule), "3 blocks", findings, 2.0, "other-blocks"))
    return place


def site(place: Path, out: Path) -> int:
    """The folder's site, with a suite that asks for a rule that nobody has run."""
    evidence = Evidence()
    frame, problems = read_results(place, seen=evidence.saw)

    def specs(rule: str, seeds: int) -> list[Spec]:
        return [Spec("digits", 1, "mlp", rule, seed, 0.003, 5) for seed in range(seeds)]

    suite = Expected(
        "small",
        "a suite",
        [(specs("bp", 3), "tuned"), (specs("fa", 5), "tuned"), (specs("absent", 3), "tuned")],
    )
    return write_site(
        Content(
            frame, evidence, [suite], lambda specs: f"creditbench run --rule {specs[0].rule}",
            lambda rule: (f"What {rule} does.", "somebody (2020)"), problems, (place,),
        ),
        out,
    )  # fmt: skip
