"""How a step finds its gradients: plainly, or at weights that are moved against the model, too."""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from models.training.split import TrainingError

Loss = Callable[[np.random.Generator], torch.Tensor]
Gradients = Callable[[np.random.Generator], None]


def gradients_of(training_loss: Loss, parameters: Iterable[nn.Parameter], l2: float = 0.0) -> Gradients:
    """Plain back-propagation, with the parameters' squared length in the loss."""
    held_back = list(parameters) if l2 else []

    def gradients(rng: np.random.Generator) -> None:
        loss = training_loss(rng)
        for parameter in held_back:
            loss = loss + l2 * parameter.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]

    return gradients


def perturbed(gradients: Gradients, layers: Iterable[nn.Parameter], length: float) -> Gradients:
    """Gradients at the weights as they are, plus those where embeddings are moved against the model.

    The second pass sees the same batch and dropout. `layers` are moved along their gradient by `length`
    times their mean row length: the fast gradient method on item and attribute embeddings.

    Source: T. Miyato, A. Dai, I. Goodfellow, "Adversarial Training Methods for Semi-Supervised Text
    Classification", ICLR 2017.
    """
    moved = list(layers)

    def both(rng: np.random.Generator) -> None:
        drawn, noise = rng.bit_generator.state, noise_state()
        gradients(rng)
        kept = [layer.detach().clone() for layer in moved]
        with torch.no_grad():
            for layer in moved:
                if layer.grad is not None and (norm := layer.grad.norm()) > 0:
                    layer.add_(layer.grad * (length * layer.norm(dim=1).mean() / norm))
        rng.bit_generator.state = drawn
        set_noise_state(noise)
        gradients(rng)
        with torch.no_grad():
            for layer, values in zip(moved, kept, strict=True):
                layer.copy_(values)

    return both


def embedding_layers(model: nn.Module) -> list[nn.Parameter]:
    """Weights of the layers in which the model, or a part of it, says it embeds items and attributes.

    Raises:
        TrainingError: it names none.
    """
    found = [
        part.get_parameter(f"{layer}.weight")
        for part in model.modules()
        for layer in getattr(part, "EMBEDDING_LAYERS", ())
    ]
    found = [layer for layer in found if layer.requires_grad]
    if not found:
        raise TrainingError(f"{type(model).__name__} embeds nothing: leave the option perturbation at 0")
    return found


def noise_state() -> list[torch.Tensor]:
    """Where torch's random numbers stand, on the CPU and on every GPU."""
    return [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]


def set_noise_state(state: list[torch.Tensor]) -> None:
    """Let them go on from there."""
    torch.set_rng_state(state[0])
    torch.cuda.set_rng_state_all(state[1:])
