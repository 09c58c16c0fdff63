"""What learning costs, as text: counted operations, modelled energy, memory by kind, effort to a target."""

from __future__ import annotations

from collections.abc import Sequence

from creditbench.reports.board import BoardRow, tables
from creditbench.reports.figures import rounded
from creditbench.reports.terminal import WIDTH, grid, row_name, short, table_title, wrapped
from creditbench.suite.scores import ABSENT, told

LEGEND = (
    "Counted per sample at operator dispatch: MACs by phase (forward, credit, update); other: additions, "
    "multiplications, divisions, comparisons and transcendental functions outside MACs; moved: bytes read "
    "and written by every operator; writes: parameters changed.",
    "Modelled, never measured: counts times the energy table {table}. arith: arithmetic alone; with memory: "
    "from memory moved once at its lowest price to every operator's traffic at its highest; fwd, cred, upd: "
    "the phases' shares of arith. –: an operation has no price.",
    "Measured: J is a step's energy by the machine's own counters, whole devices, per sample; latency is "
    "inference at batch 1; RSS the peak of the whole process.",
    "path: the longest chain of dependent MACs in a step, per sample; work/path: what layers and streams at "
    "work side by side could gain; interval: MACs per sample between batches that overlap.",
    "Peak of live tensors in a step by kind: parameters, optimizer, rule state, activations, temporaries.",
    "To target: mean epochs, seconds and modelled arithmetic energy until the validation score first reached "
    "the task's target, where every seed did; an epoch is the finest that is known.",
)


def costs(rows: Sequence[BoardRow], width: int = WIDTH) -> str:
    """Three tables per task and network. Every line fits `width` characters."""
    rows = [row for row in rows if row.costs["energy_table"] is not None]
    if not rows:
        return "No costs in these records beyond those on the board; `creditbench run` measures them."
    parts = []
    for part in tables(rows):
        parts.append(table_title(part, width))
        parts += [_work(part, width), _memory(part, width), _target(part, width)]
    table = ", ".join(sorted({row.costs["energy_table"] for row in rows}))
    parts.append("\n".join(wrapped(line.format(table=table), width) for line in LEGEND))
    return "\n\n".join(parts)


def _work(rows: Sequence[BoardRow], width: int) -> str:
    heads = ["rule", "MACs\nfwd", "MACs\ncredit", "MACs\nupd", "other\ntrain", "moved\nB", "writes",
             "nJ train\narith", "nJ train\nwith memory", "fwd, cred,\nupd %", "nJ infer\narith"]  # fmt: skip
    lines = []
    for row in rows:
        cost = row.costs
        others = ("adds", "multiplies", "divisions", "comparisons", "transcendentals")
        phases = [cost[f"{name}_energy_pj"] for name in ("forward", "credit", "update")]
        total = cost["train_energy_pj"]
        shares = ABSENT if not total else ", ".join(f"{100 * own / total:.0f}" for own in phases)
        bounds = [rounded(cost[f"train_energy_{end}_pj"], 1e-3) for end in ("lower", "upper")]
        lines.append((
            row_name(row),
            *(short(cost[f"{name}_macs_per_sample"]) for name in ("forward", "credit", "update")),
            short(sum(cost[f"train_{name}_per_sample"] for name in others)),
            short(cost["train_bytes_read_per_sample"] + cost["train_bytes_written_per_sample"]),
            short(cost["train_parameter_writes_per_sample"]),
            rounded(total, 1e-3), "–".join(bounds), shares, rounded(cost["inference_energy_pj"], 1e-3),
        ))  # fmt: skip
    return grid(heads, lines, width)


def _memory(rows: Sequence[BoardRow], width: int) -> str:
    heads = ["rule", "peak\nkB", "params\nkB", "optim.\nkB", "rule\nkB", "activ.\nkB", "temp.\nkB",
             "RSS\nMB", "latency\nms", "samples\n/s", "J\nmeasured"]  # fmt: skip
    kinds = ("parameters", "optimizer_state", "rule_state", "activations", "temporaries")
    lines = []
    for row in rows:
        cost, batch = row.costs, row.batch_size
        joules = cost["step_joules"]
        lines.append((
            row_name(row),
            rounded(row.peak_bytes, 1e-3),
            *(short(cost[f"peak_{kind}_bytes"] / 1e3) for kind in kinds),
            rounded(cost["peak_process_bytes"], 1e-6),
            rounded(cost["latency_seconds"], 1e3),
            short(None if row.step_seconds is None else batch / row.step_seconds),
            rounded(None if joules is None else joules / batch),
        ))  # fmt: skip
    return grid(heads, lines, width)


def _target(rows: Sequence[BoardRow], width: int) -> str:
    heads = ["rule", "MACs\npath", "work\n/path", "MACs\ninterval", "target", "epochs", "steps", "seconds",
             "mJ\narith"]  # fmt: skip
    lines = []
    for row in rows:
        cost, path = row.costs, row.costs["critical_path_macs"]
        work = (row.train_macs or 0.0) + cost["train_dense_acs_per_sample"]
        lines.append((
            row_name(row),
            short(path),
            rounded(None if not path else work / path),
            short(cost["pipeline_interval_macs"]),
            told(cost["target_score"], row.metric),
            rounded(cost["epochs_to_target"]),
            short(cost["steps_to_target"]),
            rounded(cost["seconds_to_target"]),
            rounded(cost["energy_to_target_pj"], 1e-9),
        ))  # fmt: skip
    return grid(heads, lines, width)
