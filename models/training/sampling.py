"""Training the generators of samples: few events shown, the full profile's residual to be generated."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from models.generators.diffusion import Denoiser, denoise, signal
from models.generators.gan import Critic, Loss, critic_loss, generator_loss, gradient_penalty
from models.generators.sampled import HIDDEN, Sampled
from models.generators.vae import Vae
from models.training.examples import Batch, few_shot
from models.training.generator import BATCH, MOST_SHOWN, fill_of
from models.training.ground import Ground
from models.training.loop import OnEpoch, Schedule, fit, unwatched

SCHEDULE = Schedule(epochs=40, steps=10, patience=8, learning_rate=2e-3)
PENALTY = 10.0
CRITIC_RATE, GENERATOR_RATE = 4e-4, 1e-4
"""Two time scales: the critic learns faster. Source: M. Heusel et al., NeurIPS 2017."""

_INPUTS = ("affinity", "history_items", "history_weights", "attributes", "count")

Conditioned = tuple[torch.Tensor, torch.Tensor]
"""Condition [B, HIDDEN] and target residual [B, C + D]."""


def train_vae(
    ground: Ground,
    seed: int,
    on_epoch: OnEpoch = unwatched,
    schedule: Schedule = SCHEDULE,
    beta: float = 1.0,
) -> Vae:
    """A conditional VAE, stopped by how near its mean answer comes to validation users' profiles."""
    torch.manual_seed(seed)
    model = Vae(ground.segment_prior, ground.examples.item_vectors, ground.spread)
    model.prior.requires_grad_(False)
    _fit(
        ground, model, lambda batch: model.loss(*conditioned(model, batch), beta), seed, on_epoch, schedule
    )
    return model


def train_diffusion(
    ground: Ground, seed: int, on_epoch: OnEpoch = unwatched, schedule: Schedule = SCHEDULE
) -> Sampled:
    """A diffusion teacher, and the one-step student that learned its samples from their noise."""
    torch.manual_seed(seed)
    width = len(ground.spread)
    model = Sampled(ground.segment_prior, ground.examples.item_vectors, ground.spread, noise=width)
    teacher = Denoiser(width)
    both = nn.ModuleDict({"student": model, "teacher": teacher})

    def teaching_loss(batch: Batch) -> torch.Tensor:
        condition, target = conditioned(model, batch)
        level = torch.rand(len(target), 1)
        kept = signal(level)
        noisy = kept.sqrt() * target + (1 - kept).sqrt() * torch.randn_like(target)
        return nn.functional.mse_loss(teacher(condition, noisy, level), target)

    _fit(ground, both, teaching_loss, seed, on_epoch, schedule, teaching_loss)
    # The condition is the teacher's: the student only learns where its noise ends up.
    both.requires_grad_(False)
    model.residual.requires_grad_(True)

    def distilling_loss(batch: Batch) -> torch.Tensor:
        condition, target = conditioned(model, batch)
        noise = torch.randn_like(target)
        with torch.no_grad():
            sample = denoise(teacher, condition, noise)
        return nn.functional.mse_loss(model.residual(condition, noise), sample)

    _fit(ground, model, distilling_loss, seed, on_epoch, schedule, distilling_loss)
    return model.requires_grad_(False)


