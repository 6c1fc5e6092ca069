"""SAGAN: what a step does, and what surrounds the published networks. Their numbers are in test_sagan_published.py."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

import train
from data import DATASETS
from models import MODELS
from models.sagan.networks import IMAGE_SIZES, SAGANDiscriminator, SAGANGenerator, SelfAttention, default_attention
from models.sagan.spectral import SNConv2d
from models.trained import load
from options.parse import parse_train
from options.schema import OptionError
from tests import class_run

SMALL = ["--model", "sagan", "--gpu_ids", "-1", "--image_size", "32", "--ngf", "4", "--ndf", "4", "--nz", "8"]


def build(*argv: str, classes: int = 3):
    words = [*SMALL, "--num_classes", str(classes), "--attn_res_G", "8", "--attn_res_D", "8", *argv]
    return train.build_model(words, dataset_size=8)


def batch(count: int, classes: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(count, 3, 32, 32, generator=generator) * 2 - 1
    return {"image": images, "label": torch.arange(count) % classes, "path": [f"{n}.png" for n in range(count)]}


def draws(model, count: int, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(count, model.options.nz, generator=generator)
    return z, torch.randint(model.options.num_classes, (count,), generator=generator)


def weights(net):
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


@pytest.mark.parametrize("size", IMAGE_SIZES)
@pytest.mark.parametrize("kind", ["paper", "pooled"])
def test_every_size_builds_and_fits_together(size, kind):
    how = {"image_size": size, "num_classes": 2, "attn_res": default_attention(size), "attn_kind": kind}
    G, D = SAGANGenerator(ngf=4, nz=5, **how), SAGANDiscriminator(ndf=8, **how)
    image = G(torch.randn(2, 5), torch.tensor([0, 1]))
    assert image.shape == (2, 3, size, size) and float(image.detach().abs().max()) <= 1
    assert D(image, torch.tensor([0, 1])).shape == (2, 1)
    assert hasattr(G, "attn") and hasattr(D, "attn")


def test_the_reference_has_the_published_number_of_parameters():
    how = {"num_classes": 1000}
    with torch.device("meta"):
        G, D = SAGANGenerator(**how), SAGANDiscriminator(**how)
    counts = [sum(parameter.numel() for parameter in net.parameters()) for net in (G, D)]
    assert counts == [42_078_852, 30_062_338]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--attn_res_G", "5"], "--attn_res_G 5: at --image_size 32 there are maps of 8, 16, 32 pixels"),
        (["--attn_res_D", "32"], "--attn_res_D 32: at --image_size 32 there are maps of 16, 8 pixels"),
        (["--image_size", "48"], "--image_size 48: give one of 32, 64, 128, 256"),
        (["--maps", "100"], "--maps 100: a multiple of 16"),
        (["--ndf", "2"], "self-attention needs 8 channels, and there are 4"),
        (["--num_classes", "0"], "--num_classes 0"),
        (["--diffaug", "colour"], "--diffaug colour.*color"),
        (["--gan_mode", "wgan"], "--gan_mode wgan"),
    ],
)
def test_what_cannot_be_built_is_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        build(*flags)


def test_no_attention_and_the_published_name_of_the_width():
    model = build("--attn_res_G", "0", "--attn_res_D", "0", "--maps", "64")
    assert not hasattr(model.networks["G"], "attn") and "attn_gamma_G" not in model.diagnostics()
    assert model.networks["G"].block1.conv1.in_channels == 4 * 4  # 64 / 16 = 4 times the 4 of 32 pixels


@pytest.mark.parametrize(("flags", "has"), [([], (1, 1)), (["--not_sn"], (0, 0)), (["--no_sn_D"], (1, 0))])
def test_spectral_norm_can_be_left_out(flags, has):
    networks = build(*flags).networks
    assert tuple(any(key.endswith(".u") for key in networks[name].state_dict()) for name in "GD") == has


def test_the_image_size_follows_either_flag_and_sets_the_other():
    for flag in ("--image_size", "--crop_size", "--image-size"):
        o = parse_train(["--model", "sagan", flag, "64"], MODELS, DATASETS)
        assert (o.model.image_size, o.data.crop_size, o.data.load_size) == (64, 64, 64)
    assert parse_train(["--model", "sagan"], MODELS, DATASETS).model.image_size == 128
    with pytest.raises(OptionError, match=r"--crop_size 64: --image_size 32 needs"):
        build("--crop_size", "64", "--load_size", "64")


def test_attention_is_the_explicit_softmax_over_the_keys():
    torch.manual_seed(0)
    attention = SelfAttention(16)
    torch.nn.init.constant_(attention.gamma, 0.7)
    attention.eval()
    x = torch.randn(2, 16, 4, 4)
    f, g, h = (layer(x).flatten(2) for layer in (attention.f, attention.g, attention.h))
    P = torch.softmax(torch.einsum("nci,ncj->nij", f, g), dim=1)  # every column j sums to 1
    o = torch.einsum("nci,nij->ncj", h, P).view_as(x)
    torch.testing.assert_close(attention(x), 0.7 * o + x, rtol=1e-5, atol=1e-5)


def test_pooled_attention_has_a_key_for_every_four_positions():
    torch.manual_seed(0)
    attention = SelfAttention(16, kind="pooled")
    torch.nn.init.constant_(attention.gamma, 0.7)
    attention.eval()
    x = torch.randn(2, 16, 4, 4)
    g = attention.g(x).flatten(2)
    f, h = (F.max_pool2d(layer(x), 2).flatten(2) for layer in (attention.f, attention.h))
    assert f.shape == (2, 2, 4) and h.shape == (2, 8, 4)
    P = torch.softmax(torch.einsum("nci,ncj->nij", f, g), dim=1)
    o = torch.einsum("nci,nij->ncj", h, P).view(2, 8, 4, 4)
    torch.testing.assert_close(attention(x), 0.7 * attention.out(o) + x, rtol=1e-5, atol=1e-5)


def test_spectral_norm_in_test_mode_makes_the_step_and_does_not_keep_it():
    torch.manual_seed(0)
    layer, x = SNConv2d(3, 5, 3), torch.randn(1, 3, 4, 4)
    u = layer.u.clone()
    layer.eval()
    first = layer(x)
    assert torch.equal(layer.u, u)
    layer.train()
    assert torch.equal(layer(x), first) and not torch.equal(layer.u, u)
    for _ in range(50):
        layer(x)
    largest = torch.linalg.svdvals(layer.weight.detach().flatten(1))[0]
    assert float(layer.sigma().detach()) == pytest.approx(float(largest), rel=1e-4)


def test_optimize_parameters_only_draws(monkeypatch):
    """n_critic updates of D, each with fresh images, then one of G; each of accum_grad micro-batches."""
    model = build("--n_critic", "2", "--accum_grad", "3", classes=3)
    calls = []

    def update(kind, names):
        def run(micro_batches):
            calls.append((kind, micro_batches))
            return dict.fromkeys(names, torch.tensor(1.0))

        return run

    monkeypatch.setattr(model, "update_D", update("D", ("D_real", "D_fake")))
    monkeypatch.setattr(model, "update_G", update("G", ("G",)))
    data = batch(12)
    before = [weights(net).clone() for net in model.networks.values()]
    model.set_input(data)
    assert list(model.optimize_parameters()) == ["G", "D_real", "D_fake"]
    assert all(torch.equal(a, weights(net)) for a, net in zip(before, model.networks.values()))
    assert [kind for kind, _ in calls] == ["D", "D", "G"] and [len(items) for _, items in calls] == [3, 3, 3]
    shown = torch.cat([images for kind, items in calls if kind == "D" for images, _, _, _ in items])
    assert torch.equal(shown, data["image"])
    noises = [item[-2] for _, items in calls for item in items]
    assert all(z.shape == (2, 8) for z in noises) and len({float(z[0, 0]) for z in noises}) == 9


def test_a_step_trains_as_often_as_it_says():
    model = build("--n_critic", "3", "--batch_size", "2")
    model.set_input(batch(6))
    model.optimize_parameters()
    steps = {name: int(next(iter(o.state.values()))["step"]) for name, o in model.optimizers.items()}
    assert steps == {"D": 3, "G": 1}


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(8, [[2, 2], [2, 2], [2, 2]]), (5, [[2, 2], [1], [1]]), (3, [[2, 1], [2, 1]]), (1, [[1], [1]])],
)
def test_an_incomplete_batch_keeps_the_size_of_its_micro_batches(count, sizes, monkeypatch):
    """Batch norm sees a micro-batch: the last batch of an epoch has fewer of them, not smaller ones."""
    model = build("--n_critic", "2", "--accum_grad", "2", "--batch_size", "2")
    seen = []
    for name, losses in (("update_D", ("D_real", "D_fake")), ("update_G", ("G",))):
        monkeypatch.setattr(
            model,
            name,
            lambda items, losses=losses: (
                seen.append([len(item[-1]) for item in items]) or dict.fromkeys(losses, torch.ones(()))
            ),
        )
    model.set_input({**batch(count), "global_size": count, "full_size": 8})
    model.optimize_parameters()
    assert seen == sizes


def test_what_is_no_batch_of_classes_is_refused():
    model = build()
    with pytest.raises(ValueError, match="--num_classes 3: the data have labels from 0 to 4"):
        model.set_input(batch(5, classes=5))
    with pytest.raises(ValueError, match=r"no labels.*class_folder"):
        model.set_input({key: value for key, value in batch(2).items() if key != "label"})
    with pytest.raises(ValueError, match="update_D: no micro-batches"):
        model.update_D([])


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_smaller_last_batch_is_used_as_far_as_it_goes(count):
    model = build("--n_critic", "2", "--accum_grad", "2")
    model.set_input(batch(count))
    assert all(torch.isfinite(loss) for loss in model.optimize_parameters().values())


def test_micro_batches_average_gradients():
    """Two micro-batches of an update of D are the mean of their gradients; the optimizer sees it once."""
    model, plain = build("--lr_D", "0.01"), build("--lr_D", "0.01")
    data = batch(6)
    z, y = draws(model, 6)
    items = [(data["image"][:4], data["label"][:4], z[:4], y[:4]), (data["image"][4:], data["label"][4:], z[4:], y[4:])]
    found = model.update_D(items)
    G, D = plain.networks["G"], plain.networks["D"]
    total = {"D_real": 0.0, "D_fake": 0.0}
    for images, labels, noise, classes in items:
        share = len(images) / 6
        with torch.no_grad():
            fake = G(noise, classes)
        real, fakes = F.relu(1 - D(images, labels)).mean(), F.relu(1 + D(fake, classes)).mean()
        ((real + fakes) * share).backward()
        total = {"D_real": total["D_real"] + real.item() * share, "D_fake": total["D_fake"] + fakes.item() * share}
    torch.optim.Adam(D.parameters(), lr=0.01, betas=(0.0, 0.999)).step()
    assert {key: float(value) for key, value in found.items()} == pytest.approx(total, rel=1e-5)
    torch.testing.assert_close(weights(model.networks["D"]), weights(D), rtol=1e-4, atol=1e-5)
    for name, value in plain.networks["D"].named_buffers():
        torch.testing.assert_close(model.networks["D"].get_buffer(name), value, rtol=1e-4, atol=1e-5)


def test_everything_that_D_sees_is_augmented(monkeypatch):
    model = build("--diffaug", "translation,cutout")
    seen, D = [], model.networks["D"]
    D.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach().clone()))
    data = batch(3)
    data["image"] = data["image"].clamp(0.1)  # none is 0
    model.update_D([(data["image"], data["label"], *draws(model, 3))])
    model.update_G([draws(model, 3)])
    assert len(seen) == 3 and all(float((images == 0).float().mean()) > 0.02 for images in seen)


def test_each_update_changes_its_own_network():
    model = build()
    before = {name: weights(net).clone() for name, net in model.networks.items()}
    data = batch(3)
    model.update_D([(data["image"], data["label"], *draws(model, 3))])
    changed = {name for name, net in model.networks.items() if not torch.equal(before[name], weights(net))}
    assert changed == {"D"}
    before = {name: weights(net).clone() for name, net in model.networks.items()}
    model.update_G([draws(model, 3)])
    changed = {name for name, net in model.networks.items() if not torch.equal(before[name], weights(net))}
    assert changed == {"G", "G_ema"}


def test_the_average_starts_late_and_has_statistics_without_their_start():
    model = build("--ema_decay", "0.5", "--ema_start", "1", "--lr_G", "0.01")
    G, average = model.networks["G"], model.networks["G_ema"]
    model.update_G([draws(model, 3)])
    assert torch.equal(weights(G), weights(average))
    first = weights(G).clone()
    model.update_G([draws(model, 3, seed=2)])
    torch.testing.assert_close(weights(average), (first + weights(G)) / 2)
    states = G.state_dict(), average.state_dict()
    left = 0.999**2  # of the variance 1 that G's statistics begin at
    for name, value in states[0].items():
        if name.endswith("running_var"):
            torch.testing.assert_close(states[1][name], (value - left) / (1 - left), rtol=1e-3, atol=1e-4)
            assert float(states[1][name].mean()) < 0.9 * float(value.mean())
        elif name.endswith("running_mean"):
            torch.testing.assert_close(states[1][name], value / (1 - left), rtol=1e-3, atol=1e-4)
        elif name in dict(G.named_buffers()):
            assert torch.equal(states[1][name], value)
    assert G.training and not average.training


def test_without_average_samples_come_from_G():
    assert set(build("--ema_decay", "0").networks) == {"G", "D"}
    model = build("--use_raw")
    assert set(model.networks) == {"G", "D", "G_ema"} and model.sampled == "G"
    state = {name: value.clone() for name, value in model.networks["G"].state_dict().items()}
    model.networks["G"].eval()
    model.sample(*draws(model, 2))
    assert all(torch.equal(value, state[name]) for name, value in model.networks["G"].state_dict().items())


def test_samples_of_a_training_with_raw_weights_do_not_depend_on_each_other():
    """G is in train mode while it trains, but its samples are those of a test."""
    model = build("--use_raw")
    z, y = draws(model, 3)
    state = {name: value.clone() for name, value in model.networks["G"].state_dict().items()}
    together = model.sample(z, y)
    torch.testing.assert_close(model.sample(z[:1], y[:1]), together[:1], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, state[name]) for name, value in model.networks["G"].state_dict().items())
    assert model.networks["G"].training


def test_one_class_is_training_without_classes():
    model = build(classes=1)
    assert not hasattr(model.networks["D"], "projection")
    model.set_input(batch(4, classes=3))  # what the data say of classes is passed over
    assert all(torch.isfinite(loss) for loss in model.optimize_parameters().values())
    numbers = model.diagnostics()
    assert numbers["spread_min"] == numbers["spread_mean"] > 0, "all samples are of the one class"
    assert model.extras()["samples"].shape[0] == 6 * (64 + 2) + 2, "no names below"


def test_distinct_labels_need_enough_classes():
    model = build("--label_sampling", "distinct")
    model.set_input(batch(4))
    with pytest.raises(ValueError, match=r"--label_sampling distinct: there are 3 classes for a --batch_size of 4"):
        model.optimize_parameters()
    auto = build()
    for count in (3, 4):
        _, labels = auto._draw(count)
        assert len(labels) == count and (count == 4 or len(set(labels.tolist())) == 3)


def test_an_image_of_another_size_is_refused():
    model = build()
    with pytest.raises(ValueError, match=r"images of 16: --image_size 32"):
        model.set_input({**batch(2), "image": torch.zeros(2, 3, 16, 16)})


def test_standing_statistics_are_those_of_the_samples():
    model = build("--ema_decay", "0")
    model.train(False)
    G = model.networks["G"]
    model.take_standing_statistics(3, seed=5)
    first = {name: value.clone() for name, value in G.named_buffers()}
    assert int(G.bn.num_batches_tracked) == 3 and not G.bn.training and G.bn.momentum == 0.001
    model.take_standing_statistics(3, seed=5)
    assert all(torch.equal(value, first[name]) for name, value in G.named_buffers())
    assert float(G.block1.ccbn1.norm.running_var.mean()) != 1.0


def test_a_run_that_is_opened_has_the_standing_statistics_that_were_asked_for(tmp_path):
    class_run.make_run(tmp_path)
    plain, standing = (
        load("run", checkpoints_dir=tmp_path / "checkpoints", flags=flags)
        for flags in ([], ["--standing_stats", "2", "--sample_seed", "5"])
    )
    z, y = torch.randn(2, plain.model.options.nz), torch.tensor([0, 2])
    before, after = (run.model.sample(z, y) for run in (plain, standing))
    assert not torch.equal(before, after)
    plain.model.take_standing_statistics(2, seed=5)
    assert torch.equal(plain.model.sample(z, y), after)


def test_a_compiled_network_can_be_used_twice_before_the_backward_pass():
    """D sees real images, then fakes: the vectors of the first pass must outlive the second."""
    torch.manual_seed(0)
    layer, plain, x = SelfAttention(8), SelfAttention(8), torch.randn(2, 8, 4, 4)
    plain.load_state_dict(layer.state_dict())
    layer.compile(backend="aot_eager_decomp_partition")  # divides the work as the real compiler, and compiles nothing
    for each in (layer, plain):
        torch.nn.init.ones_(each.gamma)
        (each(x).square().sum() + each(2 * x).sum()).backward()
    torch.testing.assert_close(layer.h.weight.grad, plain.h.weight.grad)
    torch.testing.assert_close(layer.h.u, plain.h.u)
