"""Training the generators of samples: few events shown, the full profile's residual to be generated."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from models.generators.diffusion import Denoiser, denoise, signal
from models.generators.gan import Critic, critic_loss, generator_loss, gradient_penalty
from models.generators.sampled import HIDDEN, Sampled
from models.generators.vae import Vae
from models.training.examples import Batch, few_shot, moved
from models.training.generator import BATCH, MOST_SHOWN, fill_of
from models.training.ground import Ground
from models.training.loop import OnEpoch, Schedule, device, unwatched
from models.training.options import Adversarial

SCHEDULE = Schedule(epochs=40, steps=10, patience=8, learning_rate=2e-3)
PENALTY = 10.0
PAIR = 2
"""The noise hardly matters beside what is known: a pair of opposite draws ranks as many do."""
_BETAS = (0.0, 0.9)
_ADVERSARIAL_SHARE = 0.01

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
    model = Vae(ground.segment_prior, ground.examples.item_vectors, ground.spread, PAIR)
    model.prior.requires_grad_(False)
    _fit(
        ground,
        "vae",
        model,
        lambda batch: model.loss(*conditioned(model, batch), beta),
        seed,
        on_epoch,
        schedule,
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
        level = torch.rand(len(target), 1, device=target.device)
        kept = signal(level)
        noisy = kept.sqrt() * target + (1 - kept).sqrt() * torch.randn_like(target)
        return nn.functional.mse_loss(teacher(condition, noisy, level), target)

    _fit(ground, "diffusion_teacher", both, teaching_loss, seed, on_epoch, schedule, teaching_loss)
    # The condition is the teacher's: the student only learns where its noise ends up.
    both.requires_grad_(False)
    model.residual.requires_grad_(True)

    def distilling_loss(batch: Batch) -> torch.Tensor:
        condition, target = conditioned(model, batch)
        noise = torch.randn_like(target)
        with torch.no_grad():
            sample = denoise(teacher, condition, noise)
        return nn.functional.mse_loss(model.residual(condition, noise), sample)

    _fit(ground, "diffusion", model, distilling_loss, seed, on_epoch, schedule, distilling_loss)
    return model.requires_grad_(False)


def train_gan(
    ground: Ground,
    seed: int,
    on_epoch: OnEpoch = unwatched,
    schedule: Schedule = SCHEDULE,
    task_weight: float = 0.0,
    options: Adversarial | None = None,
) -> Sampled:
    """A conditional GAN, stopped by how near its mean answer comes to validation users' profiles.

    Args:
        task_weight: of the loss through the frozen ranker, beside the adversarial one; that loss then
            stops it, too.
        options: those of the ground's regime if not given.
    """
    options, where = options or ground.regime.options.gan, device()
    name = "gan_task" if task_weight else "gan"
    torch.manual_seed(seed)
    model = Sampled(ground.segment_prior, ground.examples.item_vectors, ground.spread, draws=PAIR)
    if options.pretrained:
        _fit(ground, f"{name}_start", model, lambda b: regression_loss(model, b), seed, unwatched, schedule)
    critic = Critic(HIDDEN, len(ground.spread), options.spectral).to(where)
    critics = torch.optim.AdamW(critic.parameters(), lr=options.critic_rate, betas=_BETAS)
    task = ground.shrinkage.to(where)

    def teach_critic(batch: Batch) -> None:
        condition, target = conditioned(model, batch)
        fixed = condition.detach()
        false = model.residual(condition, _noise(model, target)).detach()
        verdict = critic_loss(critic(fixed, target), critic(fixed, false), options.loss)
        if options.loss == "wasserstein":
            verdict = verdict + PENALTY * gradient_penalty(critic, fixed, target, false)
        critics.zero_grad()
        verdict.backward()  # type: ignore[no-untyped-call]
        critics.step()

    def training_loss(rng: np.random.Generator) -> torch.Tensor:
        for _ in range(options.critic_steps):
            batch = drawn(ground, rng)
            teach_critic(batch)
        condition, target = conditioned(model, batch)
        fooling = generator_loss(
            critic(condition, model.residual(condition, _noise(model, target))), options.loss
        )
        if not task_weight:
            return fooling
        return _ADVERSARIAL_SHARE * fooling + task_weight * task.loss(batch, fill_of(model, batch))

    def validation_loss() -> float:
        with torch.no_grad():
            losses = [
                task.loss(batch, fill_of(model, batch)) if task_weight else regression_loss(model, batch)
                for batch in _validation(ground)
            ]
        return float(np.mean([loss.item() for loss in losses]))

    told = ground.regime.options.schedule(schedule)
    ground.regime.fit(
        name,
        model,
        training_loss,
        validation_loss,
        replace(told, epochs=max(told.epochs // 2, 1), learning_rate=options.generator_rate, betas=_BETAS),
        np.random.default_rng(seed),
        on_epoch,
        beside={"critic": critic, "critics": critics},
        first=1,  # its start is the regression, which is no GAN
    )
    return model.eval().requires_grad_(False)


def drawn(ground: Ground, rng: np.random.Generator) -> Batch:
    """A batch of training users cut to few events."""
    histories, train = ground.examples.histories, ground.regime.learners(ground.split.train)
    train = train[histories.counts[train] > 1]
    users = rng.choice(train, min(BATCH, len(train)), replace=False)
    return moved(
        ground.examples.sampled_batch(few_shot(histories, users, MOST_SHOWN, rng), rng=rng), device()
    )


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
    name: str,
    model: nn.Module,
    loss: Callable[[Batch], torch.Tensor],
    seed: int,
    on_epoch: OnEpoch,
    schedule: Schedule,
    judged: Callable[[Batch], torch.Tensor] | None = None,
) -> None:
    """Train in place; stopped by `judged` on validation users, or by the mean answer's distance."""
    batches = _validation(ground)

    def distance(batch: Batch) -> torch.Tensor:
        assert isinstance(model, Sampled)
        return regression_loss(model, batch)

    def validation_loss() -> float:
        if judged is not None:
            torch.manual_seed(seed)  # the same noise every time, so that only the model differs
        with torch.no_grad():
            return float(np.mean([(judged or distance)(batch).item() for batch in batches]))

    ground.regime.fit(
        name,
        model,
        lambda rng: loss(drawn(ground, rng)),
        validation_loss,
        ground.regime.options.schedule(schedule),
        np.random.default_rng(seed),
        on_epoch,
    )


def _validation(ground: Ground) -> list[Batch]:
    return [moved(batch, device()) for batch in ground.batches]


def _noise(model: Sampled, target: torch.Tensor) -> torch.Tensor:
    return torch.randn(len(target), model.draws.shape[1], device=target.device)
