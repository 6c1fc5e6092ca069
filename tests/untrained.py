"""Run folders with small, untrained networks: as good as trained ones for what the commands do with them."""

from __future__ import annotations

from pathlib import Path

import torch

from data import DATASETS
from models import MODELS
from options.files import write_options
from options.parse import parse_train
from tests.conftest import trainable_args
from util.run.engine import Engine


def make_run(folder: Path, model: str, *argv: str, name: str = "run", noise: float = 0.0) -> Path:
    """A run of a model in ``folder/checkpoints``, with batch norm's running statistics unlike those of a new network.

    Args:
        folder: that gets the run.
        model: as ``--model`` takes it.
        argv: further flags of the training.
        name: of the run.
        noise: standard deviation of what is added to every weight, so that classes differ as after a training.

    Returns:
        the folder of the run.
    """
    words = ["--name", name, "--model", model, "--dataroot", "nowhere", *trainable_args(model), *argv]
    options = parse_train(words, MODELS, DATASETS)
    torch.manual_seed(1)
    built = MODELS.get(model)(options.model, Engine())
    run = folder / "checkpoints" / name
    run.mkdir(parents=True)
    generator = torch.Generator().manual_seed(5)
    for key, net in built.networks.items():
        for parameter in net.parameters() if noise else ():
            parameter.data += noise * torch.randn(parameter.shape, generator=generator)
        for layer in net.modules():
            if isinstance(layer, torch.nn.BatchNorm2d) and layer.running_mean is not None:
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 1.5)
        torch.save(net.state_dict(), run / f"latest_net_{key}.pth")
    write_options(options.lasting, options.defaults, run, "train")
    return run
