"""scripts/translate.py: the pictures of test.py for the same images, any size, any number; what is wrong is said."""

from __future__ import annotations

import errno
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import test as test_program
from models.translation import Translator
from scripts.translate import main
from tests.conftest import SIZE, draw_pair
from tests.untrained import make_run
from util.images.io import read_header, read_image

CPU = ["--gpu_ids", "-1"]


def translate(*words: object) -> int:
    return main([*CPU, "--name", "run", *map(str, words)])


def save_photos(folder: Path, count: int = 3, size: int = SIZE) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{number}.png" for number in range(count)]
    for number, file in enumerate(files):
        draw_pair(number, size).crop((0, 0, size, size)).save(file)
    return files


MODELS_AND_FLAGS = [
    ("pix2pix", ["--norm", "batch"], "fake_B"),  # dropout, and batch norm in train mode
    ("pix2pix", ["--eval"], "fake_B"),
    ("stochastic", [], "fake_B"),
    ("cycle_gan", [], "fake_B"),
    ("atme", [], "fake_B"),
    ("augan", ["--no_dropout"], "fake_B"),
    ("ugatit", [], "fake_B"),
    ("colorization", [], "fake_B_rgb"),
]


@pytest.mark.parametrize(("model", "flags", "visual"), MODELS_AND_FLAGS)
def test_pictures_are_those_of_test_py(model, flags, visual, workdir):
    training = [flag for flag in flags if flag != "--eval"]
    make_run(workdir, model, *training)
    save_photos(workdir / "photos")
    how = [] if model == "colorization" else ["--dataset_mode", "single"]
    tested = [*CPU, "--name", "run", "--dataroot", "photos", *how, *(["--eval"] if "--eval" in flags else [])]
    assert test_program.main(tested) == 0
    alone = ["--batch_size", "1", *(["--eval"] if "--eval" in flags else [])]
    assert translate("photos", "--output", "out", *alone) == 0
    for file in sorted((workdir / "out").iterdir()):
        expected = next((workdir / "results/run/test_latest/images").glob(f"{file.stem}_{visual}.png"))
        np.testing.assert_array_equal(np.asarray(Image.open(file)), np.asarray(Image.open(expected)))


def test_batches_give_the_same_as_single_pictures(workdir):
    """In the published mode too: each image of a batch has its own statistics and its own dropout."""
    make_run(workdir, "pix2pix", "--norm", "batch")
    save_photos(workdir / "photos", 5)
    assert translate("photos", "--output", "one", "--batch_size", "1") == 0
    assert translate("photos", "--output", "many", "--batch_size", "4") == 0
    for number in range(5):
        one, many = (np.asarray(Image.open(workdir / part / f"{number}.png")).astype(int) for part in ("one", "many"))
        assert np.abs(one - many).max() <= 1  # rounding of sums in another order


def test_a_folder_keeps_its_tree_and_sizes_and_a_broken_file_is_counted(workdir, said):
    make_run(workdir, "cycle_gan")
    sizes = {"a.jpg": (40, 33), "deep/b.png": (32, 32), "deep/er/c.webp": (1, 7), "deep/d.tif": (50, 20)}
    for name, size in sizes.items():
        (workdir / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 30, 90)).save(workdir / "in" / name)
    (workdir / "in/broken.png").write_bytes(b"no picture")
    (workdir / "in/deep/empty.jpg").touch()
    assert translate("in", "--output", "out", "--direction", "BtoA") == 1
    found = {file.relative_to(workdir / "out").as_posix(): Image.open(file).size for file in workdir.glob("out/**/*.*")}
    assert found == {Path(name).with_suffix(".png").as_posix(): size for name, size in sizes.items()}
    text = said()
    assert (
        "broken.png" in text
        and "empty.jpg" in text
        and "4 pictures: out; 2 more could not be translated, see above" in text
    )


def test_what_became_of_the_pictures_is_said_as_a_person_would(workdir, caplog):
    caplog.set_level("INFO")
    make_run(workdir, "cycle_gan")
    good = save_photos(workdir / "in", 1)[0]
    for name in ("x.png", "y.png"):
        (workdir / name).write_bytes(b"no picture")
    for words, code, sentence in (
        (["x.png", "--output", "z.png"], 1, "nothing was written: the picture failed"),
        (["x.png", "y.png", "--output", "out"], 1, "nothing was written: all 2 pictures failed"),
        ([good, "--output", "z.png"], 0, "1 picture: z.png"),
        ([good, "x.png", "--output", "out"], 1, "1 picture: out/0.png; 1 more could not be translated, see above"),
    ):
        assert translate(*words) == code
        assert caplog.messages[-1] == sentence