def train_gan(
    ground: Ground,
    seed: int,
    on_epoch: OnEpoch = unwatched,
    schedule: Schedule = SCHEDULE,
    loss: Loss = "wasserstein",
    spectral: bool = False,
    task_weight: float = 0.0,
) -> Sampled:
    """A conditional GAN; generator and condition start from a regression on the full profile.

    Args:
        task_weight: of the loss through the frozen ranker, beside the adversarial one.
    """
    torch.manual_seed(seed)
    model = Sampled(ground.segment_prior, ground.examples.item_vectors, ground.spread)
    _fit(ground, model, lambda batch: regression_loss(model, batch), seed, unwatched, schedule)
    critic = Critic(HIDDEN, len(ground.spread), spectral)
    options = {"betas": (0.0, 0.9)}
    critics = torch.optim.AdamW(critic.parameters(), lr=CRITIC_RATE, **options)  # type: ignore[arg-type]
    generators = torch.optim.AdamW(model.parameters(), lr=GENERATOR_RATE, **options)  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    best, kept = (
        _distance(ground, model),
        {name: value.clone() for name, value in model.state_dict().items()},
    )
    for epoch in range(1, schedule.epochs // 2 + 1):
        model.train()
        for _ in range(schedule.steps):
            batch = drawn(ground, rng)
            condition, target = conditioned(model, batch)
            noise = torch.randn(len(target), model.draws.shape[1])
            fake = model.residual(condition, noise)
            fixed, false = condition.detach(), fake.detach()
            verdict = critic_loss(critic(fixed, target), critic(fixed, false), loss)
            if loss == "wasserstein":
                verdict = verdict + PENALTY * gradient_penalty(critic, fixed, target, false)
            critics.zero_grad()
            verdict.backward()  # type: ignore[no-untyped-call]
            critics.step()
            total = generator_loss(critic(fixed, fake), loss)
            if task_weight:
                total = 0.01 * total + task_weight * ground.shrinkage.loss(batch, fill_of(model, batch))
            generators.zero_grad()
            total.backward()  # type: ignore[no-untyped-call]
            generators.step()
        model.eval()
        distance = _task_loss(ground, model) if task_weight else _distance(ground, model)
        on_epoch(epoch, distance)
        # Adversarial training wanders: the epoch nearest to validation users' profiles is kept.
        if epoch == 1 or distance < best:
            best, kept = distance, {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(kept)
    return model.eval().requires_grad_(False)


def drawn(ground: Ground, rng: np.random.Generator) -> Batch:
    """A batch of training users cut to few events."""
    histories, train = ground.examples.histories, ground.split.train
    train = train[histories.counts[train] > 1]
    users = rng.choice(train, min(BATCH, len(train)), replace=False)
    return ground.examples.batch(few_shot(histories, users, MOST_SHOWN, rng))


def conditioned(model: Sampled, batch: Batch) -> Conditioned:
    """What the model reads of a batch, and the residual it should generate."""
    inputs = [batch[name] for name in _INPUTS]
    expected = torch.cat(model.prior(*inputs), dim=1)
    return model.condition(*inputs), (batch["full"] - expected) / model.scale


def regression_loss(model: Sampled, batch: Batch) -> torch.Tensor:
    """Mean squared error of the mean of the draws."""
    condition, target = conditioned(model, batch)
    return nn.functional.mse_loss(model.expected(condition), target)


def _fit(
    ground: Ground,
    model: nn.Module,
    loss: Callable[[Batch], torch.Tensor],
    seed: int,
    on_epoch: OnEpoch,
    schedule: Schedule,
    judged: Callable[[Batch], torch.Tensor] | None = None,
) -> None:
    """Train in place; stopped by `judged` on validation users, or by the mean answer's distance."""

    def validation_loss() -> float:
        if judged is None:
            assert isinstance(model, Sampled)
            return _distance(ground, model)
        torch.manual_seed(seed)  # the same noise every time, so that only the model differs
        with torch.no_grad():
            return float(np.mean([judged(batch).item() for batch in ground.batches]))

    rng = np.random.default_rng(seed)
    fit(model, lambda draws: loss(drawn(ground, draws)), validation_loss, schedule, rng, on_epoch)


def _distance(ground: Ground, model: Sampled) -> float:
    with torch.no_grad():
        return float(np.mean([regression_loss(model, batch).item() for batch in ground.batches]))


def _task_loss(ground: Ground, model: Sampled) -> float:
    task = ground.shrinkage
    with torch.no_grad():
        return float(np.mean([task.loss(batch, fill_of(model, batch)).item() for batch in ground.batches]))
