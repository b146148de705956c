"""What a training can be told: how learned generators are held back, hardened, warmed and kept private."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

import msgspec

from models.training.loop import Schedule
from models.training.split import TrainingError

Positive = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Generator = Literal["encoder", "kshot_linear", "gaussian", "vae", "gan", "gan_task", "diffusion"]


_LISTS = frozenset({"frozen", "fused"})


class Adversarial(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the GAN is trained.

    Attributes:
        loss: of critic and generator.
        spectral: whether spectral norm bounds the critic's slope; T. Miyato et al., ICLR 2018.
        critic_rate, generator_rate: the two time scales.
        critic_steps: of the critic for each of the generator.
        pretrained: whether the generator starts from a regression on full profiles.
    """

    loss: Literal["wasserstein", "non_saturating"] = "wasserstein"
    spectral: bool = False
    critic_rate: Positive = 4e-4
    generator_rate: Positive = 1e-4
    critic_steps: Count = 1
    pretrained: bool = True


class Privacy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Differential privacy of learned weights towards each training user, see `models.training.privacy`.

    Attributes:
        epsilon: at most so much is spent; the noise follows from it.
        delta: None: one over ten times the number of training users.
        clip: norm that a user's gradient is cut to.
    """

    epsilon: Positive
    delta: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    clip: Positive = 1.0


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of learned generators; None leaves a model what it is trained by otherwise.

    Attributes:
        epochs, patience, learning_rate, weight_decay, l2, dropout, perturbation, frozen: see `Schedule`.
        gan: of the GAN alone.
        pretrain: epochs of self-supervision before the encoder is trained; 0 for none.
        privacy: of the encoder; None for none.
        fused: the generators that the default rung fuses.
        crossed: parts of the warm users by which its gate is cross-fitted; with less than 2, and where
            validation users are many, it is fitted on those.
        dense_items: catalogues up to this size have every item in every loss, and a weight an item in
            the k-shot linear generator; in larger ones losses are over the batch's items and a sample.
        sampled_items: how many others that sample holds.
    """

    epochs: Count | None = None
    patience: Count | None = None
    learning_rate: Positive | None = None
    weight_decay: NotNegative | None = None
    l2: NotNegative | None = None
    dropout: Share | None = None
    perturbation: NotNegative | None = None
    frozen: tuple[str, ...] | None = None
    gan: Adversarial = Adversarial()
    pretrain: Annotated[int, msgspec.Meta(ge=0)] = 0
    privacy: Privacy | None = None
    fused: tuple[Generator, ...] | None = None
    crossed: Annotated[int, msgspec.Meta(ge=0)] = 3
    dense_items: Annotated[int, msgspec.Meta(ge=0)] = 4096
    sampled_items: Count = 2048

    def schedule(self, usual: Schedule) -> Schedule:
        """The usual schedule, and in it what was told otherwise."""
        told = {name: getattr(self, name) for name in vars(usual) if hasattr(self, name)}
        return replace(usual, **{name: value for name, value in told.items() if value is not None})


def read_options(settings: Mapping[str, Any], assignments: Sequence[str] = ()) -> Options:
    """Options from a settings block and, winning over it, assignments such as `gan.loss=wasserstein`.

    Raises:
        TrainingError: no such option, or a value it cannot have; the message names it.
    """
    values = msgspec.to_builtins(dict(settings))
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise TrainingError(f"--set {assignment}: write NAME=VALUE, such as --set dropout=0.4")
        place = values
        *groups, last = name.strip().split(".")
        for group in groups:
            place = place.setdefault(group, {})
            if not isinstance(place, dict):
                raise TrainingError(f"--set {assignment}: {group} is no group of options")
        place[last] = _value(text, last in _LISTS)
    try:
        return msgspec.convert(values, Options)
    except msgspec.ValidationError as error:
        raise TrainingError(f"training options: {error}: see `kindling train --help`") from error


def _value(text: str, listed: bool) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text.split(",") if listed else text
