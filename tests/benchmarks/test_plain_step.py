from __future__ import annotations

import json

import pytest
import torch

import train
from benchmarks import atme_plain, pix2pix_plain, plain_step


def test_the_forms_of_a_step_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain: 8 passes of the generators, and backward into them from D's step too; checkpointing: forward twice."""
    gflop = {}
    for form in plain_step.FORMS:
        argv = ["--crop_size", "96", "--ch", "2", "--n_res", "1", "--light", "--gpu_ids=-1", "--seconds", "0.01"]
        assert plain_step.main([*argv, "--models", "ugatit", "--form", form]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["seconds"] > 0 and found["peak_mb"] > found["step_mb"]
        gflop[form] = found["gflop"]
    assert gflop["ours"] < gflop["checkpointing"] < gflop["plain"]


def test_ratios_are_those_of_plain_to_each_form() -> None:
    numbers = {"seconds": 2.0, "gflop": 1.0, "step_mb": 300.0, "peak_mb": 900.0}
    slow = [dict(numbers, seconds=seconds) for seconds in (3.0, 2.0, 50.0)]
    lines = plain_step.rows("pix2pix", {"plain": slow, "ours": [numbers]})
    assert lines == [
        "| pix2pix | plain | 3.000 |  | 1.0 | 300 |  | 900 |",
        "| pix2pix | ours | 2.000 | 1.50 | 1.0 | 300 | 1.00 | 900 |",
    ]


@pytest.mark.parametrize("name", ["pix2pix", "cycle_gan"])
def test_the_plain_step_gives_the_same_losses(name: str) -> None:
    """Two steps, so that the first update counts; dropout off, as its random numbers differ."""
    size = 256 if name == "pix2pix" else 32
    argv = ["--model", name, "--gpu_ids=-1", "--crop_size", str(size), "--load_size", str(size)]
    ours = train.build_model([*argv, "--ngf", "2", "--ndf", "2", "--no_dropout"], dataset_size=1)
    nets = pix2pix_plain.plain_networks(name, 2)
    for key, net in nets.items():
        with torch.no_grad():
            for own, theirs in zip(ours.networks[key].parameters(), net.parameters(), strict=True):
                theirs.copy_(own)
        for module in net.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
    plain = pix2pix_plain.PlainTraining(nets)
    random = torch.Generator().manual_seed(0)
    A, B = (torch.rand(1, 3, size, size, generator=random) * 2 - 1 for _ in range(2))
    for _ in range(2):
        ours.set_input({"A": A, "B": B, "A_paths": ["a"], "B_paths": ["b"]})
        found, wanted = ours.optimize_parameters(), plain.step(A, B)
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            assert float(found[key]) == pytest.approx(value, rel=2e-3), key


def test_the_plain_step_of_atme_gives_the_same_losses() -> None:
    """Two steps at 32 pixels: the second reads the map that the first one's discriminator left."""
    size = 32
    argv = ["--model", "atme", "--gpu_ids=-1", "--crop_size", str(size), "--load_size", str(size)]
    argv += ["--dim", "8", "--init_dim", "8", "--ndf", "8"]
    ours = train.build_model(argv, dataset_size=1)
    nets = atme_plain.plain_networks(8, size)
    for key, net in nets.items():
        net.load_state_dict(ours.networks[key].state_dict())
    random = torch.Generator().manual_seed(0)
    A, B = (torch.rand(1, 3, size, size, generator=random) * 2 - 1 for _ in range(2))
    batch = {"A": A, "B": B, "A_paths": ["a"], "B_paths": ["b"], "index": torch.tensor([0])}
    ours.set_input(batch)
    plain = atme_plain.PlainTraining(nets, ours.maps.current.clone())  # type: ignore[attr-defined]
    for _ in range(2):
        ours.set_input(batch)
        found, wanted = ours.optimize_parameters(), plain.step(A, B)
        assert wanted.keys() <= found.keys()
        for key, value in wanted.items():
            assert float(found[key]) == pytest.approx(value, rel=2e-3), key
