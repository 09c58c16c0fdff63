"""What holds for every built-in task."""

import ast
import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from creditbench.suite.registry import load
from creditbench.suite.spikes import are_spikes
from creditbench.suite.types import EventTask, Splits, Task
from creditbench.tasks import TASKS

SIZES = {
    "digits": (1197, 300, 300),
    "digit-sums": (20_000, 2_000, 5_000),
    "mnist": (55_000, 5_000, 10_000),
    "fashion-mnist": (55_000, 5_000, 10_000),
    "kmnist": (55_000, 5_000, 10_000),
    "cifar10": (45_000, 5_000, 10_000),
    "digits-dvs": (1197, 300, 300),
    "nmnist-1k": (900, 100, 100),
    "nmnist": (55_000, 5_000, 10_000),
    "poker-dvs": (36, 12, 20),
}
WHOLE = {"dvs-gesture": (1077, 264), "shd": (8156, 2264)}  # as published: the training files, the test file
every_task = pytest.mark.parametrize("name", TASKS)
every_image_task = pytest.mark.parametrize("name", [n for n in TASKS if load("task", n).kind == "image"])
every_event_task = pytest.mark.parametrize("name", [n for n in TASKS if load("task", n).kind == "events"])
SplitsOf = Callable[[str], Splits]


@every_task
def test_a_task_bears_the_name_under_which_it_is_listed(name: str) -> None:
    assert load("task", name).name == name


@every_task
def test_a_tasks_facts_can_be_read_without_importing_it(name: str) -> None:
    task: Task = load("task", name)
    module, _, attribute = TASKS[name].partition(":")
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    calls = {
        node.targets[0].id: node.value
        for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Call)
    }
    words = {word.arg: word.value for word in calls[attribute].keywords}
    for fact in ("name", "version", "kind", "input_shape", "classes", "summary", "licence", "source"):
        value = ast.literal_eval(words[fact])
        assert value == getattr(task, fact)
        assert value, f"{fact} is empty"
    assert "\n" not in task.summary


def test_importing_the_tasks_reads_and_downloads_nothing() -> None:
    modules = sorted({place.partition(":")[0] for place in TASKS.values()})
    program = (
        "import importlib, sys\n"
        "def watch(event, arguments):\n"
        "    assert event != 'socket.connect', arguments\n"
        "    path = str(arguments[0]) if event == 'open' and arguments else ''\n"
        "    assert not path.endswith(('.gz', '.bin', '.csv')), path\n"
        "sys.addaudithook(watch)\n"
        f"[importlib.import_module(name) for name in {modules}]\n"
        "assert not {'pooch', 'sklearn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


@every_task
def test_the_splits_have_the_sizes_they_are_said_to_have(name: str, splits_of: SplitsOf) -> None:
    splits = splits_of(name)
    if name in WHOLE:
        assert (len(splits.train) + len(splits.validation), len(splits.test)) == WHOLE[name]
    else:
        assert (len(splits.train), len(splits.validation), len(splits.test)) == SIZES[name]


@every_task
def test_samples_are_stored_as_bytes_with_a_class_each(name: str, splits_of: SplitsOf) -> None:
    task, splits = load("task", name), splits_of(name)
    for split in (splits.train, splits.validation, splits.test):
        stored = task.input_shape
        if isinstance(task, EventTask):
            stored = (task.input_shape[0], task.packed)
        assert split.inputs.shape == (len(split), *stored)
        assert split.inputs.dtype == torch.uint8
        assert split.targets.dtype == torch.int64
        assert set(split.targets.tolist()) == set(range(task.classes))


@every_task
def test_no_image_of_one_split_is_in_another(name: str, splits_of: SplitsOf) -> None:
    splits = splits_of(name)
    train, validation, test = map(
        _images, (splits.train.inputs, splits.validation.inputs, splits.test.inputs)
    )
    assert not train & validation
    assert not train & test
    assert not validation & test


def _images(inputs: Tensor) -> set[bytes]:
    return {hashlib.md5(image.tobytes()).digest() for image in inputs.numpy()}


@every_image_task
def test_prepared_training_data_has_mean_zero_and_deviation_one(name: str, splits_of: SplitsOf) -> None:
    task, inputs = load("task", name), splits_of(name).train.inputs
    for channel in range(task.input_shape[0]):
        counts = inputs[:, channel].flatten().bincount(minlength=256).double()
        every_value = torch.arange(256).view(-1, 1, 1, 1).expand(-1, *task.input_shape)
        values = task.prepare(every_value)[:, channel, 0, 0].double()
        mean = counts @ values / counts.sum()
        assert mean.abs() < 1e-4
        assert (counts @ (values - mean) ** 2 / counts.sum()).sqrt() == pytest.approx(1, abs=1e-4)


@every_event_task
def test_prepared_events_are_spikes_at_every_step_and_of_every_polarity(
    name: str, splits_of: SplitsOf
) -> None:
    task, stored = load("task", name), splits_of(name).train.inputs[:300]
    spikes = task.prepare(stored)  # [samples, time, polarities, height, width]
    assert spikes.shape == (len(stored), *task.input_shape)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert are_spikes(spikes)
    assert (spikes.sum((0, 3, 4)) > 0).all()
    assert task.time_step > 0
