"""Every generator by name: how it is trained on the ground, and which ones the default bundle fuses."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from torch import nn

from models.generators.encoder import Encoder
from models.generators.ensemble import Ensemble
from models.generators.prior import Blank
from models.training.calibrate import fit_ranking_kappa
from models.training.closed_form import fit_gaussian_completion, fit_kshot_linear
from models.training.generator import train_generator
from models.training.ground import Ground, Progress, Watch
from models.training.loop import OnEpoch
from models.training.sampling import train_diffusion, train_gan, train_vae

MEMBERS = 5
FUSED = ("encoder", "gaussian", "gan", "vae")

PRIORS = ("segment_prior", "blank")
"""Members of every fusion, beside the generators."""

Member = tuple[nn.Module, dict[str, float]]
"""A filler and the κ it is blended by."""


def train_members(
    ground: Ground, names: Iterable[str], seed: int, encoders: int, watch: Watch
) -> dict[str, Member]:
    """The priors and the generators named, each with its κ, fitted unless it was trained with one."""
    shrinkage = ground.kappa["segment_prior"]
    blank = Blank(ground.segment_prior)
    members: dict[str, Member] = {
        "segment_prior": (ground.segment_prior, shrinkage),
        "blank": (blank, shrinkage),
    }
    for name in names:

        def on_epoch(epoch: int, loss: float, step: str = name) -> None:
            watch(Progress(step.replace("_", " "), epoch, loss))

        watch(Progress(name.replace("_", " ")))
        if name == "encoder":
            members[name] = (train_encoders(ground, seed, encoders, on_epoch), shrinkage)
        else:
            filler = (
                CLOSED_FORM[name](ground) if name in CLOSED_FORM else LEARNED[name](ground, seed, on_epoch)
            )
            members[name] = (filler, fit_ranking_kappa(ground.task({}), filler, ground.batches))
    return members


def train_encoders(ground: Ground, seed: int, members: int, on_epoch: OnEpoch) -> Ensemble:
    """An ensemble of encoders that differ by their seed."""
    encoders: list[Encoder] = []
    for member in range(members):
        encoder, _ = train_generator(
            ground.examples,
            ground.shrinkage,
            ground.segment_prior,
            ground.split.train,
            ground.validation,
            seed=seed * 1000 + member,
            on_epoch=on_epoch,
            regime=ground.regime,
            trainings=members,
            honest=ground.honest,
        )
        encoders.append(encoder)
    return Ensemble(encoders).eval()


CLOSED_FORM: Mapping[str, Callable[[Ground], nn.Module]] = {
    "kshot_linear": fit_kshot_linear,
    "gaussian": fit_gaussian_completion,
}

LEARNED: Mapping[str, Callable[[Ground, int, OnEpoch], nn.Module]] = {
    "vae": train_vae,
    "gan": train_gan,
    "gan_task": partial(train_gan, task_weight=1.0),
    "diffusion": train_diffusion,
}
"""Generators of samples."""
