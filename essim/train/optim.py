"""The optimizers of a training (Adam, or Muon for the convolutions and Adam for the rest) and its schedule.

In: a network and its `TrainConfig`. Out: a list of torch optimizers, to be stepped one after the other.
Paper: section 3 (training) has Adam. Muon is K. Jordan's (2024, kellerjordan.github.io/posts/muon); the scale of its
step, which lets both share one learning rate, is J. Liu's (arXiv 2502.16982).

Take the momentum of a convolution's weights as a matrix M [out, in * height * width] with the singular values S,

    M = U S V^T        Adam's step follows M; Muon's follows U V^T,

so that directions which gradients seldom take are learned as fast as frequent ones. No decomposition is needed: the
polynomial X <- (a + b X X^T + c (X X^T)^2) X brings all singular values close to 1 within five rounds.
"""

import math

import torch

ROUNDS = 5
A, B, C = 3.4445, -4.7750, 2.0315  # Jordan's: singular values from 0.005 to 1 end between 0.7 and 1.2


def make_optimizers(network, config):
    """A list of optimizers for all weights of a network, by `config.optimizer` and `config.lr`."""
    weights = list(network.parameters())
    if config.optimizer == "adam":
        return [torch.optim.Adam(weights, lr=config.lr, fused=True)]
    outer = {id(weight) for layer in (network.stem, network.head) for weight in layer.parameters()}
    inner = [weight for weight in weights if weight.ndim == 4 and id(weight) not in outer]
    chosen = {id(weight) for weight in inner}
    rest = [weight for weight in weights if id(weight) not in chosen]
    return [torch.optim.Adam(rest, lr=config.lr, fused=True), Muon(inner, lr=config.lr)]


def cosine(lr, step, steps):
    """The learning rate of a step: from `lr` at the first down to 0 along half a cosine."""
    # math.cos: torch.load(weights_only=True) refuses numpy numbers in the optimizer's state
    return lr * 0.5 * (1 + math.cos(math.pi * step / steps))


def validates(step, steps, count):
    """Whether a training validates after a step of 1..steps: `count` times, evenly spaced, the last at the end."""
    return step * count // steps > (step - 1) * count // steps


def orthogonalise(matrices):
    """The U V^T of each matrix of a batch [N, R, C], nearly: its singular values end near 1. Float32."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    identity = A * torch.eye(x.shape[1], device=x.device)

    def step_from(gram):
        return identity + torch.baddbmm(gram, gram, gram, beta=B, alpha=C)

    # all rounds on the small side: with gram = X X^T, the next X is step X, and the next gram is step gram step
    gram = x @ x.mT
    factor = step = step_from(gram)
    for _ in range(ROUNDS - 1):
        gram = step @ gram @ step
        step = step_from(gram)
        factor = step @ factor
    x = factor @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Steps the weights of convolutions [out, in, height, width] by their orthogonalised Nesterov momentum."""

    def __init__(self, weights, lr, momentum=0.95):
        super().__init__(weights, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}  # matrices of one size go through the rounds together
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1 - group["momentum"])
                ahead = weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1)
                by_shape.setdefault(ahead.shape, []).append((weight, ahead))
            for shape, pairs in by_shape.items():
                # 0.2 is the size of Adam's steps, root mean square, in units of the learning rate
                length = 0.2 * group["lr"] * max(shape) ** 0.5
                steps = orthogonalise(torch.stack([ahead for _, ahead in pairs]))
                for (weight, _), step in zip(pairs, steps, strict=True):
                    weight.sub_(step.view_as(weight), alpha=length)