def test_names_from_standard_input_and_results_of_one_name(workdir, monkeypatch):
    make_run(workdir, "cycle_gan")
    first, second = save_photos(workdir / "x", 1)[0], save_photos(workdir / "y", 1)[0]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{first}\n\n{second}\n"))
    assert translate("-", "--output", "out") == 0
    assert sorted(file.name for file in (workdir / "out").iterdir()) == ["0.png", "0_png.png"]


def test_depth_range_and_place_on_the_map_are_kept(workdir):
    """16-bit values 0 to 1000 in and out; a GeoTIFF's place goes with the result."""
    words = ["--input_nc", "1", "--output_nc", "1", "--value_range", "0,1000", "--nodata_A", "0", "--nodata_B", "9"]
    make_run(workdir, "cycle_gan", *words)
    array = np.random.default_rng(0).integers(1, 1000, (20, 30)).astype(np.uint16)
    array[3:5, 2] = 0
    place = [(33550, "d", 3, (2.0, 2.0, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5.0, 6.0, 0.0), True)]
    tifffile.imwrite(workdir / "map.tif", array, extratags=place)
    assert translate("map.tif", "--output", "made.tif") == 0
    made = read_image(workdir / "made.tif")
    assert made.format == "uint16" and made.array.shape == (20, 30, 1) and made.array.max() <= 1000
    assert (made.array[array == 0] == 9).all() and made.nodata == 9
    geo = read_header(workdir / "made.tif").geo
    assert geo is not None and dict(geo.tags)[33922][3:5] == (5.0, 6.0)


def test_label_maps_in_and_out(workdir, said):
    """Labels of three kinds in, labels of five out: as test.py writes them."""
    make_run(
        workdir, "pix2pix", "--input_nc", "3", "--label_nc_A", "3", "--output_nc", "5", "--label_nc_B", "5", *KAIMING
    )
    labels = np.random.default_rng(0).integers(0, 3, (SIZE, SIZE)).astype(np.uint8)
    (workdir / "in").mkdir()
    Image.fromarray(labels).save(workdir / "in/a.png")
    tested = [*CPU, "--name", "run", "--dataroot", "in", "--dataset_mode", "single", "--eval"]
    assert test_program.main(tested) == 0
    assert translate("in", "--output", "out", "--eval") == 0
    made, expected = (Image.open(workdir / part) for part in ("out/a.png", EXPECTED_LABELS))
    assert made.mode == expected.mode == "P" and made.getpalette() == expected.getpalette()
    np.testing.assert_array_equal(np.asarray(made), np.asarray(expected))
    assert len(np.unique(np.asarray(made))) > 1 and np.asarray(made).max() < 5

    assert translate("in", "--output", "tiles", "--eval", "--tile", "16", "--overlap", "8") == 0
    assert Image.open(workdir / "tiles/a.png").mode == "P"
    assert translate("in", "--output", "tif", "--eval", "--format", "tif") == 0
    np.testing.assert_array_equal(read_image(workdir / "tif/a.tif").array[:, :, 0], np.asarray(made))
    assert translate("in", "--output", "jpg", "--eval", "--format", "jpg") == 0
    assert [file.name for file in (workdir / "jpg").iterdir()] == ["a.png"] and ".jpg cannot hold" in said()
    Image.fromarray(labels + 1).save(workdir / "in/b.png")
    assert translate("in/b.png", "--output", "bad", "--eval") == 1
    assert "in/b.png: has label 3, but --label_nc_A 3 allows 0 to 2" in said()


KAIMING = ["--init_type", "kaiming"]
EXPECTED_LABELS = "results/run/test_latest/images/a_fake_B.png"


@pytest.mark.parametrize(("format", "kind"), [("jpg", "JPEG"), ("webp", "WEBP"), ("tif", "TIFF"), ("png", "PNG")])
def test_kinds_of_files(format, kind, workdir):
    make_run(workdir, "cycle_gan")
    file = save_photos(workdir / "in", 1)[0]
    assert translate(file, "--output", "out", "--format", format) == 0
    assert Image.open(workdir / "out" / f"0.{format}").format == kind


def test_quality_changes_the_size_of_a_jpeg(workdir):
    make_run(workdir, "cycle_gan")
    file = save_photos(workdir / "in", 1)[0]
    for quality in (20, 95):
        assert translate(file, "--output", f"{quality}.jpg", "--quality", quality) == 0
    assert (workdir / "20.jpg").stat().st_size < (workdir / "95.jpg").stat().st_size


