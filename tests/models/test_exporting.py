"""Files of generators: every network at other batches and sizes than its example, what was frozen, what is refused."""

from __future__ import annotations

import json
import threading
import warnings
import zipfile

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from data.transforms import normalise
from models import exported, exporting
from models.atme.unet import _group_norm
from models.atme.w_block import ResizeTo, WBlock
from models.exported import ENGINES, Facts, facts_of, load_exported, open_exported
from models.generators import Generator, generator_of
from models.networks.unet import UNetGenerator
from tests.models.test_generators import opened
from util.images.io import read_image, write_image
from util.images.labels import displayed
from util.run.sides import SideFormat

BARE = {
    "name": "x",
    "tag": "1",
    "model": "m",
    "direction": "AtoB",
    "inputs": ("image",),
    "outputs": ("fake_B",),
}
TOLERANCE = 1e-5  # of values in [-1, 1]; measured 4e-6 at most
SMALL_UNET = {"num_downs": 2, "ngf": 4}


def graph_of(generator, run=None, **how):
    """What is frozen and the graph; of a bare generator with facts of its own."""
    size = how.pop("size", None)
    with exporting.frozen(generator) as told:
        if run is not None:
            facts = exporting.facts_of_run(run, "latest", generator, told, **how)
        else:
            names = {"name": "x", "tag": "latest", "model": "pix2pix", "direction": "AtoB", "frozen": told}
            shapes = {"multiple": generator.multiple, "minimum": generator.minimum}
            facts = Facts(
                **names,
                **shapes,
                inputs=generator.inputs,
                outputs=generator.outputs,
                source=generator.source,
                target=generator.target,
                **how,
            )
        return exporting.traced(generator, facts, size=size)


def bare(net, *, multiple=1, minimum=1, source=None, target=None):
    """A network as a generator."""

    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, image):
            return (self.net(image),)

    sides = source or SideFormat("uint8"), target or SideFormat("uint8")
    size = {"multiple": multiple, "minimum": minimum}
    return Generator(module=Module(), inputs=("image",), outputs=("fake_B",), source=sides[0], target=sides[1], **size)


def apart(generator, file, engine, tries=None):
    """The largest difference between a file and the module, picture by picture, over other batches and sizes."""
    session, facts = open_exported(file, engine, 1)
    worst = 0.0
    for batch, size in tries or exporting.other_sizes(generator, facts):
        inputs = exporting.example_of(generator, facts, batch=batch, size=size, seed=3)
        wanted = exporting.expected(generator, facts, inputs)
        found = session([each.numpy() for each in inputs])
        assert [each.shape for each in found] == [each.shape for each in wanted]
        pairs = enumerate(zip(wanted, found))
        worst = max([worst, *(exporting.differences(facts, place, *pair)[0] for place, pair in pairs)])
    return worst


