"""What a checkpoint keeps of Adam, looked at before it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def check_moments(name: str, optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Refuse the state of an optimizer whose parameters have another order or other shapes.

    Raises:
        ValueError: naming the optimizer.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    kept = [state["state"].get(number, {}).get("exp_avg") for number in numbers]
    fits = len(parameters) == len(kept) and all(
        moments is None or moments.shape == parameter.shape for parameter, moments in zip(parameters, kept)
    )
    if not fits:
        raise ValueError(
            f"the state of optimizer {name} belongs to another network, with its layers in another order: give the "
            "flags that it was trained with, see train_opt.txt"
        )
