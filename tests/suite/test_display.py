"""What a person sees while a suite runs."""

import io

from rich.console import Console

from creditbench.suite.display import Display
from creditbench.suite.plan import Origin
from creditbench.suite.record import Run
from creditbench.suite.specification import Spec
from creditbench.suite.work import Group

SPEC = Spec("digits", 1, "mlp", "fa", 0, 1e-3, epochs=10)
GROUP = Group("train", (SPEC, SPEC.with_seed(1)), Origin("digits", "mlp", "fa"), "cpu", "")


def shown(terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    with Display(console) as display:
        display.planned(4, 1)
        display.started(GROUP)
        display.progress(GROUP, 50, 100, 0.875)
        display.bars.refresh()
        display.finished(Run(SPEC, "ok", score=0.9), kept=False)
        display.finished(Run(SPEC.with_seed(1), "failed", "[bold]no[/bold] luck"), kept=False)
    return out.getvalue()


def test_a_terminal_sees_runs_epochs_and_the_current_score() -> None:
    text = shown(terminal=True)
    assert "all runs" in text
    assert "digits mlp fa (seed 0, 1)" in text
    assert "epoch 5/10, validation 87.5 %" in text


def test_a_file_gets_one_line_per_run_and_no_bars() -> None:
    lines = shown(terminal=False).splitlines()
    assert lines == [
        "1 of 4 runs are stored and valid.",
        "[2/4] digits mlp fa seed 0: ok 90.00 %",
        "[3/4] digits mlp fa seed 1: failed: [bold]no[/bold] luck",
    ]
