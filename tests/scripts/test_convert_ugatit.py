"""Official U-GAT-IT checkpoints become runs that test.py and train.py read, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import test as test_program
from benchmarks.ugatit_plain import PlainDiscriminator, PlainGenerator
from options.files import read_options
from scripts import convert_ugatit
from tests.conftest import SIZE

CH, LAYERS = 2, {"G": 7, "L": 5}


def official(file: Path, *, light: bool, prefix: str = "", **changes: object) -> dict[str, torch.nn.Module]:
    """A checkpoint as the official code saves it, of networks with torch's own spectral norm."""
    torch.manual_seed(0)
    nets: dict[str, torch.nn.Module] = {f"gen{way}": PlainGenerator(CH, 1, light, SIZE) for way in ("A2B", "B2A")}
    nets |= {f"dis{scale}{side}": PlainDiscriminator(CH, LAYERS[scale]) for scale in "GL" for side in "AB"}
    states = {
        name: {prefix + key: value for key, value in net.state_dict().items()} | changes for name, net in nets.items()
    }
    torch.save(states, file)
    return nets


@pytest.mark.parametrize(("light", "prefix"), [(True, ""), (False, "module.")])
def test_there_and_back(workdir, dataroot, light, prefix) -> None:
    nets = official(workdir / "in.pt", light=light, prefix=prefix)
    assert convert_ugatit.main(["in.pt", "--name", "theirs", "--epoch", "7", "--crop_size", str(SIZE)]) == 0
    options = read_options(workdir / "checkpoints" / "theirs")
    wanted = {"light": light, "ngf": CH, "ndf": CH, "n_res": 1, "n_layers_global": 7, "n_layers_local": 5}
    wanted |= {"model": "ugatit", "img_size": SIZE, "crop_size": SIZE, "load_size": SIZE + 30}
    assert {key: options[key] for key in wanted} == wanted
    argv = ["--name", "theirs", "--epoch", "7", "--dataroot", str(dataroot), "--num_test", "1", "--gpu_ids", "-1"]
    assert test_program.main(argv) == 0
    assert convert_ugatit.main(["--name", "theirs", "--epoch", "7", "--export", "out/x_params_0000007.pt"]) == 0
    written = torch.load("out/x_params_0000007.pt", weights_only=True)
    assert written.keys() == nets.keys()
    for name, net in nets.items():
        net.load_state_dict(written[name])  # strict, with torch's hooks for spectral norm
        for key, value in net.state_dict().items():
            assert torch.equal(value, written[name][key])


def converted(*argv: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert convert_ugatit.main(list(argv)) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_read_is_named_in_one_line(workdir, capsys) -> None:
    Path("text.pt").write_text("no checkpoint")
    torch.save({"genA2B": {}}, "part.pt")
    assert "text.pt: damaged" in converted("text.pt", "--name", "x", capsys=capsys)
    assert "lacks genB2A, disGA" in converted("part.pt", "--name", "x", capsys=capsys)
    assert "none.pt: there is no such file" in converted("none.pt", "--name", "x", capsys=capsys)
    official(Path("odd.pt"), light=True, surplus=torch.zeros(1))
    assert "surplus is (1,), where this network has nothing" in converted("odd.pt", "--name", "x", capsys=capsys)
    official(Path("shape.pt"), light=True, **{"FC.0.weight": torch.zeros(8, 24)})
    assert "24 columns" in converted("shape.pt", "--name", "x", capsys=capsys)
    assert "either" in converted("--name", "x", capsys=capsys)
    assert not Path("checkpoints/x").exists()
    official(Path("good.pt"), light=True)
    assert convert_ugatit.main(["good.pt", "--name", "x"]) == 0
    capsys.readouterr()
    assert "holds a run already" in converted("good.pt", "--name", "x", capsys=capsys)
    assert "2_net_G_A2B.pth" in converted("--name", "x", "--epoch", "2", "--export", "y.pt", capsys=capsys)


def test_what_the_official_code_cannot_build_is_not_written(workdir, capsys) -> None:
    official(Path("good.pt"), light=True)
    assert convert_ugatit.main(["good.pt", "--name", "x"]) == 0
    file = Path("checkpoints/x/train_opt.json")
    text = file.read_text()
    for change, flag in (
        (('"mlp_bias": false', '"mlp_bias": true'), "--mlp_bias"),
        (('"n_layers_global": 7', '"n_layers_global": 6'), "--n_layers_global 6"),
        (('"ndf": 2', '"ndf": 4'), "two widths"),
    ):
        assert change[0] in text
        file.write_text(text.replace(*change))
        capsys.readouterr()
        assert flag in converted("--name", "x", "--export", "y.pt", capsys=capsys)
    assert not Path("y.pt").exists()
