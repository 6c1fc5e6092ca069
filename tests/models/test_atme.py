"""ATME against its published iteration in plain torch; its memory, its state and its tracked maps."""

from __future__ import annotations

import copy
import dataclasses
import itertools

import pytest
import torch
import torch.nn.functional as F

import train
from models.atme.maps import ImageMaps
from tests.conftest import SIZE, trainable_args
from tests.golden_rules import fill, load_golden, uniform_input
from util.run.distributed import World
from util.run.engine import Engine
from util.run.state import load_training_state, training_state

N = 7
MAP = (2, 2)  # D's map of 32x32 images: 32 / 2**3 - 2


def build(*argv, images=N):
    return train.build_model(["--model", "atme", *trainable_args("atme"), *argv], dataset_size=images)


def make_batch(indices, epoch=1, size=SIZE):
    """Random images of these rows, other ones in every epoch, as with random crops."""
    images = [uniform_input((2, 3, size, size), seed=1000 * epoch + index) for index in indices]
    A, B = torch.stack(images, dim=1)
    paths = [f"train/{index}.png" for index in indices]
    return {"A": A, "B": B, "A_paths": paths, "B_paths": paths, "index": torch.tensor(indices)}


def run(model, *batches):
    losses = []
    for step, batch in enumerate(batches):
        torch.manual_seed(step)
        model.set_input(batch)
        losses.append({key: float(value) for key, value in model.optimize_parameters().items()})
    return losses


ORDER = [(1, [4, 0, 6]), (1, [2, 5, 1]), (1, [3]), (2, [1, 3, 4]), (2, [6, 2, 0]), (2, [5])]
BATCHES = [make_batch(indices, epoch) for epoch, indices in ORDER]


class PlainATME:
    """The published iteration: 1.3 forward, D's step, the step of W and G, then the memory."""

    def __init__(self, G, W, D, memory, lr):
        self.G, self.W, self.D, self.memory = G, W, D, memory
        self.optimizer_G = torch.optim.Adam(itertools.chain(W.parameters(), G.parameters()), lr=lr, betas=(0.5, 0.999))
        self.optimizer_D = torch.optim.Adam(D.parameters(), lr=lr, betas=(0.5, 0.999))

    def step(self, A, B, indices):
        D_before = self.memory[indices].clone()
        W_t = self.W(D_before, tuple(A.shape[2:]))
        fake = self.G(A * (1 + W_t), W_t)

        for p in self.D.parameters():
            p.requires_grad_(True)
        self.optimizer_D.zero_grad()
        on_fake, on_real = self.D(torch.cat([A, fake.detach()], 1)), self.D(torch.cat([A, B], 1))
        D_fake = F.binary_cross_entropy_with_logits(on_fake, torch.zeros_like(on_fake))
        D_real = F.binary_cross_entropy_with_logits(on_real, torch.ones_like(on_real))
        (0.5 * (D_fake + D_real)).backward()
        self.optimizer_D.step()

        for p in self.D.parameters():
            p.requires_grad_(False)
        self.optimizer_G.zero_grad()
        judged = self.D(torch.cat([A, fake], 1))
        G_GAN = F.binary_cross_entropy_with_logits(judged, torch.ones_like(judged))
        G_L1 = 100 * (fake - B).abs().mean()
        (G_GAN + G_L1).backward()
        self.optimizer_G.step()

        self.memory[indices] = judged.detach()
        losses = {"G_GAN": G_GAN, "G_L1": G_L1, "D_real": D_real, "D_fake": D_fake}
        return {key: float(value.detach()) for key, value in losses.items()}, W_t.detach()


def test_two_epochs_are_the_published_iteration():
    """7 images in batches of 3, 3 and 1: losses, W_t, weights and every row of the memory after every step."""
    model = build("--lr", "0.001")
    nets = {name: copy.deepcopy(model.networks[name]) for name in "GWD"}
    plain = PlainATME(**nets, memory=model.memory.maps.clone(), lr=0.001)
    start = plain.memory.clone()
    for number, batch in enumerate(BATCHES):
        indices = batch["index"]
        expected, W_t = plain.step(batch["A"], batch["B"], indices)
        (losses,) = run(model, batch)
        assert list(losses) == ["G_GAN", "G_L1", "D_real", "D_fake"]
        assert losses == pytest.approx(expected, rel=1e-4), number
        torch.testing.assert_close(model.W_t.detach(), W_t, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model.memory.maps, plain.memory, rtol=1e-4, atol=1e-5)
        seen = {index for _, each in ORDER[: number + 1] for index in each}
        assert all(torch.equal(model.memory.maps[i], start[i]) for i in range(N) if i not in seen)
        for name, net in nets.items():
            for (key, mine), theirs in zip(model.networks[name].named_parameters(), net.parameters()):
                torch.testing.assert_close(
                    mine, theirs, rtol=1e-4, atol=2e-5, msg=lambda text, key=key: f"{key} {text}"
                )
    changed = (model.memory.maps - start).abs().flatten(1).amax(1)
    assert float(changed.min()) > 0.1, "every row was written"


