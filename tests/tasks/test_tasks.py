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
from creditbench.suite.series import Series
from creditbench.suite.spikes import are_spikes
from creditbench.suite.types import Splits, Task
from creditbench.tasks import TASKS
from creditbench.tasks.events import EventTask

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
    "xor-events": (90_000, 10_000, 10_000),
    "xor-dense": (90_000, 10_000, 10_000),
    "irregular-sines": (4_000, 1_000, 1_000),
    "copy-5": (5_000, 1_000, 1_000),
    "copy-20": (5_000, 1_000, 1_000),
    "delayed-match-10": (5_000, 1_000, 1_000),
    "delayed-match-40": (5_000, 1_000, 1_000),
    "cue-accumulation-10": (5_000, 1_000, 1_000),
    "cue-accumulation-40": (5_000, 1_000, 1_000),
    "digits-events": (1197, 300, 300),
    "event-smnist": (55_000, 5_000, 10_000),
    "walker2d": (9_684, 1_272, 1_937),  # the published numbers of windows
    "physionet-2012": (2_560, 640, 800),
    "person-activity-tenth-a": (657, 164, 205),
    "person-activity-tenth-b": (420, 104, 131),
    "person-activity-a": (6_216, 1_553, 1_942),  # 7,769 published training windows, a fifth for validation
    "person-activity-b": (4_195, 1_048, 1_311),
    "japanese-vowels": (216, 54, 370),
    "character-trajectories-100-drop-30": (60, 20, 20),
    "character-trajectories-100-drop-50": (60, 20, 20),
    "character-trajectories-100-drop-70": (60, 20, 20),
}
IMAGES = [name for name in TASKS if load("task", name).kind == "image"]
SERIES = [name for name in TASKS if load("task", name).kind == "series"]
# Where different originals are the same samples once they are black and white, or short streams of bits.
MERGED = ("digits-events", "event-smnist", "xor-events", "xor-dense")
every_image_task = pytest.mark.parametrize("name", IMAGES)
every_series_task = pytest.mark.parametrize("name", SERIES)
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


@every_image_task
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


@pytest.mark.parametrize("name", [name for name in TASKS if name not in MERGED])
def test_no_sample_of_one_split_is_in_another(name: str, splits_of: SplitsOf) -> None:
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


@every_series_task
def test_a_series_is_packed_with_a_target_for_each_sample_or_step(name: str, splits_of: SplitsOf) -> None:
    task, splits = load("task", name), splits_of(name)
    for split in (splits.train, splits.validation, splits.test):
        assert split.inputs.shape == (len(split), *task.input_shape)
        assert split.inputs.dtype == torch.float32
        series = Series.unpack(split.inputs)
        assert torch.equal(series.pack().nan_to_num(nan=-9e9), split.inputs.nan_to_num(nan=-9e9))
        assert (series.elapsed >= 0).all()
        where = (len(split), *task.output_shape[:-1])  # one per sample, or one per step
        if task.loss == "mse":
            assert split.targets.shape == (*where, task.classes)
            assert split.targets[series.present].isfinite().all()
        else:
            assert split.targets.shape == where
            assert set(split.targets.flatten().tolist()) - {-1} == set(range(task.classes))
            if task.every_step:
                assert (split.targets[~series.present] == -1).all()


@every_series_task
def test_prepared_series_are_of_the_order_of_one(name: str, splits_of: SplitsOf) -> None:
    task, train = load("task", name), splits_of(name).train
    series = Series.unpack(task.prepare(train.inputs))
    assert 0.1 < series.times.max() < 120
    assert 0.1 < series.values[series.mask > 0].std() < 5
