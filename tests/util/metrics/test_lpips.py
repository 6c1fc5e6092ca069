"""LPIPS against a second calculation from the same files: torchvision's layers and the linear heads of torchmetrics."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchmetrics
import torchvision

from tests.measuring import CPU, draw
from util.metrics.distances import Lpips
from util.metrics.images import MadeImages
from util.metrics.paired import paired
from util.run.pretrained import MissingWeights

HEADS = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
NETS = {"alex": ("alexnet", (1, 4, 7, 9, 11)), "squeeze": ("squeezenet1_1", (1, 4, 7, 9, 10, 11, 12))}


def random_backbone(net):
    """``.features`` of torchvision's network, in evaluation mode, with random weights that keep the signal's scale."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        features = getattr(torchvision.models, NETS[net][0])(weights=None).features
        for module in features.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                torch.nn.init.uniform_(module.bias, -0.1, 0.1)
    return features.eval()


@pytest.fixture(scope="module", params=sorted(NETS))
def backbone(request, tmp_path_factory):
    features = random_backbone(request.param)
    file = tmp_path_factory.mktemp("weights") / f"{request.param}.pth"
    torch.save(features.state_dict(), file)
    return request.param, features, file


def image(kind, seed, size=48):
    return torch.from_numpy(draw(kind, seed, size)).permute(2, 0, 1)[None].float()


def by_hand(net, features, a, b):
    """Zhang et al. 2018, Eq. (1): unit vectors of every layer, squared differences, weighted, mean over the places."""
    heads = torch.load(HEADS / f"{net}.pth", map_location="cpu", weights_only=True)
    shift = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
    scale = torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1)
    x, y = (((side / 255 * 2 - 1) - shift) / scale for side in (a, b))
    total, kept = 0.0, NETS[net][1]
    with torch.no_grad():
        for place, layer in enumerate(features[: kept[-1] + 1]):
            x, y = layer(x), layer(y)
            if place in kept:
                unit = [side / (side.norm(dim=1, keepdim=True) + 1e-10) for side in (x, y)]
                weights = heads[f"lin{kept.index(place)}.model.1.weight"].flatten()
                total += float(((unit[0] - unit[1]) ** 2).mean(dim=(0, 2, 3)) @ weights)
    return total


def test_equals_the_calculation_by_hand(backbone):
    net, features, file = backbone
    lpips = Lpips(net, CPU, str(file))
    for a, b in ((("boxes", 1), ("boxes", 2)), (("boxes", 1), ("discs", 1)), (("discs", 3), ("discs", 4))):
        a, b = image(*a), image(*b)
        expected = by_hand(net, features, a, b)
        assert expected > 0.01 and lpips(a, b) == pytest.approx(expected, rel=1e-4)


def test_equal_images_have_no_distance(backbone):
    net, _, file = backbone
    assert Lpips(net, CPU, str(file))(image("boxes", 1), image("boxes", 1)) == 0


def test_whole_model_and_features_alone_are_the_same(backbone, tmp_path):
    net, features, file = backbone
    whole = {f"features.{name}": value for name, value in features.state_dict().items()}
    torch.save({**whole, "classifier.1.weight": torch.zeros(3)}, tmp_path / "whole.pth")
    first, second = Lpips(net, CPU, str(file)), Lpips(net, CPU, str(tmp_path / "whole.pth"))
    pair = image("boxes", 1), image("discs", 2)
    assert first(*pair) == second(*pair) and first.sha256 == second.sha256


def test_other_weights_give_another_distance_and_another_hash(backbone, tmp_path):
    net, features, file = backbone
    other = {name: value * 1.5 if name == "0.bias" else value for name, value in features.state_dict().items()}
    torch.save(other, tmp_path / "other.pth")
    first, second = Lpips(net, CPU, str(file)), Lpips(net, CPU, str(tmp_path / "other.pth"))
    pair = image("boxes", 1), image("discs", 2)
    assert first(*pair) != second(*pair) and first.sha256 != second.sha256