def test_one_optimizer_for_W_and_G_in_this_order_and_one_for_D():
    model = build()
    owned = {name: [id(p) for p in o.param_groups[0]["params"]] for name, o in model.optimizers.items()}
    ids = {name: [id(p) for p in net.parameters()] for name, net in model.networks.items()}
    assert list(model.networks) == ["G", "W", "D"] and owned == {"G": ids["W"] + ids["G"], "D": ids["D"]}
    for optimizer in model.optimizers.values():
        group = optimizer.param_groups[0]
        assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (2e-4, (0.5, 0.999), 1e-8, 0)


def test_the_forward_pass_is_that_of_the_published_networks():
    """W -> noisy -> G on one 256x256 image, with the weights and the map by rule."""
    entry, arrays = load_golden("atme/golden_atme")
    dims = ["--dim", "16", "--init_dim", "16", "--dim_mults", "1,2,4", "--groups", "4", "--ndf", "4"]
    argv = ["--model", "atme", "--gpu_ids", "-1", *dims]
    model = train.build_model(argv, dataset_size=2)
    fill(model.networks["G"])
    fill(model.networks["W"])
    model.memory.maps[1] = uniform_input((1, 30, 30), seed=1236)
    A = uniform_input((1, 3, 256, 256), seed=1234)
    model.set_input({"A": A, "B": A, "A_paths": ["train/b.png"], "B_paths": ["b"], "index": torch.tensor([1])})
    with torch.no_grad():
        model.forward()
    found = {"W": (model.W_t, 8), "noisy": (model.noisy_A, 8), "fake": (model.fake_B, 4)}
    for name, (mine, stride) in found.items():
        theirs = torch.from_numpy(arrays[f"atme_forward_small_{name}"])
        limit = 2e-4 * entry["networks"]["atme_forward_small"][name]["std"]
        assert float((mine[..., ::stride, ::stride] - theirs).abs().max()) <= limit, name
    assert float(model.noisy_A.abs().max()) > 1 and float(model.visuals()["noisy_A"].abs().max()) == 1.0


def test_visuals_in_the_published_order():
    model = build()
    run(model, BATCHES[0])
    shapes = {name: tuple(image.shape) for name, image in model.visuals().items()}
    rgb, grey = (3, 3, SIZE, SIZE), (3, 1, SIZE, SIZE)
    assert list(shapes) == ["real_A", "Disc_B", "noisy_A", "fake_B", "real_B"]
    assert shapes == {"real_A": rgb, "Disc_B": grey, "noisy_A": rgb, "fake_B": rgb, "real_B": rgb}


def test_three_steps_from_weights_by_rule_are_deterministic():
    found = []
    for seed in ("0", "5"):
        model = build("--seed", seed)
        for net in model.networks.values():
            fill(net)
        model.memory.maps.copy_(uniform_input((N, 1, *MAP)))
        losses = run(model, *BATCHES[:3])
        found.append((losses, model.memory.maps.clone(), [p.detach().clone() for p in model.netW.parameters()]))
    assert found[0][0] == found[1][0]
    assert torch.equal(found[0][1], found[1][1]) and all(map(torch.equal, found[0][2], found[1][2]))


@pytest.mark.parametrize(
    ("flags", "shape"),
    [
        (["--crop_size", "256"], (30, 30)),
        (["--crop_size", "128"], (14, 14)),
        (["--crop_size", "512", "--load_size", "512"], (62, 62)),
        (["--crop_size", "70"], (6, 6)),
        (["--crop_size", "256", "--netD", "n_layers", "--n_layers_D", "2"], (62, 62)),
        (["--crop_size", "256", "--netD", "pixel"], (256, 256)),
        (["--crop_size", "256", "--n_layers_D", "2"], (30, 30)),  # speaks to n_layers only
    ],
)
def test_the_memory_has_the_shape_of_Ds_map_as_soon_as_the_model_is_built(flags, shape):
    model = build("--load_size", "286", *flags)
    maps = model.memory.maps
    assert maps.shape == (N, 1, *shape) and maps.dtype == torch.float32 and not maps.requires_grad
    assert float(maps.min()) >= 0 and float(maps.max()) < 1 and float(maps.max()) > 0.5


