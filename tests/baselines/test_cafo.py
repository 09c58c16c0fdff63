"""CaFo: blocks that never move, predictors that read each of them."""

import pytest
import torch

from creditbench.baselines.rules.cafo import CascadedForward
from creditbench.suite.errors import CreditbenchError
from creditbench.suite.types import Batch, State
from tools import learner, network, toy_batch, toy_task, updates

IMAGE = (1, 8, 8)


def test_each_predictor_descends_the_loss_of_its_own_output() -> None:
    model = learner(CascadedForward(), toy_task(IMAGE), "cafo", double=True, width=1)
    generator = torch.Generator().manual_seed(0)
    learned = {k: torch.randn(v.shape, generator=generator).double() for k, v in model.state.learned.items()}
    model.state = State(learned)
    batch = toy_batch(shape=IMAGE)
    batch = Batch(batch.inputs.double(), batch.targets)
    found, h = updates(model, batch), batch.inputs
    assert found.keys() == {"0", "1", "2"}
    for block in model.network.blocks[:-1]:
        h = block.forward(h, model.context()).output
        predictor = learned[block.name].clone().requires_grad_()
        loss = model.loss.value(h.flatten(2) @ predictor.mT, batch.targets).sum()
        assert torch.allclose(found[block.name], torch.autograd.grad(loss, predictor)[0], atol=1e-12)


@pytest.mark.parametrize("fit", ["gradient", "closed-form"])
def test_no_block_is_ever_moved(fit: str) -> None:
    model = learner(CascadedForward(fit=fit), depth=3, width=6)  # type: ignore[arg-type]
    before = {name: p.clone() for name, p in model.network.named_parameters()}
    for seed in range(4):
        model.step(toy_batch(seed=seed))
    assert all(torch.equal(before[name], p) for name, p in model.network.named_parameters())


@pytest.mark.parametrize("steps", [5, 8])
def test_the_closed_form_is_the_least_squares_of_every_sample_seen(steps: int) -> None:
    """After the last step, whether or not it is a power of two."""
    model = learner(
        CascadedForward(fit="closed-form", ridge=1e-12), double=True, seeds=(0, 1), depth=2, width=5
    )
    model.state = State(carried={k: v.double() for k, v in model.state.carried.items()})
    model.steps = steps
    batches = [toy_batch(seeds=2, samples=9, seed=seed) for seed in range(steps)]
    for batch in batches:
        model.step(Batch(batch.inputs.double(), batch.targets))
    h = torch.cat([batch.inputs for batch in batches], 1).double()
    wanted = torch.eye(3).double()[torch.cat([batch.targets for batch in batches], 1)]
    for block in model.network.blocks[:-1]:
        h = block.forward(h).output
        expected = torch.linalg.lstsq(h, wanted, driver="gelsd").solution.mT
        assert torch.allclose(model.state.carried[block.name], expected, atol=1e-6)


def test_until_the_end_the_closed_form_knows_at_least_half_of_the_samples_seen() -> None:
    model = learner(CascadedForward(fit="closed-form"), width=5)
    solved = []
    for step in range(1, 10):
        before = model.state.carried["0"]
        model.step(toy_batch(seed=step))
        if not torch.equal(model.state.carried["0"], before):
            solved.append(step)
    assert solved == [1, 2, 4, 8]


def test_the_prediction_is_the_mean_of_all_predictors_probabilities() -> None:
    model = learner(CascadedForward(), width=6, rate=0.1)
    for seed in range(5):
        model.step(toy_batch(seed=seed))
    h = inputs = toy_batch().inputs
    probabilities = []
    for block in model.network.blocks[:-1]:
        h = block.forward(h).output
        probabilities.append(torch.softmax(h @ model.state.learned[block.name].mT, -1))
    found = model.rule.predict(model.network, inputs, model.state).exp()
    assert torch.allclose(found, torch.stack(probabilities).mean(0), atol=1e-6)
    assert torch.allclose(found.sum(-1), torch.ones(1, 9), atol=1e-5)


def test_the_cascade_is_the_papers() -> None:
    """32, 128 and 512 channels, halved in height and width by each block, normalised behind the pooling."""
    made = network(toy_task((1, 28, 28), 10), "cafo")
    assert [block.output_shape for block in made.blocks] == [(32, 14, 14), (128, 7, 7), (512, 3, 3), (10,)]
    images = toy_batch(samples=64, shape=(1, 28, 28)).inputs
    h = made.blocks[0].forward(images, learner(CascadedForward()).context()).output
    assert h.mean((1, 3, 4)).abs().max() < 1e-5
    assert torch.allclose(h.std((1, 3, 4)), torch.ones(1, 32), atol=1e-2)


def test_a_misspelt_fit_is_answered_with_the_nearest() -> None:
    with pytest.raises(CreditbenchError, match="Did you mean 'closed-form'"):
        CascadedForward(fit="closedform")  # type: ignore[arg-type]
