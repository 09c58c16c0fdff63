"""The words under a board: what each column is, how it was measured, and what was not."""

from __future__ import annotations

import string
from collections.abc import Sequence

from creditbench.reports.board import BoardRow
from creditbench.reports.figures import prefixed, rounded
from creditbench.suite.scores import ABSENT

LEGEND: tuple[tuple[str, str], ...] = (
    (
        "score",
        "Share of the test set that is classified correctly, in %, after the last epoch: mean ± standard "
        "deviation (with n\N{NO-BREAK SPACE}−\N{NO-BREAK SPACE}1) over the seeds that ended ok. The test "
        "set is scored once per seed, when training is over; nothing is chosen on it.",
    ),
    (
        "tracks",
        "How a rule's settings were chosen. Tuned: on validation data, with the same number of trials for "
        "every rule. Published: by the rule's authors. By hand: given on the command line. Default: nobody "
        "chose them for this task and network. Tracks stand in tables of their own.",
    ),
    (
        "at best epoch",
        "Mean test score of the epoch that was best on validation, for comparison; never the headline.",
    ),
    (
        "validation",
        "Mean score on the validation split after the last epoch. Hyperparameters are chosen on this "
        "split, with the same number of trials for every rule.",
    ),
    (
        "seeds",
        "Seeds behind the score, of those that were run. A seed sets initial weights, order of the data "
        "and noise; weights and data are the same for every rule.",
    ),
    (
        "step",
        "Median wall time of one training step, from a batch on the device to changed weights, "
        "optimizer included, for a single seed: as a multiple of backpropagation (bp) on the same task, "
        "network, batch size and machine, and in ms.",
    ),
    (
        "memory",
        "Most bytes of tensors alive at one time in one training step: weights, optimizer and rule state, "
        "batch, activities, temporaries. In MB of 10⁶ bytes.",
    ),
    (
        "MACs",
        "Multiply-accumulates per sample of one training step and of inference, counted at operator "
        "dispatch, so that every rule is counted alike. A count marked > is a lower bound: the step "
        "used operators that have no formula.",
    ),
    (
        "energy",
        "Modelled, never measured: counted operations of one training sample, and of one inference, times "
        "the prices of the energy table cmos45-fp32, arithmetic alone. `creditbench show --costs` has it "
        "with memory traffic, by phase, and to a target score.",
    ),
    (
        "parameters",
        "Of the network, + those that the rule learns besides: feedback weights, generators, local heads.",
    ),
    (
        "status",
        "ok, skipped (the rule does not apply), diverged, failed, timeout or out-of-memory. Seeds that "
        "did not end ok are named and left out of the mean.",
    ),
)

FEW_MARK = "*"


def not_measured(rows: Sequence[BoardRow]) -> str:
    """What a reader might look for in vain."""
    told = all(row.tuning_seconds is not None for row in rows if (row.track or "").startswith("tuned"))
    always = "memory inside kernels and allocators, data loading and scoring (outside the clock)"
    return always if told else f"{always}, the cost of tuning"


def tuning_cost(rows: Sequence[BoardRow]) -> list[str]:
    """What choosing the settings of a table's rows cost, in a sentence; none where records do not say."""
    told = [row for row in rows if row.tuning_seconds is not None]
    if not told:
        return []
    trials = {row.tuning_trials for row in told}
    parts = [f"{row.rule} {tuning_words(row, trials=len(trials) > 1)}" for row in told]
    each = f", {told[0].tuning_trials} trials each" if len(trials) == 1 and None not in trials else ""
    return [f"Tuning on validation{each}: {'; '.join(parts)}."]


def tuning_words(row: BoardRow, trials: bool = True) -> str:
    """ "12 trials, 63.0 s, 1.52 TMAC"; empty where the records do not say."""
    if row.tuning_seconds is None:
        return ""
    count = f"{row.tuning_trials} trials, " if trials and row.tuning_trials else ""
    macs = "" if row.tuning_macs is None else f", {prefixed(row.tuning_macs)}MAC"
    return f"{count}{rounded(row.tuning_seconds)} s{macs}"


def footnotes(rows: Sequence[BoardRow]) -> list[tuple[str, str]]:
    """The marks that a board uses, with their meaning."""
    notes = [(ABSENT, "not measured, or not available; never zero")]
    if any(row.few for row in rows):
        notes.append((FEW_MARK, "fewer than 3 seeds: the spread cannot be trusted"))
    if not all(row.macs_complete for row in rows):
        notes.append((">", "lower bound: some operators of the step are not counted"))
    return notes + [(mark, f"timed on {words}") for mark, words in machines(rows).values() if mark]


def machines(rows: Sequence[BoardRow]) -> dict[str, tuple[str, str]]:
    """Machines that steps were timed on: identity -> (mark, description). One alone needs no mark."""
    found = {
        row.cost_machine: row.cost_device or "a machine without a description"
        for row in rows
        if row.cost_machine is not None
    }
    if len(found) == 1:
        return {machine: ("", words) for machine, words in found.items()}
    letters = string.ascii_lowercase
    return {
        machine: (letters[place % 26] * (1 + place // 26), f"{found[machine]} ({machine})")
        for place, machine in enumerate(sorted(found))
    }


def origins(rows: Sequence[BoardRow]) -> list[str]:
    """Where the numbers come from, a sentence each: seeds, machines, versions."""
    trained = sum(len(row.scores) for row in rows)
    asked = sum(len(row.seeds) for row in rows)
    sentences = [f"{len(rows)} cells, {asked} seeds, {trained} of them trained and scored."]
    devices = sorted({device for row in rows for device in row.devices})
    if devices:
        sentences.append(f"Trained on {'; '.join(devices)}.")
    timed = [words for mark, words in machines(rows).values() if not mark]  # else in a footnote
    if timed:
        sentences.append(f"Steps timed on {timed[0]}.")
    versions = sorted({version for row in rows for version in row.versions})
    if versions:
        sentences.append(f"creditbench {', '.join(versions)}.")
    return sentences