CASES = {
    "cycle_gan": ("cycle_gan", ("--netG", "resnet_6blocks"), "BtoA", ("batch", "height", "width")),
    "augan of the port": ("augan", ("--augan_variant", "port"), "AtoB", ("batch", "height", "width")),
    "ugatit": ("ugatit", (), "AtoB", ("batch",)),
    "sagan": ("sagan", (), "AtoB", ("batch",)),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_network_in_onnx_at_other_batches_and_sizes(case, workdir):
    name, flags, direction, free = CASES[case]
    run = opened(name, workdir, *flags)
    generator = generator_of(run, direction)
    graph = graph_of(generator, run, direction=direction)
    assert graph.facts.dynamic == free
    (file,) = exporting.write(graph, workdir / "g.onnx", "onnx")
    assert apart(generator, file, "onnxruntime") < TOLERANCE
    assert sorted(each.name for each in workdir.iterdir()) == ["g.onnx"]


@pytest.mark.slow
def test_atme_has_a_free_batch_and_its_generator_is_one_graph(workdir):
    """Group norm with the samples folded into its groups fixed the batch to the example's, without a word."""
    run = opened("atme", workdir)
    generator = generator_of(run)
    graph = graph_of(generator, run)
    assert graph.facts.outputs == ("fake_B", "Disc_B") and graph.facts.frozen["noise"].startswith("off")
    (file,) = exporting.write(graph, workdir / "g.pt2", "torch")
    assert apart(generator, file, "torch", [(1, (26, 24)), (3, (24, 34))]) < TOLERANCE


def test_w_rounds_sizes_up_in_onnx_too(workdir):
    """ONNX divides towards zero: -(-26 // 4) was 6 there, and the map of W another."""
    torch.manual_seed(0)
    w = WBlock()

    class OfConstant(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = w

        def forward(self, x):
            return self.w(x.new_full((x.shape[0], 1, 1, 1), 0.5), (x.shape[2], x.shape[3]))

    assert ResizeTo(4)(torch.zeros(1, 1, 1, 1), (26, 24)).shape[2:] == (7, 6)
    generator = bare(OfConstant(), multiple=2, minimum=8)
    (file,) = exporting.write(graph_of(generator), workdir / "g.onnx", "onnx")
    assert apart(generator, file, "onnxruntime", [(1, (26, 24)), (3, (24, 34))]) < TOLERANCE


@pytest.mark.slow
def test_a_network_that_leaves_autocast_can_be_loaded_again(workdir):
    """torch does not load what it saved with a context of autocast in it."""
    run = opened("ugatit", workdir, "--light")
    generator = generator_of(run)
    (file,) = exporting.write(graph_of(generator, run), workdir / "g.pt2", "torch")
    assert apart(generator, file, "torch") < TOLERANCE


def test_group_norm_is_the_same_in_both_forms(monkeypatch):
    x, gain, offset = torch.randn(3, 8, 4, 5), torch.randn(3, 8), torch.randn(3, 8)
    folded = _group_norm(x, 2, gain, offset)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(_group_norm(x, 2, gain, offset), folded, rtol=1e-5, atol=2e-6)


# --- what is frozen ---------------------------------------------------------------------------------------------------


@pytest.fixture()
def unet():
    torch.manual_seed(0)
    net = UNetGenerator(3, 3, **SMALL_UNET)
    with torch.no_grad():
        for norm in (each for each in net.modules() if isinstance(each, nn.BatchNorm2d)):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return net


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_is_frozen_in_the_mode_of_the_run(unet, training, workdir):
    """In train mode torch's exporter would write the running statistics without a word."""
    generator = bare(unet.train(training), multiple=4, minimum=4)
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    graph = graph_of(generator)
    assert graph.facts.frozen["batch_norm"].startswith("statistics of each picture" if training else "running stat")
    (file,) = exporting.write(graph, workdir / "g.onnx", "onnx")
    for name, value in unet.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(each.training == training for each in unet.modules())
    session, facts = open_exported(file, "onnxruntime")
    (x,) = exporting.example_of(generator, facts, batch=3, size=(8, 16), seed=1)
    with exporting.without_noise(generator), torch.no_grad():
        alone = torch.cat([unet(x[row : row + 1]) for row in range(3)]).numpy()
        other = unet.eval()(x).numpy() if training else unet.train()(x).numpy()
    (found,) = session([x.numpy()])
    assert np.abs(alone - found).max() < TOLERANCE
    assert np.abs(other - found).max() > 0.01  # the other mode is something else


def test_dropout_is_off_and_that_is_said():
    unet = UNetGenerator(3, 3, num_downs=6, ngf=1, dropout=0.5)
    generator = bare(unet.train(), multiple=64, minimum=64)
    graph = graph_of(generator)
    assert graph.facts.frozen["dropout"].startswith("off; the run draws it")
    drawn = [node.args[2] for node in graph.program.graph.nodes if "dropout" in str(node.target)]
    assert drawn == [False]  # whether it is in train mode
    dropouts = [each for each in unet.modules() if isinstance(each, nn.Dropout)]
    assert dropouts and all(each.training for each in dropouts)  # as before
    with exporting.frozen(bare(unet.eval())) as told:
        assert told["dropout"] == "off"


def test_noise_of_a_run_is_off_or_refused(workdir):
    run = opened("stochastic", workdir, "--noise", "feature,weight")
    generator = generator_of(run)
    x = torch.rand(1, 3, 8, 8)
    with exporting.frozen(generator) as told, torch.no_grad():
        assert told["noise"].startswith("off")
        assert torch.equal(generator.module(x)[0], generator.module(x)[0])
    with torch.no_grad():
        assert not torch.equal(generator.module(x)[0], generator.module(x)[0])
    noise = generator_of(opened("atme", workdir, "--atme_w", "noise"))
    with pytest.raises(ValueError, match="draws its pictures from noise in every pass"), exporting.frozen(noise):
        pass


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_a_unet_takes_its_smallest_size_and_larger_ones(unet, workdir):
    """Exported with an example of its smallest size it would take that size only."""
    generator = bare(unet.eval(), multiple=4, minimum=4)
    (file,) = exporting.write(graph_of(generator), workdir / "g.pt2", "torch")
    assert apart(generator, file, "torch", [(1, (4, 4)), (2, (4, 12)), (5, (20, 8))]) < TOLERANCE


def test_a_fixed_size_is_checked_and_kept(unet, workdir):
    generator = bare(unet.eval(), multiple=4, minimum=8)
    graph = graph_of(generator, size=(8, 12))
    assert (graph.facts.dynamic, graph.facts.fixed_size) == (("batch",), (8, 12))
    (file,) = exporting.write(graph, workdir / "g.onnx", "onnx")
    assert apart(generator, file, "onnxruntime") < TOLERANCE
    loaded = load_exported(file)
    assert loaded.fixed_size == (8, 12)
    with pytest.raises(ValueError, match=r"g\.onnx: cannot be run on image \[1, 3, 8, 8\]"):
        loaded.module(torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="--size 4,10: this network takes multiples of 4 of at least 8; 8 and 12"):
        graph_of(generator, size=(4, 10))


def test_a_network_that_fixes_its_example_is_refused():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, 3, int(x.shape[-2]), -1)

    with pytest.raises(ValueError, match="fixes the size of its example"):
        graph_of(bare(Fixed()))


# --- processing in the graph ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (SideFormat("uint8"), SideFormat("uint8"), "uint8"),
        (SideFormat("uint16", (100.0, 4000.0)), SideFormat("uint16", (-1000.0, 2000.0)), "int16"),
        (SideFormat("float32", (-2.0, 3.0)), SideFormat("float32", (0.0, 50.0)), "float32"),
    ],
)
def test_processing_is_that_of_training_and_of_results(source, target, kind, workdir):
    """Identity network: what comes out is what normalise and write_image make of it."""
    generator = bare(nn.Identity(), multiple=4, minimum=8, source=source, target=target)
    (file,) = exporting.write(graph_of(generator, processing=True), workdir / "g.onnx", "onnx")
    session, facts = open_exported(file, "onnxruntime")
    (picture,) = exporting.example_of(generator, facts, batch=1, size=(3, 5), seed=2)
    (found,) = session([picture.numpy()])
    values = normalise(picture[0].numpy(), source.value_range)
    stored = write_image(workdir / "x.tif", values, target.format, value_range=target.value_range or None)
    assert found.dtype == kind
    np.testing.assert_allclose(found[0], read_image(stored).array, rtol=1e-5, atol=1e-4 if kind == "float32" else 0)