def test_mean_and_protocol(backbone):
    net, _, file = backbone
    lpips = Lpips(net, CPU, str(file))
    fake = MadeImages("f", {"x": draw("boxes", 1, 48), "y": draw("boxes", 2, 48)})
    real = MadeImages("r", {"x": draw("boxes", 1, 48), "y": draw("discs", 2, 48)})
    found = paired(fake, real, ["lpips", "l1"], lpips=lpips, progress=False)["lpips"]
    distance = lpips(image("boxes", 2), image("discs", 2))
    assert found.value == pytest.approx(distance / 2) and found.std == pytest.approx(distance / 2)
    assert found.notes == () and found.protocol["pairs"] == 2
    assert (found.protocol["lpips_net"], found.protocol["weights_sha256"]) == (net, lpips.sha256)


def test_too_small_an_image_is_refused(backbone):
    net, _, file = backbone
    side = MadeImages("f", {"x": draw("boxes", 1, 31)})
    with pytest.raises(ValueError, match="x has 31 pixels; lpips needs 32"):
        paired(side, side, ["lpips"], lpips=Lpips(net, CPU, str(file)), progress=False)
    side = MadeImages("f", {"x": draw("boxes", 1, 32)})
    assert paired(side, side, ["lpips"], lpips=Lpips(net, CPU, str(file)), progress=False)["lpips"].value == 0


def test_smallest_image_passes_every_backbone():
    """32 pixels are enough for all three; a pooling layer of a smaller image would have no output."""
    for name, last in (("alexnet", 12), ("vgg16", 30), ("squeezenet1_1", 13)):
        features = getattr(torchvision.models, name)(weights=None).features[:last].eval()
        with torch.no_grad():
            assert features(torch.zeros(1, 3, 32, 32)).numel() > 0


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"0.weight": torch.zeros(64, 3, 5, 5)}, "not torchvision's alexnet"),
        ({"0.weight": 3}, "not a state_dict"),
        ([torch.zeros(1)], "not a state_dict"),
        (b"no file of torch", "damaged or no file of weights"),
        (b"", "damaged or no file of weights"),
    ],
)
def test_wrong_file_is_refused_by_name(content, part, tmp_path):
    file = tmp_path / "w.pth"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(ValueError) as error:
        Lpips("alex", CPU, str(file))
    assert str(error.value).startswith(f"--lpips_weights {file}: ") and part in str(error.value)


def test_weights_of_another_backbone_are_refused(tmp_path):
    torch.save(random_backbone("squeeze").state_dict(), tmp_path / "squeeze.pth")
    with pytest.raises(ValueError, match="not torchvision's vgg16"):
        Lpips("vgg", CPU, str(tmp_path / "squeeze.pth"))


def test_layer_of_another_shape_is_refused(tmp_path):
    state = random_backbone("squeeze").state_dict()
    torch.save({**state, "0.weight": torch.zeros(64, 3, 5, 5)}, tmp_path / "squeeze.pth")
    with pytest.raises(ValueError, match="not torchvision's squeezenet1_1"):
        Lpips("squeeze", CPU, str(tmp_path / "squeeze.pth"))


def test_what_is_missing_is_told():
    with pytest.raises(FileNotFoundError, match=r"--lpips_weights nowhere\.pth"):
        Lpips("alex", CPU, "nowhere.pth")
    with pytest.raises(MissingWeights, match=r"alexnet.*no network in tests.*--lpips_weights FILE"):
        Lpips("alex", CPU)
    with pytest.raises(ValueError, match=r"--lpips_net vgg19.*vgg"):
        Lpips("vgg19", CPU)


def test_a_download_that_was_cut_off_is_told(offline):
    folder = offline / "TORCH_HOME" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    (folder / url.rsplit("/", 1)[1]).write_bytes(b"PK\x03\x04 the first part")
    with pytest.raises(ValueError, match=r"squeezenet1_1 in .* is damaged; delete it"):
        Lpips("squeeze", CPU)