def test_what_a_kind_of_file_cannot_hold_becomes_another_and_that_is_said(workdir, said):
    make_run(workdir, "cycle_gan")
    array = np.full((8, 8, 3), 60000, np.uint16)
    tifffile.imwrite(workdir / "deep.tif", array, photometric="rgb")
    assert translate("deep.tif", "--output", "made.jpg") == 0
    assert read_header(workdir / "made.png").format == "uint16"
    assert "made.png: .jpg cannot hold this picture" in said()


def test_results_that_are_there(workdir, said):
    make_run(workdir, "cycle_gan")
    files = save_photos(workdir / "in", 2)
    assert translate(files[0], "--output", "out") == 0
    before = (workdir / "out/0.png").stat().st_mtime_ns
    assert translate("in", "--output", "out") == 2
    assert "--output out: out/0.png is there already: give --existing replace or skip" in said()
    assert not (workdir / "out/1.png").exists()
    assert translate("in", "--output", "out", "--existing", "skip") == 0
    assert (workdir / "out/0.png").stat().st_mtime_ns == before and (workdir / "out/1.png").exists()
    assert translate("in", "--output", "out", "--existing", "replace") == 0
    assert (workdir / "out/0.png").stat().st_mtime_ns > before
    assert translate("in", "--output", "out", "--existing", "skip") == 0 and "nothing to do" in said()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["in", "--output", "in", "--existing", "replace"], "in/0.png is an input and would be lost"),
        (["in", "--output", "out.png"], "--output out.png: a file name, but there are 2 pictures"),
        (["nothing.png", "--output", "out"], "INPUT nothing.png: there is no such file or folder"),
        (["empty", "--output", "out"], "INPUT empty: no images"),
        (["in/notes.txt", "--output", "out"], "INPUT in/notes.txt: its name is not that of a picture"),
        (["in", "--output", "out", "--direction", "AtoC"], "--direction AtoC: give AtoB or BtoA"),
        (["in"], "the following arguments are required: --output"),
        (["--output", "out"], "the following arguments are required: INPUT"),
        (["in", "--output", "in/notes.txt"], "--output in/notes.txt: is a file of another kind"),
        (
            ["in", "--output", "out", "--engine", "openvino"],
            "latest_AtoB.onnx: there is no such file",
        ),
        (["in/0.png", "--output", "out.gif"], "--output out.gif: pictures are written as .png, .jpg, .jpeg, .tif"),
        (["in/0.png", "--output", "out.png", "--format", "jpg"], "--format jpg: --output out.png says png"),
        (["in", "--output", "in/notes.txt/out"], "in/notes.txt cannot be written"),
        (["in", "--output", "out", "--tile", "16", "--overlap", "16"], "--overlap 16: with tiles of 16 pixels"),
        (["in", "--output", "out", "--crf", "30"], "--crf: is for videos; --quality is the quality of pictures"),
        (["in", "--output", "out", "--views", "axial"], "--views: is for volumes; leave it out"),
        (["in", "--output", "out", "--quality", "0"], "--quality 0"),
        (["in", "--output", ""], "--output: is empty; name a folder, or . for this one"),
        (["", "--output", "out"], "INPUT: is empty"),
    ],
)
def test_bad_input_ends_with_one_line_and_writes_nothing(words, message, workdir, said):
    make_run(workdir, "cycle_gan")
    save_photos(workdir / "in", 2)
    (workdir / "in/notes.txt").write_text("x")
    (workdir / "empty").mkdir()
    assert translate(*words) == 2
    assert message in said() and not (workdir / "out").exists() and (workdir / "in/notes.txt").read_text() == "x"


def test_results_inside_the_folder_of_the_inputs_are_no_inputs(workdir, said):
    make_run(workdir, "cycle_gan")
    save_photos(workdir / "in", 2)
    for times in ("first", "second"):
        assert translate("in", "--output", "in/out", "--existing", "replace") == 0, times
    assert sorted(file.relative_to(workdir).as_posix() for file in workdir.glob("in/out/**/*")) == [
        "in/out/0.png",
        "in/out/1.png",
    ]
    assert "in/out: 2 pictures in it left out, as results go there" in said()


def test_a_folder_in_the_place_of_a_result(workdir, said):
    make_run(workdir, "cycle_gan")
    save_photos(workdir / "in", 2)
    (workdir / "out/1.png").mkdir(parents=True)
    assert translate("in", "--output", "out", "--existing", "replace") == 2
    assert "--output out: out/1.png, where a result would be written, is a folder" in said()
    assert [file.name for file in (workdir / "out").iterdir()] == ["1.png"]