def test_a_picture_is_continued_by_reflection_whatever_its_size():
    facts = Facts(**BARE, source=SideFormat("uint8"), target=SideFormat("uint8"), multiple=4, minimum=8)
    places = [exporting.reflected(size, facts, torch.device("cpu")).tolist() for size in (1, 3, 8, 9)]
    assert places[0] == [0] * 8
    assert places[1] == [0, 1, 2, 1, 0, 1, 2, 1]
    assert places[2] == list(range(8))
    assert places[3] == [*range(9), 7, 6, 5]


LABELS = ["--input_nc", "2", "--label_nc_A", "2", "--output_nc", "4", "--label_nc_B", "4"]


def test_label_maps_are_told_in_the_facts(workdir):
    run = opened("pix2pix", workdir, *LABELS)
    generator = generator_of(run)
    with exporting.frozen(generator) as told:
        facts = exporting.facts_of_run(run, "latest", generator, told)
    usage = exported.usage_of(facts_of(facts.text(), workdir / "x"))
    assert "index maps of 2 labels: 1 in the channel of the label, else -1" in usage["in"]
    assert "[N, 4, H, W], a score for each of 4 labels" in usage["out"]
    red = np.stack([np.full((2, 3), score, np.float32) for score in (0, 1, -1, 0.5)])
    assert (displayed(red, facts.target.labels) == (128, 0, 0)).all()


