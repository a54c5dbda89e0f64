"""Losses that bring the student's features close to the teachers': CFL and DFA, on pooled features.

Both papers align feature maps of convolutional networks. A text classifier has one vector instead, which its head
reads, so every 1 x 1 convolution is a linear layer here. Their layers are trained with the student and left out of it.
Each is a module of the student's features `[batch, its features]` and, for each teacher, `[batch, its features]`; it
returns a scalar.

They stand here and not beside `compare`, because `integrate.strategy` may name them: then `train-student` uses them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

COMMON_FEATURES = 128
"""Width of CFL's common space."""
_BANDWIDTHS = (0.001, 0.01, 0.05, 0.1, 0.2, 1.0, 2.0)
"""Standard deviations of the Gaussian kernels, for vectors of length 1."""


class CommonFeatures(nn.Module):
    """CFL (Luo et al., IJCAI 2019): student and teachers meet in a common space.

    The mean over teachers of MMD²(h_S, h_i) + ‖F_i - F'_i‖², where h are the features in that space, scaled to length
    1 for the MMD, and F'_i a teacher's features, reconstructed from h_i. The authors' code takes sums, ten times: with
    the Trainer's clipped gradients hardly anything of the soft targets is then left.

    Args:
        student: Width of the student's features.
        teachers: Width of each teacher's features.
    """

    def __init__(self, student: int, teachers: Sequence[int]) -> None:
        super().__init__()
        wide = 2 * COMMON_FEATURES
        self.student = nn.Sequential(nn.Linear(student, wide), nn.ReLU())
        self.teachers = nn.ModuleList(nn.Sequential(nn.Linear(width, wide), nn.ReLU()) for width in teachers)
        self.extractor = nn.Sequential(nn.Linear(wide, COMMON_FEATURES), nn.ReLU(), _Residual(COMMON_FEATURES))
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Linear(COMMON_FEATURES, width), nn.ReLU(), nn.Linear(width, width)) for width in teachers
        )

    def forward(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """The loss of a batch."""
        common = self.extractor(self.student(student))
        losses = []
        for features, align, decode in zip(teachers, self.teachers, self.decoders, strict=True):
            theirs = self.extractor(align(features))
            losses.append(squared_mmd(common, theirs) + nn.functional.mse_loss(decode(theirs), features))
        return torch.stack(losses).mean()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(torch.relu(self.first(x))))


def squared_mmd(one: Tensor, other: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two batches of vectors, each scaled to length 1 (CFL, Eq. 1).

    mean k(x, x') + mean k(y, y') - 2 mean k(x, y), with k the mean of Gaussian kernels exp(-‖x - y‖² / 2s²).

    Args:
        one: `[batch, width]`.
        other: `[batch, width]`.

    Returns:
        Scalar.
    """
    x, y = (nn.functional.normalize(vectors, dim=-1) for vectors in (one, other))
    return _kernel(x, x).mean() + _kernel(y, y).mean() - 2 * _kernel(x, y).mean()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    squares = (2 - 2 * x @ y.T).clamp(min=0.0)  # vectors of length 1
    return torch.stack([torch.exp(-squares / (2 * sigma**2)) for sigma in _BANDWIDTHS]).mean(dim=0)


class AmalgamatedFeatures(nn.Module):
    """DFA (Shen et al., AAAI 2019): an autoencoder compresses the teachers' features, and the student learns the code.

    ‖F - D E F‖² + ‖A F_S - E F‖², where F are the teachers' features one after the other, E and D the autoencoder and
    A one layer on top of the student's features. The student's term does not move the autoencoder, as in the paper,
    which trains the two one after the other.

    Args:
        student: Width of the student's features, and of the code.
        teachers: Width of each teacher's features.
    """

    def __init__(self, student: int, teachers: Sequence[int]) -> None:
        super().__init__()
        self.encode = nn.Linear(sum(teachers), student, bias=False)
        self.decode = nn.Linear(student, sum(teachers), bias=False)
        self.adapt = nn.Linear(student, student, bias=False)

    def forward(self, student: Tensor, teachers: Sequence[Tensor]) -> Tensor:
        """The loss of a batch."""
        features = torch.cat(list(teachers), dim=-1)
        code = self.encode(features)
        reconstruction = nn.functional.mse_loss(self.decode(code), features)
        return reconstruction + nn.functional.mse_loss(self.adapt(student), code.detach())