def test_the_first_images_decide_where_no_crop_does():
    model = build("--preprocess", "none")
    assert model.memory is None
    model.check_size(64, 128)
    assert model.memory.shape == (6, 14)
    model.check_size(128, 64, what="a.png at")
    assert model.memory.shape == (14, 6), "nothing was trained on yet"
    model.begin_epoch(1)
    with pytest.raises(ValueError, match=r"^a.png at 128x64: .*images of one size: use --preprocess resize_and_crop"):
        model.check_size(64, 128, what="a.png at")


def test_images_of_another_size_are_refused_once_trained():
    model = build("--preprocess", "none")
    run(model, make_batch([0, 1]))
    with pytest.raises(ValueError, match=r"^train/2\.png at 64x64: .*--preprocess"):
        model.set_input(make_batch([2], size=64))


def test_the_initial_maps_depend_on_the_seed_alone():
    assert torch.equal(build().memory.maps, build("--ndf", "8", "--lr", "1").memory.maps)
    assert not torch.equal(build().memory.maps, build("--seed", "1").memory.maps)


def test_the_memory_is_read_by_index_and_never_part_of_a_graph():
    model = build()
    model.set_input(BATCHES[0])
    assert torch.equal(model.disc_B, model.memory.maps[[4, 0, 6]]) and not model.disc_B.requires_grad
    for batch in BATCHES:
        run(model, batch)
        assert not model.memory.maps.requires_grad and not model.disc_maps.requires_grad


def test_extra_state_has_the_memory_and_restores_its_bits(tmp_path):
    model = build("--n_save_noisy", "3")
    run(model, *BATCHES[:2])
    state = model.extra_state()
    assert set(state) == {"fake_pool", "monitor", "tracked", "disc_maps", "disc_map_owners"}
    assert state["disc_maps"].shape == (N, 1, *MAP) and state["disc_maps"].dtype == torch.float32
    torch.save(training_state(model), tmp_path / "state.pth")
    other = build("--n_save_noisy", "3", "--seed", "8")
    assert other.tracked_indices != model.tracked_indices
    for name, net in model.networks.items():
        other.networks[name].load_state_dict(net.state_dict())
    load_training_state(other, torch.load(tmp_path / "state.pth", weights_only=True))
    assert torch.equal(other.memory.maps, model.memory.maps) and other.tracked_indices == model.tracked_indices
    assert run(model, *BATCHES[2:]) == run(other, *BATCHES[2:])
    assert torch.equal(other.memory.maps, model.memory.maps)
    assert other.diagnostics() == model.diagnostics()


def test_a_state_that_comes_before_the_size_is_used_when_the_size_is_known():
    model = build()
    run(model, *BATCHES)
    other = build("--preprocess", "none", "--seed", "3")
    other.load_extra_state(model.extra_state())
    other.set_input(BATCHES[0])
    assert torch.equal(other.memory.maps, model.memory.maps)


def test_with_another_map_size_the_memory_starts_over(caplog):
    model = build()
    run(model, *BATCHES)
    other = build("--crop_size", "64", "--load_size", "64")
    before = other.memory.maps.clone()
    other.load_extra_state(model.extra_state())
    assert torch.equal(other.memory.maps, before) and "7 maps of D of 2x2, this run 7 of 6x6" in caplog.text
    run(other, make_batch([0, 1], size=64))


def test_tracked_images_are_distinct_and_drawn_by_the_seed():
    for seed in range(5):
        indices = build("--n_save_noisy", "6", "--seed", str(seed)).tracked_indices
        assert len(set(indices)) == 6 and min(indices) >= 0 and max(indices) < N
    draws = {tuple(build("--n_save_noisy", "2", "--seed", str(seed)).tracked_indices) for seed in range(5)}
    assert len(draws) > 1
    assert build("--n_save_noisy", "7").tracked_indices == list(range(N))


@pytest.mark.parametrize(("count", "kept"), [(2, 2), (3, 3), (5, 3), (0, 0)])
def test_with_another_number_of_tracked_images_the_old_ones_stay(count, kept):
    model = build("--n_save_noisy", "3")
    other = build("--n_save_noisy", str(count), "--seed", "8")
    other.load_extra_state(model.extra_state())
    assert len(set(other.tracked_indices)) == count == len(other.tracked_indices)
    assert len(set(other.tracked_indices) & set(model.tracked_indices)) == kept


def test_tracked_images_that_a_smaller_data_set_lacks_are_replaced():
    model, other = build("--n_save_noisy", "7"), build("--n_save_noisy", "3", images=4)
    other.load_extra_state({**model.extra_state(), "tracked": [5, 2, 6]})
    assert len(other.tracked_indices) == 3 and 2 in other.tracked_indices and max(other.tracked_indices) < 4