class Scores(nn.Module):
    """Of two labels the scores of four: label 0 becomes 3; of label 1 the scores of 1 and 2 are equal."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 1, bias=False)
        self.conv.weight.data = torch.tensor([[0.0, 0], [0, 1], [0, 1], [1, 0]])[:, :, None, None]

    def forward(self, image):
        return self.conv(image)


@pytest.mark.parametrize("kind", exporting.SUFFIX)
def test_index_maps_go_in_and_out_of_the_graph(kind, workdir):
    sides = SideFormat("uint8", (), 2, labels=2), SideFormat("uint8", (), 4, labels=4)
    generator = bare(Scores(), multiple=4, minimum=8, source=sides[0], target=sides[1])
    file = exporting.write(graph_of(generator, processing=True), workdir / f"g{exporting.SUFFIX[kind]}", kind)[0]
    engine = next(name for name, suffixes in ENGINES.items() if file.suffix in suffixes)
    session, facts = open_exported(file, engine)
    labels = np.array([[[0, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]]], np.uint8)[..., None]
    (found,) = session([labels])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.where(labels == 0, 3, 1))
    assert apart(generator, file, engine) == 0
    assert "uint8 [N, H, W, 1], any size, labels 0 to 1 of an index map" in exported.usage_of(facts)["in"]
    assert exported.usage_of(facts)["out"] == "fake_B: uint8 [N, H, W, 1], labels 0 to 3 of an index map"


def test_differences_of_labels_are_the_share_of_pixels():
    facts = Facts(**BARE, source=SideFormat("uint8"), target=SideFormat("uint8", labels=9), processing=True)
    one, other = np.zeros((1, 2, 5, 1), np.uint8), np.zeros((1, 2, 5, 1), np.uint8)
    other[0, 1, 2] = 8
    assert exporting.differences(facts, 0, one, other) == (0.1, 0.1)
    assert exporting.allowed(facts, 0, 0.001) == 0.001
    assert exporting.differences(facts, 0, one, other[:, :1]) == (float("inf"), float("inf"))


class WithMap(nn.Module):
    """An image, and a map of a quarter of its size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        return self.conv(image).tanh(), F.avg_pool2d(image, 4)


@pytest.mark.parametrize("kind", exporting.SUFFIX)
def test_processing_with_maps_in_every_engine(kind, workdir):
    sides = SideFormat("uint8"), SideFormat("uint8")
    size = {"multiple": 4, "minimum": 8, "source": sides[0], "target": sides[1]}
    generator = Generator(module=WithMap(), inputs=("image",), outputs=("fake_B", "heat"), **size)
    graph = graph_of(generator, processing=True)
    file = exporting.write(graph, workdir / f"g{exporting.SUFFIX[kind]}", kind)[0]
    engine = next(name for name, suffixes in ENGINES.items() if file.suffix in suffixes)
    assert apart(generator, file, engine) <= 1 / 127.5 + TOLERANCE  # a level, where rounding falls the other way
    session = open_exported(file, engine)[0]
    assert [each.shape for each in session([np.zeros((2, 13, 9, 3), np.uint8)])] == [(2, 13, 9, 3), (2, 4, 3, 3)]
    with pytest.raises(ValueError, match="made by --with_processing"):
        load_exported(file, engine)


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def identity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    graph = graph_of(bare(nn.Conv2d(3, 3, 1)))
    return {kind: exporting.write(graph, folder / f"g{suffix}", kind)[0] for kind, suffix in exporting.SUFFIX.items()}


