"""What a person sees while a suite runs: a progress display, quiet where there is no terminal."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from creditbench.suite.plan import load_task
from creditbench.suite.record import Run
from creditbench.suite.scores import told, unit
from creditbench.suite.work import Group


class Display:
    """An observer (see suite.driver) on stderr, so that stdout holds results alone.

    On a terminal: one bar over all runs with the time left, one over each group at work with its current
    score. Elsewhere: a line per finished run."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.all: TaskID | None = None
        self.working: dict[int, tuple[TaskID, float]] = {}  # by a group's id: its bar, and runs' worth of it
        self.runs = self.done = 0

    def __enter__(self) -> Display:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def planned(self, runs: int, stored: int) -> None:
        self.runs, self.done = runs, stored
        if stored:
            self.console.print(f"{stored} of {runs} runs are stored and valid.", highlight=False)
        self.all = self.bars.add_task("all runs", total=runs, completed=stored, shown=f"{stored}/{runs}")

    def started(self, group: Group) -> None:
        spec = group.specs[0]
        what = f"{spec.task} {spec.network} {spec.rule}"
        if group.work == "cost":
            what, shown = f"{what}: cost", "measuring"
        elif group.work == "trial":
            settings = f"{len(group.specs)} settings" if len(group.specs) > 1 else "1 setting"
            what, shown = f"{what} ({settings} tried)", f"epoch 0/{spec.epochs}"
        else:
            seeds = ", ".join(str(one.seed) for one in group.specs)
            what, shown = f"{what} (seed {seeds})", f"epoch 0/{spec.epochs}"
        bar = self.bars.add_task(Text(what).markup, total=1, shown=shown)
        self.working[id(group)] = (bar, 0.0)

    def progress(self, group: Group, steps: int, of: int, validation_score: float | None) -> None:
        if id(group) not in self.working:
            return
        bar, _ = self.working[id(group)]
        share, epochs = steps / of, group.specs[0].epochs
        shown = f"epoch {int(share * epochs)}/{epochs}"
        if validation_score is not None:
            shown += f", validation {_told(validation_score, load_task(group.origin.task).metric, 1)}"
            self.bars.update(bar, shown=shown)
        self.bars.update(bar, completed=share)
        self.working[id(group)] = (bar, share * len(group.specs))
        under_way = sum(worth for _, worth in self.working.values())
        if self.all is not None:
            self.bars.update(self.all, completed=self.done + under_way)

    def ended(self, group: Group) -> None:
        if id(group) in self.working:
            self.bars.remove_task(self.working.pop(id(group))[0])

    def finished(self, run: Run, kept: bool) -> None:
        self.done += 1
        if self.all is not None:
            self.bars.update(self.all, completed=self.done, shown=f"{self.done}/{self.runs}")
        if not self.console.is_terminal or run.status != "ok":
            spec = run.spec
            what = f"{spec.task} {spec.network} {spec.rule} seed {spec.seed}"
            score = "" if run.score is None else f" {_told(run.score, run.metric)}"
            reason = f": {run.reason}" if run.reason else ""
            again = " (first steps replayed: still valid)" if kept else ""
            line = f"[{self.done}/{self.runs}] {what}: {run.status}{score}{reason}{again}"
            self.console.print(Text(line), soft_wrap=True)

    def complained(self, sentence: str) -> None:
        self.console.print(Text(sentence), soft_wrap=True)


def _told(score: float, metric: str, decimals: int = 2) -> str:
    return f"{told(score, metric, decimals)} {unit(metric)}"
