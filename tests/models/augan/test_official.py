"""AU-GAN's TensorFlow weights: networks, discriminators and losses against what the published program gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import train
from models.augan.official import empty_networks, infer_options, recognise
from models.augan_model import AUGANOptions
from models.official.entries import OfficialFile
from options.schema import OptionError
from tests.official_golden import FOLDER, distance, golden, image, loaded, nchw, nhwc, stored

FILE = FOLDER / "cyclegan.model-1.index"
INDEX, OUTPUTS = golden("augan_tf", "outputs.npz")
IMAGES = {name: nchw(image(name, shape)) for name, shape in INDEX["inputs"].items()}
TENSORS = stored(dict(INDEX["variables"]))


def official() -> OfficialFile:
    found = recognise(TENSORS, FILE)
    assert found is not None
    found.check()
    return found


@pytest.fixture(scope="module")
def networks() -> dict[str, Any]:
    return loaded(official(), empty_networks(official().options, has_D=True))


def against(name: str, tensor: torch.Tensor, limit: float) -> None:
    array = nhwc(tensor)
    if name not in OUTPUTS:
        name, array = f"{name}_every4", array[:, ::4, ::4]
    assert distance(array, OUTPUTS[name]) < limit, name


def test_generators_give_the_published_numbers(networks) -> None:
    G_A, G_B = networks["G_A"], networks["G_B"]
    with torch.no_grad():
        A, B = G_A(IMAGES["real_A"]), G_B(IMAGES["real_B"])
        again_A, again_B = G_B(A.fake), G_A(B.fake)
    found = {"fake_B": A.fake, "rec_A": A.rec, "conf_A": A.conf, "fake_A": B.fake, "rec_B": B.rec}
    found |= {"fake_A_": again_A.fake, "rec_fake_B": again_A.rec, "fake_B_": again_B.fake, "rec_fake_A": again_B.rec}
    for name, tensor in found.items():
        against(name, tensor, 3e-5)
    features = {"enc_A": A.enc, "feat_A": A.feat, "enc_B": B.enc, "enc_fake_B": again_A.enc, "enc_fake_A": again_B.enc}
    for name, tensor in {**features, "feat_fake_A": again_B.feat}.items():
        against(name, tensor, 3e-4)


def test_padding_is_what_makes_the_difference(networks) -> None:
    plain = empty_networks({**official().options, "augan_padding": "torch"}, has_D=False)["G_B"].to_empty(device="cpu")
    plain.load_state_dict(networks["G_B"].state_dict())
    with torch.no_grad():
        fake = plain(IMAGES["real_B"], rec=False).fake
    assert distance(nhwc(fake), OUTPUTS["fake_A"]) > 1


@pytest.mark.parametrize(("domain", "network"), [("A", "D_B"), ("B", "D_A")])
def test_discriminators_give_the_published_numbers(networks, domain, network) -> None:
    with torch.no_grad():
        maps = networks[network](IMAGES[f"real_{domain}"])
    for number, logits in enumerate(maps):
        against(f"D{number // 2}_{domain}_real_scale{number % 2}", logits, 2e-5)


def test_a_step_has_the_published_losses(networks) -> None:
    flags = [f"--{key}={value}" for key, value in official().options.items()]
    calm = ["--gpu_ids=-1", "--feature_noise=0", "--pool_size=0"]
    model = train.build_model([*flags, *calm], dataset_size=1)
    for name, net in networks.items():
        model.networks[name].load_state_dict(net.state_dict())
    paths = {"A_paths": ["a.png"], "B_paths": ["b.png"]}
    model.set_input({"A": IMAGES["real_A"], "B": IMAGES["real_B"], **paths})
    _, losses = model.generator_losses()
    wanted = INDEX["losses"]
    same = {"Perc": "percep", "A_rec": "A_rec", "B_rec": "B_rec", "Conf": "Conf", "cycle_B": "cycle_B"}
    for ours, theirs in same.items():
        assert losses[ours].item() == pytest.approx(wanted[theirs], rel=1e-5), ours
    adversarial = (losses["G_A"] + losses["G_B"]).item()  # theirs: the sum over two discriminators a domain
    assert adversarial == pytest.approx(wanted["g_adv_total"], rel=1e-5)
    assert sum(loss.item() for loss in losses.values()) == pytest.approx(wanted["g_loss"], rel=1e-5)
    model.images = {"fake_A": IMAGES["fake_A_sample"], "fake_B": IMAGES["fake_B_sample"]}
    _, losses = model.discriminator_losses()  # theirs: a loss for each of the two, which share no weight
    ours = (losses["D_A"] + losses["D_B"]).item()
    assert 2 * ours == pytest.approx(wanted["d_loss_0"] + wanted["d_loss_1"], rel=1e-5)


def test_every_name_and_shape_is_checked() -> None:
    def refused(tensors: dict[str, Any]) -> str:
        with pytest.raises(ValueError) as caught:
            found = recognise(tensors, FILE)
            assert found is not None
            found.check()
        return str(caught.value)

    name = "generatorB2A/g_r8_rec_bn2/offset"
    assert f"there is no {name}" in refused({key: value for key, value in TENSORS.items() if key != name})
    assert f"{name} is 3, where this network of AU-GAN (TensorFlow) has 32" in refused(
        {**TENSORS, **stored({name: [3]})}
    )
    extra = "generatorB2A/g_t1/res1/g_t1_c1/Conv/weights"
    assert f"{extra} belongs to no network" in refused({**TENSORS, **stored({extra: [3, 3, 32, 32]})})
    third = "2_discriminatorA/d_pred_scale_0/Conv/weights"
    assert "3 discriminators a domain" in refused({**TENSORS, **stored({third: [4, 4, 64, 1]})})
    flat = {**TENSORS, **stored({"generatorA2B/g_e1_c/Conv/weights": [8]})}
    assert "g_e1_c/Conv/weights is 8" in refused(flat)
    assert recognise(stored({"some/kernel": [1]}), FILE) is None


def test_a_file_of_generators_alone_is_a_run_for_tests() -> None:
    generators = {name: tensor for name, tensor in TENSORS.items() if name.startswith("generator")}
    found = recognise(generators, FILE)
    assert found is not None and list(found.own) == ["G_A", "G_B"] and "no discriminators" in found.notes[0]
    found.check()
    assert "ndf" not in infer_options(generators, FILE)


def test_numbers_that_are_not_finite_are_refused() -> None:
    name = "generatorA2B/g_e1_bn/scale"
    broken = stored({name: [8]})[name]
    tensors = {**TENSORS, name: type(broken)((8,), np.dtype("f4"), lambda: np.full(8, np.nan, np.float32))}
    found = recognise(tensors, FILE)
    assert found is not None
    with pytest.raises(ValueError, match="g_e1_bn/scale has numbers that are not finite"):
        list(found.state("G_A"))


@pytest.mark.parametrize("other", [{"augan_variant": "port"}, {"norm": "none"}, {"upsample": "bilinear"}])
def test_tensorflows_padding_is_for_the_authors_generators(other) -> None:
    with pytest.raises(OptionError, match="--augan_padding tensorflow"):
        AUGANOptions(augan_padding="tensorflow", **other)