def test_a_name_with_a_slash_at_its_end_is_a_folder(workdir):
    make_run(workdir, "cycle_gan")
    file = save_photos(workdir / "in", 1)[0]
    assert translate(file, "--output", "set.png/") == 0
    assert (workdir / "set.png" / "0.png").is_file()


def test_lines_of_standard_input_as_windows_and_find_write_them(workdir, monkeypatch, said):
    """Ends of lines of both kinds, a folder, a name that is no Unicode; without any standard input."""
    make_run(workdir, "cycle_gan")
    first, odd = save_photos(workdir / "in", 1)[0], workdir / "in" / os.fsdecode(b"\xff.png")
    shutil.copy(first, odd)
    lines = io.BytesIO(b"in\r\nin/0.png\r\nin/\xff.png\n")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(lines, encoding="utf-8"))
    assert translate("-", "--output", "out") == 1
    assert sorted(os.fsencode(file.name) for file in (workdir / "out").iterdir()) == [b"0.png", b"\xff.png"]
    assert "in: cannot be opened (Is a directory)" in said()
    monkeypatch.setattr("sys.stdin", None)
    assert translate("-", "--output", "more") == 2
    assert "INPUT -: there is no standard input" in said()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_picture(workdir, said):
    make_run(workdir, "cycle_gan")
    os.mkfifo(workdir / "pipe.png")
    assert translate("pipe.png", "--output", "out.png") == 1
    assert "pipe.png: is a pipe or a device and no file" in said()


def test_a_full_disk_and_ctrl_c_leave_whole_files_only(workdir, said, monkeypatch):
    make_run(workdir, "cycle_gan")
    save_photos(workdir / "in", 4)
    replace, done = os.replace, []

    def full(source, target):
        if len(done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("util.files.os.replace", full)
        assert translate("in", "--output", "out") == 1
    assert "No space left on device" in said() and len(list((workdir / "out").iterdir())) == 2

    def stop(self, *words):
        raise KeyboardInterrupt

    monkeypatch.setattr("models.translation.Translator.translate", stop)
    assert translate("in", "--output", "new") == 130
    assert not (workdir / "new").exists()


def test_large_pictures_are_not_read_ahead(workdir, monkeypatch):
    """Of four pictures beyond SMALL no two are in memory at once: each is read after the one before was translated."""
    make_run(workdir, "cycle_gan")
    save_photos(workdir / "in", 4)
    events = []

    def note(cls, name):
        plain = getattr(cls, name)

        def noted(self, *words, **how):
            events.append(name)
            return plain(self, *words, **how)

        monkeypatch.setattr(cls, name, noted)

    monkeypatch.setattr("scripts.translate.SMALL", 100)
    note(Translator, "read")
    note(Translator, "translate")
    assert translate("in", "--output", "out") == 0
    assert events == ["read", "translate"] * 4


def test_a_model_that_draws_from_noise_is_sent_to_its_command(workdir, said):
    make_run(workdir, "sagan")
    save_photos(workdir / "in", 1)
    assert translate("in", "--output", "out") == 2
    assert "makes images from noise and translates none; use scripts/generate.py" in said()


def test_a_direction_that_a_run_does_not_have(workdir, said):
    make_run(workdir, "pix2pix")
    save_photos(workdir / "in", 1)
    assert translate("in", "--output", "out", "--direction", "BtoA") == 2
    assert "--direction BtoA: run 'run' of --model pix2pix translates AtoB only" in said()


def test_maps_are_written_beside_the_picture(workdir):
    make_run(workdir, "ugatit", "--light")
    file = save_photos(workdir / "in", 1, 40)[0]
    assert translate(file, "--output", "out", "--save_maps") == 0
    assert np.load(workdir / "out/0_heat_fake_B.npy").shape == (40, 40, 1)


def test_a_generator_of_one_size_scales_and_says_so(workdir, said):
    make_run(workdir, "ugatit")
    file = save_photos(workdir / "in", 1, 50)[0]
    assert translate(file, "--output", "out.png") == 0
    assert Image.open(workdir / "out.png").size == (50, 50)
    assert "works at 32x32 only: pictures are scaled to it and back" in said()


def test_large_pictures_are_tiled_and_that_is_said(workdir, said):
    make_run(workdir, "cycle_gan")
    file = save_photos(workdir / "in", 1, 100)[0]
    assert translate(file, "--output", "out.png", "--tile", "64", "--overlap", "32") == 0
    assert Image.open(workdir / "out.png").size == (100, 100)
    assert "100x100 pixels in 9 tiles of 64; instance norm" in said()