def test_all_tracked_images_of_a_batch_are_given_with_the_new_logits():
    model = build("--n_save_noisy", "4")
    model.tracked_indices = [0, 2, 4, 6]
    run(model, BATCHES[0])  # 4, 0, 6
    records = model.tracked_maps()
    assert [(record.index, record.path) for record in records] == [(i, f"train/{i}.png") for i in (4, 0, 6)]
    for row, record in enumerate(records):
        assert torch.equal(record.logits, model.memory.maps[record.index, 0])
        assert torch.equal(record.W, model.W_t[row, 0]) and not record.W.requires_grad
    assert build().tracked_maps() == []


@pytest.mark.parametrize("head", ["resnet", "conv", "conv_clamp"])
def test_each_head_trains_the_generator_and_W(head):
    trained_by(build("--atme_head", head), "GWD")


@pytest.mark.parametrize("w", ["none", "noise", "identity", "bilinear"])
def test_each_W_without_parameters_trains_the_generator(w):
    model = build("--atme_w", w)
    assert not list(model.netW.parameters()) and list(model.networks) == ["G", "W", "D"]
    trained_by(model, "GD")
    assert (float(model.W_t.abs().max()) == 0) is (w == "none") and float(model.W_t.abs().max()) <= 1
    other = build("--atme_w", w, "--seed", "1")
    for name, net in model.networks.items():
        other.networks[name].load_state_dict(net.state_dict())
    load_training_state(other, copy.deepcopy(training_state(model)))
    assert run(model, BATCHES[1]) == run(other, BATCHES[1])


def trained_by(model, names):
    before = {name: copy.deepcopy(dict(model.networks[name].named_parameters())) for name in names}
    losses = run(model, BATCHES[0])[0]
    assert all(0 < value < 1000 for value in losses.values())
    for name, old in before.items():
        for key, now in model.networks[name].named_parameters():  # a bias before a norm may not move
            assert now.ndim == 1 or not torch.equal(old[key], now), f"{name}.{key}"


def test_the_monitor_sees_every_step_with_the_weight_of_its_images():
    model = build()
    losses = run(model, *BATCHES[:3])  # 3 + 3 + 1 images
    report = model.diagnostics()
    expected = sum(n * (each["D_real"] + each["D_fake"]) for n, each in zip((3, 3, 1), losses)) / 7
    assert report["D_sum"] == pytest.approx(expected, rel=1e-5) and report["collapsed"] == 0
    x = model.memory.maps
    p = torch.sigmoid(x)
    by_row = -(p * p.log() + (1 - p) * (1 - p).log()).flatten(1).mean(1)
    assert report["D_entropy"] == pytest.approx(float(by_row.mean()), rel=1e-5)
    assert model.diagnostics() == {}


def test_the_monitor_compares_with_the_targets():
    model = build()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.atme.collapse.SATURATED", -1.0)  # every picture is, and so are the targets
        run(model, BATCHES[0])
    report = model.diagnostics()
    assert report["saturated"] == 1 and report["collapsed"] == 0


def test_a_state_of_two_processes_holds_the_images_of_both(monkeypatch):
    """Both have seen 3 images when it is saved, go on with it, and see 3 more, of losses 0."""
    model = build()
    losses = run(model, BATCHES[0])[0]
    model.engine = dataclasses.replace(model.engine, world=World(0, 2))
    monkeypatch.setattr(Engine, "gather", lambda self, value: [value, value])
    state = model.extra_state()
    model.load_extra_state(state)
    nought = torch.zeros(())
    model.monitor.update(nought, nought, torch.zeros(3, 3, 4, 4), torch.zeros(3, 1, 2, 2), weight=3)
    assert model.diagnostics()["D_sum"] == pytest.approx((losses["D_real"] + losses["D_fake"]) / 2, rel=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--netD", "multiscale"], "--netD multiscale: ATME needs a discriminator with one map"),
        (["--netD", "ms3"], "--netD ms3: ATME needs a discriminator with one map"),
        (["--netD", "sesame"], "--netD sesame: ATME needs a discriminator with one map"),
        (["--lambda_GAN", "0"], "--lambda_GAN 0: ATME's generator depends on D's maps"),
        (["--lambda_feat", "10"], "--lambda_feat 10: ATME has no feature matching"),
        (["--netG", "unet_128"], "--netG unet_128: ATME's generator is unet_256_ddm"),
    ],
)
def test_what_atme_has_no_use_for_is_refused(words, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        build(*words)


def test_a_discriminator_with_several_maps_is_refused():
    maps = ImageMaps(lambda: lambda x: [x, x], 6, netD="new", test_map="zero", engine=Engine())
    with pytest.raises(ValueError, match=r"^--netD new: ATME needs a discriminator with one map"):
        maps.shape(64, 64)


def test_the_shape_of_the_maps_can_be_asked():
    assert build().maps.shape(256, 128) == (30, 14)
