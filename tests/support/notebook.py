"""An independent transcription of the notebook: no import from the package."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class NotebookRun:
    """What the notebook prints and saves."""

    lines: list[str]
    X: Tensor
    W: Tensor
    b: Tensor


def notebook_cost(X: Tensor, W: Tensor, b: Tensor, Y: Tensor, R: Tensor, lambda_: float) -> Tensor:
    squared = torch.matmul(X, W.T).add(b).subtract(Y).pow(2)
    half = squared.multiply(R).sum().multiply(0.5)
    return half + (lambda_ / 2) * (W.pow(2).sum() + X.pow(2).sum())


def run_notebook(
    Y: Tensor,
    R: Tensor,
    *,
    seed: int,
    epochs: int,
    num_features: int = 100,
    lr: float = 1e-4,
    lambda_: float = 1,
    every: int = 100,
) -> NotebookRun:
    """Draw, train and print as the notebook does, after `torch.manual_seed(seed)`."""
    dev = Y.device
    num_movies, num_users = R.shape
    torch.manual_seed(seed)
    X = nn.Parameter(torch.Tensor(num_movies, num_features).to(dev))
    W = nn.Parameter(torch.Tensor(num_users, num_features).to(dev))
    b = nn.Parameter(torch.Tensor(1, num_users).to(dev))
    nn.init.kaiming_uniform_(X, a=math.sqrt(5))
    nn.init.kaiming_uniform_(W, a=math.sqrt(5))
    fan_in, _ = nn.init._calculate_fan_in_and_fan_out(W)
    bound = 1 / math.sqrt(fan_in)
    nn.init.uniform_(b, -bound, bound)
    lines = [
        f"Using {dev.type} device",
        f"Num. features: {num_features}",
        f"Num. movies:   {num_movies}",
        f"Num. users:    {num_users}",
        f"Initial loss: {notebook_cost(X, W, b, Y, R, lambda_)}",
        "Epoch       Loss",
    ]
    optimizer = torch.optim.Adam(params=[X, W, b], lr=lr)
    for epoch in range(1, epochs + 1):
        cost_val = notebook_cost(X, W, b, Y, R, lambda_)
        optimizer.zero_grad()
        cost_val.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if epoch == 1 or epoch % every == 0:
            lines.append(f"{epoch:5}       {cost_val:.5f}")
    return NotebookRun(lines, X.detach(), W.detach(), b.detach())