def test_one_file_or_two(identity, workdir):
    assert {each.name for each in identity["onnx"].parent.iterdir()} == {"g.onnx", "g.pt2", "g.xml", "g.bin"}
    graph = graph_of(bare(nn.Conv2d(3, 64, 3)))
    files = exporting.write(graph, workdir / "g.onnx", "onnx", external_data=True)
    assert [each.name for each in files] == ["g.onnx", "g.onnx.data"]
    assert load_exported(files[0]).module(torch.zeros(1, 3, 8, 8))[0].shape == (1, 64, 6, 6)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_opened_file_is_a_generator_for_several_threads(identity, engine):
    generator = load_exported(identity["torch" if engine == "torch" else "onnx"], engine, threads=1)
    assert (generator.inputs, generator.outputs) == (("image",), ("fake_B",))
    x = torch.randn(2, 3, 5, 6)
    wanted = generator.module(x)[0]
    made = {}
    threads = [
        threading.Thread(target=lambda number=number: made.update({number: generator.module(x * number)[0]}))
        for number in (0, 1)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    torch.testing.assert_close(made[1], wanted, rtol=0, atol=0)
    assert not torch.equal(made[0], wanted)


def test_metadata_can_be_read_without_this_code(identity):
    kept = {each.key: each.value for each in onnx.load(identity["onnx"]).metadata_props}
    facts = json.loads(kept["generator"])
    assert facts["usage"]["in"].startswith("float32 [N, 3, H, W], x = 2 (v - 0) / 255 - 1")
    assert (facts["multiple"], facts["source"]["format"]) == (1, "uint8")
    with zipfile.ZipFile(identity["torch"]) as archive:
        (member,) = [name for name in archive.namelist() if name.endswith("extra/generator")]
        assert json.loads(archive.read(member)) == facts
    names = [each.dim_param for each in onnx.load(identity["onnx"]).graph.input[0].type.tensor_type.shape.dim]
    assert names == ["batch", "", "height", "width"]


def test_foreign_and_damaged_files_are_refused_in_one_line(identity, workdir):
    for file in identity.values():
        data = file.read_bytes()
        damaged = workdir / file.name
        damaged.write_bytes(data[: len(data) // 2])
        engine = "openvino" if file.suffix == ".xml" else "torch" if file.suffix == ".pt2" else "onnxruntime"
        with pytest.raises(ValueError, match=rf"{file.name}: .*export the run again") as caught:
            load_exported(damaged, engine)
        assert "\n" not in str(caught.value)
    foreign = workdir / "foreign.onnx"
    model = onnx.load(identity["onnx"])
    del model.metadata_props[:]
    onnx.save(model, foreign)
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(ValueError, match=r"foreign\.onnx: no file of scripts/export\.py"):
            load_exported(foreign, engine)
    (workdir / "plain.pt2").write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"plain\.pt2: no file of scripts/export\.py"):
        load_exported(workdir / "plain.pt2", "torch")


def test_other_engines_directions_and_missing_files(identity, workdir):
    with pytest.raises(ValueError, match=r"--engine torch runs \.pt2 files; --engine onnxruntime or openvino runs it"):
        load_exported(identity["onnx"], "torch")
    with pytest.raises(ValueError, match="--engine tensorrt: choose one of torch, onnxruntime, openvino"):
        load_exported(identity["onnx"], "tensorrt")
    with pytest.raises(ValueError, match="translates AtoB, not BtoA"):
        load_exported(identity["onnx"], direction="BtoA")
    with pytest.raises(FileNotFoundError, match=r"none\.onnx: there is no such file; scripts/export\.py makes one"):
        load_exported(workdir / "none.onnx")


@pytest.mark.parametrize(
    "change",
    [
        {"version": 9},
        {"multiple": 0},
        {"minimum": 10**9},
        {"outputs": []},
        {"source": {"format": "complex"}},
        {"fixed_size": [4]},
        {"surprise": 1, "name": None, "inputs": None},
    ],
    ids=str,
)
def test_facts_that_cannot_be_are_refused(identity, change):
    facts = json.loads(graph_of(bare(nn.Identity())).facts.text())
    assert facts_of(json.dumps(facts), identity["onnx"]).multiple == 1
    with pytest.raises(ValueError, match=r"no file of scripts/export\.py, or damaged"):
        facts_of(json.dumps(facts | change), identity["onnx"])


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"need the package onnxscript: pip install onnxscript"):
        exporting.check_packages("onnx", "onnxruntime")
    exporting.check_packages("torch", "torch")


def test_a_torch_that_cannot_say_whether_it_exports_is_refused(monkeypatch):
    monkeypatch.delattr(torch.compiler, "is_exporting")
    with pytest.raises(ValueError, match=r"needs torch 2\.7 or newer; this is \d"):
        exporting.check_packages("torch", "torch")


def test_weights_beyond_two_gigabytes_need_a_second_file(workdir, monkeypatch):
    monkeypatch.setattr(exporting, "_LARGEST_ONNX", 10)
    with pytest.raises(ValueError, match="do not fit into one file; add --external_data"):
        exporting.write(graph_of(bare(nn.Conv2d(3, 3, 1))), workdir / "g.onnx", "onnx")
    assert not list(workdir.iterdir())


def test_the_digest_follows_the_weights():
    net = nn.Conv2d(3, 3, 1)
    before = exporting.digest(net)
    assert exporting.digest(net) == before
    with torch.no_grad():
        net.bias.add_(1)
    assert exporting.digest(net) != before


def test_openvino_computes_in_float32(identity, monkeypatch):
    """Its own choice is bfloat16 where the CPU has units for it."""
    import openvino

    asked = []
    compiled = openvino.compile_model
    monkeypatch.setattr(openvino, "compile_model", lambda model, *how: asked.append(how) or compiled(model, *how))
    exported.load_exported(identity["onnx"], "openvino", threads=2)
    assert asked == [("CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 2})]


def test_nothing_is_warned_of(workdir):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exporting.write(graph_of(bare(nn.Conv2d(3, 3, 1))), workdir / "g.onnx", "onnx")
