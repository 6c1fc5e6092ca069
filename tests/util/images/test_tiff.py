"""TIFF of many programs: the numbers, bands, opacity, georeference of the file, or a refusal that says why."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from util.images.io import Geo, read_header, read_image, save_array
from util.images.tiff import channels_last

UTM = [
    (33550, "d", 3, (10.0, 10.0, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
]


def drawn(*shape: int, top: int = 4095, dtype: Any = np.uint16, seed: int = 0) -> NDArray[Any]:
    return (np.random.default_rng(seed).random(shape) * top).astype(dtype)


def check(path: Path, expected: NDArray[Any], **options: Any) -> None:
    """The file is read as ``expected``, and its header says so."""
    picture, header = read_image(path, **options), read_header(path)
    assert picture.array.dtype == expected.dtype and picture.format == header.format == expected.dtype.name
    np.testing.assert_array_equal(picture.array, expected if expected.ndim == 3 else expected[:, :, None])
    dropped = header.alpha and options.get("alpha", "drop") == "drop"
    assert (header.height, header.width, header.channels - dropped) == picture.array.shape


LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("lzw", {}),
    ("packbits", {}),
    ("zstd", {}),
    ("zlib", {}),
    ("lzma", {}),
    ("jpeg2000", {"compressionargs": {"level": 0}}),
    ("lerc", {}),
    ("jpegxl", {}),
]


@pytest.mark.parametrize(("compression", "options"), LOSSLESS, ids=[name for name, _ in LOSSLESS])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((21, 17), np.uint16), ((21, 17, 3), np.uint8), ((21, 17, 3), np.uint16), ((21, 17, 4), np.uint16)],
)
def test_compressions(
    compression: str, options: dict[str, Any], shape: tuple[int, ...], dtype: Any, tmp_path: Path
) -> None:
    array = drawn(*shape, top=255, dtype=dtype)
    colours: dict[str, Any] = {"photometric": "rgb" if shape[2:] == (3,) else "minisblack"}
    if shape[2:] == (4,):
        colours |= {"planarconfig": "contig", "extrasamples": ["unspecified"] * 3}
    tifffile.imwrite(tmp_path / "x.tif", array, compression=compression, **options, **colours)
    check(tmp_path / "x.tif", array)


def test_webp_and_jpeg(tmp_path: Path) -> None:
    array = np.kron(drawn(3, 4, 3, top=255, dtype=np.uint8), np.ones((16, 16, 1), np.uint8))
    tifffile.imwrite(
        tmp_path / "w.tif", array, compression="webp", compressionargs={"lossless": True}, photometric="rgb"
    )
    check(tmp_path / "w.tif", array)
    grey = np.full((32, 32), 3000, np.uint16)  # a flat 12-bit picture is exact in JPEG too
    tifffile.imwrite(tmp_path / "j.tif", grey, compression="jpeg", bitspersample=12)
    check(tmp_path / "j.tif", grey)


@pytest.mark.parametrize("compression", ["lzw", "zstd"])
def test_predictors(compression: str, tmp_path: Path) -> None:
    deep, real = drawn(20, 30, 3), drawn(20, 30, 5, top=1, dtype=np.float32)
    tifffile.imwrite(tmp_path / "2.tif", deep, compression=compression, predictor=2, photometric="rgb")
    tifffile.imwrite(
        *(tmp_path / "3.tif", real),
        compression=compression,
        predictor=3,
        photometric="minisblack",
        planarconfig="contig",
    )
    check(tmp_path / "2.tif", deep)
    check(tmp_path / "3.tif", real)


@pytest.mark.parametrize("bands", [3, 4, 6])
def test_planar_tiles(bands: int, tmp_path: Path) -> None:
    planes = drawn(bands, 40, 35)
    kind = {"photometric": "rgb" if bands == 3 else "minisblack"}
    tifffile.imwrite(tmp_path / "x.tif", planes, planarconfig="separate", compression="lzw", tile=(16, 16), **kind)
    check(tmp_path / "x.tif", planes.transpose(1, 2, 0))


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_keep_their_numbers(bits: int, tmp_path: Path) -> None:
    for name, array in (("grey", drawn(9, 14, top=2**bits)), ("rgb", drawn(9, 14, 3, top=2**bits))):
        kind = "rgb" if array.ndim == 3 else "minisblack"
        tifffile.imwrite(tmp_path / f"{name}.tif", array, bitspersample=bits, photometric=kind)
        check(tmp_path / f"{name}.tif", array)
        assert read_header(tmp_path / f"{name}.tif").bits == bits


def test_signed_numbers(tmp_path: Path) -> None:
    hounsfield = np.array([[-32768, -1024, -1], [0, 1748, 32767]], np.int16)
    save_array(tmp_path / "a.tif", hounsfield[:, :, None])
    check(tmp_path / "a.tif", hounsfield)
    assert tifffile.imread(tmp_path / "a.tif").dtype == np.int16
    small = np.array([[-128, -113, -81], [0, 1, 127]], np.int8)
    tifffile.imwrite(tmp_path / "b.tif", small)
    check(tmp_path / "b.tif", small.astype(np.int16))
    wide = np.array([[-(2**24), 70000], [0, 2**24]], np.int32)
    tifffile.imwrite(tmp_path / "c.tif", wide)
    check(tmp_path / "c.tif", wide.astype(np.float32))


def test_0_is_white_means_one_thing_in_every_depth(tmp_path: Path) -> None:
    for bits, dtype in ((8, np.uint8), (12, np.uint16), (16, np.uint16)):
        full = 2**bits - 1
        shown = np.array([[0, 1, full], [full // 2, 7, full - 1]], dtype)
        tifffile.imwrite(
            tmp_path / f"{bits}.tif", (full - shown).astype(dtype), photometric="miniswhite", bitspersample=bits
        )
        check(tmp_path / f"{bits}.tif", shown)
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((4, 4), np.int16), photometric="miniswhite")
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match=r"x\.tif: says that 0 is white, but int16 numbers have no black"):
            read(tmp_path / "x.tif")


@pytest.mark.parametrize("flagged", [True, False])
def test_a_preview_before_the_picture_is_passed_over(flagged: bool, tmp_path: Path) -> None:
    array = drawn(64, 48, 3)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(drawn(8, 6, 3, top=255, dtype=np.uint8), photometric="rgb", subfiletype=int(flagged))
        file.write(array, photometric="rgb")
    check(tmp_path / "x.tif", array)


def test_a_picture_below_its_preview(tmp_path: Path) -> None:
    array = drawn(64, 48, 3)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(drawn(8, 6, 3, top=255, dtype=np.uint8), photometric="rgb", subfiletype=1, subifds=1)
        file.write(array, photometric="rgb")
    check(tmp_path / "x.tif", array)


def test_of_a_pyramid_the_whole(tmp_path: Path) -> None:
    array = drawn(64, 48, 3, top=255, dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(array, photometric="rgb")
        file.write(array[::2, ::2], photometric="rgb", subfiletype=1)
    check(tmp_path / "x.tif", array)


def test_stacks_are_said_to_be_taken_as_channels(tmp_path: Path) -> None:
    stack = drawn(3, 20, 30)
    for axes, remark in (
        ("ZYX", "3 slices (axis Z) are taken as channels"),
        ("TYX", "3 frames (axis T) are taken as channels"),
        ("CYX", ""),
    ):
        tifffile.imwrite(tmp_path / f"{axes}.tif", stack, imagej=True, metadata={"axes": axes})
        check(tmp_path / f"{axes}.tif", stack.transpose(1, 2, 0))
        assert read_header(tmp_path / f"{axes}.tif").remark == remark
    tifffile.imwrite(tmp_path / "pages.tif", stack, photometric="minisblack", metadata=None)
    assert read_header(tmp_path / "pages.tif").remark == "3 pages (axis I) are taken as channels"
    tifffile.imwrite(tmp_path / "rgb.tif", drawn(20, 30, 3), photometric="rgb")
    assert read_header(tmp_path / "rgb.tif").remark == ""


def test_stacks_of_colours_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", drawn(5, 9, 8, 3), photometric="rgb", metadata=None)
    tifffile.imwrite(tmp_path / "b.ome.tif", drawn(2, 3, 9, 8), photometric="minisblack", metadata={"axes": "CZYX"})
    for name, sizes in (("a.tif", "I 5, S 3"), ("b.ome.tif", "C 2, Z 3")):
        for read in (read_image, read_header):
            with pytest.raises(
                ValueError, match=rf"{name}: is a stack with the axes .* \({sizes}\); .*file of its own"
            ):
                read(tmp_path / name)


def test_a_stack_that_was_cut_is_no_single_picture(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", drawn(3, 40, 50), imagej=True, metadata={"axes": "ZYX"})
    whole = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.tif: .*1 of 3 slices: the file is truncated"):
        read_image(tmp_path / "x.tif")


OME_PLANE = (
    '<TiffData First{axis}="{n}" IFD="0" PlaneCount="1"><UUID FileName="{n}.ome.tif">urn:uuid:{n}</UUID></TiffData>'
)
OME = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{me}"><Image ID="Image:0"><Pixels '
    'ID="Pixels:0" DimensionOrder="XYCZT" Type="{kind}" SizeX="30" SizeY="20" SizeC="{C}" SizeZ="{Z}" SizeT="1">'
    "{planes}</Pixels></Image></OME>"
)


def write_ome_set(folder: Path, planes: NDArray[Any], axis: str, **options: Any) -> list[Path]:
    """A file for each plane ``[N, 20, 30]`` that names all of them, as programs of microscopes write channels."""
    count, paths = len(planes), []
    named = "".join(OME_PLANE.format(axis=axis, n=number) for number in range(count))
    for number, plane in enumerate(planes):
        sizes = {each: count if each == axis else 1 for each in "CZ"}
        text = OME.format(me=number, kind=plane.dtype.name, planes=named, **sizes)
        paths.append(folder / f"{number}.ome.tif")
        tifffile.imwrite(paths[-1], plane, description=text, metadata=None, **options)
    return paths


@pytest.mark.parametrize(("dtype", "options"), [(np.uint16, {}), (np.int16, {}), (np.uint16, {"compression": "zstd"})])
@pytest.mark.parametrize("axis", ["C", "Z"])
def test_a_file_of_an_ome_set_is_its_own_picture(axis: str, dtype: Any, options: Any, tmp_path: Path) -> None:
    """tifffile gives those of all files, in memory with zeros for the others."""
    planes = drawn(3, 20, 30, dtype=dtype)
    for path, plane in zip(write_ome_set(tmp_path, planes, axis, **options), planes):
        check(path, plane)


def test_an_ome_tiff_without_some_planes_is_truncated(tmp_path: Path) -> None:
    text = OME.format(me=0, kind="int16", planes="<TiffData/>", C=1, Z=3)
    with tifffile.TiffWriter(tmp_path / "x.ome.tif") as file:
        for number in range(2):
            file.write(drawn(20, 30, dtype=np.int16), description=text if not number else None, metadata=None)
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match=r"x\.ome\.tif: .*planes are not there: the file is truncated"):
            read(tmp_path / "x.ome.tif")


def test_axes_that_are_no_picture() -> None:
    assert channels_last(np.zeros((5, 1, 3, 4)), "CZYX").shape == (3, 4, 5)
    with pytest.raises(ValueError, match="height, width and channels only"):
        channels_last(np.zeros((5, 2, 3, 4)), "CZYX")


@pytest.mark.parametrize(
    ("array", "options", "reason"),
    [
        (np.ones((4, 5), np.complex64), {}, "has complex numbers: save amplitude and phase"),
        (np.ones((4, 5, 4), np.uint16), {"photometric": "separated"}, r"holds inks \(CMYK\) .*: convert it to RGB"),
        (np.ones((4, 5, 3), np.uint16), {"photometric": "cielab"}, r"holds CIE L\*a\*b\* colours: convert it to RGB"),
        (np.ones((4, 5), np.uint16), {"photometric": "cfa"}, "holds the raw data of a camera"),
    ],
)
def test_other_numbers_are_refused(array: NDArray[Any], options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", array, **options)
    for read in (read_image, read_header):
        with pytest.raises(ValueError, match=rf"x\.tif: {reason}") as error:
            read(tmp_path / "x.tif")
        assert "\n" not in str(error.value)


# --- bands and opacity ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_bands_beside_the_colours_are_no_opacity(channels: int, dtype: Any, tmp_path: Path) -> None:
    array = drawn(9, 8, channels, top=250, dtype=dtype)
    kind = {"photometric": "rgb" if channels == 4 else "minisblack", "planarconfig": "contig"}
    tifffile.imwrite(tmp_path / "band.tif", array, extrasamples=["unspecified"], **kind)
    check(tmp_path / "band.tif", array)
    tifffile.imwrite(tmp_path / "alpha.tif", array, extrasamples=["unassalpha"], **kind)
    check(tmp_path / "alpha.tif", array[:, :, :-1])
    check(tmp_path / "alpha.tif", array, alpha="keep")
    assert read_image(tmp_path / "alpha.tif", alpha="keep").alpha and not read_image(tmp_path / "band.tif").alpha


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_fourth_band_of_a_geotiff_is_data_whatever_gdal_calls_it(dtype: Any, tmp_path: Path) -> None:
    array = drawn(9, 8, 4, top=250, dtype=dtype)
    tifffile.imwrite(tmp_path / "x.tif", array, photometric="rgb", extrasamples=["unassalpha"], extratags=UTM)
    check(tmp_path / "x.tif", array)
    assert not read_header(tmp_path / "x.tif").alpha


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 4])
def test_colours_multiplied_by_alpha_are_divided(channels: int, dtype: Any, tmp_path: Path) -> None:
    full = np.iinfo(dtype).max
    stored = np.zeros((2, 2, channels), dtype)
    stored[0, :, :-1], stored[0, :, -1] = full // 5, full // 5 * 2  # half as bright as it may be at this cover
    tifffile.imwrite(
        tmp_path / "x.tif",
        stored,
        photometric="rgb" if channels == 4 else "minisblack",
        planarconfig="contig",
        extrasamples=["assocalpha"],
    )
    colours = read_image(tmp_path / "x.tif").array
    assert colours[0].ravel().tolist() == pytest.approx([full / 2] * 2 * (channels - 1), abs=1) and not colours[1].any()


def test_four_bands_are_written_as_bands_and_rgba_as_rgba(tmp_path: Path) -> None:
    array = drawn(9, 8, 4, top=60000)
    bands = save_array(tmp_path / "bands.png", array)
    assert bands.name == "bands.tif"
    check(bands, array)
    with tifffile.TiffFile(bands) as file:
        assert [int(kind) for kind in file.pages[0].extrasamples] == [0, 0, 0]
    rgba = save_array(tmp_path / "rgba.png", array, alpha=True)
    assert rgba.name == "rgba.png"
    check(rgba, array, alpha="keep")
    tif = save_array(tmp_path / "rgba.tif", array, alpha=True)
    with tifffile.TiffFile(tif) as file:
        assert [int(kind) for kind in file.pages[0].extrasamples] == [2]
    check(tif, array[:, :, :3])


@pytest.mark.parametrize("channels", [2, 5, 6])
def test_many_bands_with_and_without_opacity(channels: int, tmp_path: Path) -> None:
    array = drawn(9, 8, channels, top=60000)
    check(save_array(tmp_path / "x.tif", array), array)
    check(save_array(tmp_path / "y.tif", array, alpha=True), array[:, :, :-1])


# --- georeference, nodata, unit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_georeference_there_and_back(channels: int, dtype: Any, tmp_path: Path) -> None:
    array = drawn(6, 7, channels, top=200, dtype=dtype)
    shape = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig"}
    texts = [(34736, "d", 2, (298.25, 6378137.0), True), (34737, "s", 8, "WGS 84|", True)]
    tifffile.imwrite(tmp_path / "in.tif", array if channels > 1 else array[:, :, 0], extratags=UTM + texts, **shape)
    geo = read_header(tmp_path / "in.tif").geo
    assert geo is not None and geo.size == (7, 6)
    out = save_array(tmp_path / "out.png", array, geo=geo, nodata=-9999)
    assert out.name == "out.tif"
    with tifffile.TiffFile(out) as file:
        tags = file.pages[0].tags
        assert {tag: tags[tag].value for tag, *_ in UTM + texts} == {tag: value for tag, *_, value, _ in UTM + texts}
        assert tags[42113].value == "-9999"
    check(out, array)
    assert read_header(out).geo == geo and read_header(out).nodata == -9999
    assert read_image(out).nodata == -9999


def test_a_georeference_of_another_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.tif: the georeference is that of 9x9 pixels, the picture has 5x4"):
        save_array(tmp_path / "x.tif", np.zeros((4, 5, 1), np.uint8), geo=Geo((9, 9), ((33550, (1.0, 1.0, 0.0)),)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "value"), [("-9999", -9999.0), ("-3.4028234663852886e+38", -3.4028234663852886e38)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_nodata_of_gdal(text: str, value: float, dtype: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 4), dtype), extratags=[(42113, "s", len(text) + 1, text, True)])
    assert read_header(tmp_path / "x.tif").nodata == read_image(tmp_path / "x.tif").nodata == value
    assert not caplog.records  # tifffile would report a value that the type cannot hold


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize(
    "options", [{"tile": (16, 16)}, {"rowsperstrip": 16}, {"tile": (16, 16), "compression": "zlib"}]
)
@pytest.mark.parametrize("nodata", [None, 200.0])
def test_blocks_that_gdal_leaves_out_are_missing(
    nodata: float | None, options: dict[str, Any], dtype: Any, tmp_path: Path
) -> None:
    """SPARSE_OK: offset and size 0 stand for a block of nodata, or of 0 without it. Pillow decodes the file's start."""
    text = f"{nodata:g}" if nodata is not None else ""
    tags = [(42113, "s", len(text) + 1, text, True)] if text else []
    array = np.full((32, 16), 7, dtype)
    tifffile.imwrite(tmp_path / "x.tif", array, extratags=tags, metadata=None, **options)
    with tifffile.TiffFile(tmp_path / "x.tif", mode="r+b") as tiff:
        for name in ("TileOffsets", "TileByteCounts") if "tile" in options else ("StripOffsets", "StripByteCounts"):
            tag = tiff.pages[0].tags[name]  # type: ignore[union-attr]
            tag.overwrite((tag.value[0], 0))
    array[16:] = nodata or 0
    check(tmp_path / "x.tif", array)


@pytest.mark.parametrize(("text", "known"), [("nan", True), ("none", False)])
def test_nodata_that_is_no_number(text: str, known: bool, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.zeros((3, 4), np.float32), extratags=[(42113, "s", 5, text, True)])
    nodata = read_header(tmp_path / "x.tif").nodata
    assert (nodata is not None and np.isnan(nodata)) == known and (nodata is None) != known


def test_the_unit_of_gdal(tmp_path: Path) -> None:
    xml = '<GDALMetadata>\n  <Item name="UNITTYPE" sample="0" role="unittype">m</Item>\n</GDALMetadata>'
    tifffile.imwrite(
        tmp_path / "x.tif", np.zeros((3, 4), np.float32), extratags=[(42112, "s", len(xml) + 1, xml, True)]
    )
    assert read_header(tmp_path / "x.tif").unit == "m"


def test_palettes(tmp_path: Path) -> None:
    indices = drawn(6, 7, top=256, dtype=np.uint8)
    table = (np.random.default_rng(1).integers(0, 256, (3, 256)) * 257).astype(np.uint16)
    expected = (table >> 8).astype(np.uint8).T[indices]
    for name, options in (("pillow", {}), ("tifffile", {"compression": "zstd"})):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, indices, photometric="palette", colormap=table, **options)
        check(path, expected)
        assert read_header(path).palette
        np.testing.assert_array_equal(read_image(path, palette="indices").array[:, :, 0], indices)


# --- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [None, "lzw", "zstd", "zlib", "jpeg2000", "lerc"])
def test_truncated_files(compression: str | None, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", drawn(40, 50, 3), compression=compression, photometric="rgb")
    whole = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x\.tif: cannot be read as an image \(.+\): replace the file") as error:
        read_image(tmp_path / "x.tif")
    assert "\n" not in str(error.value)


def test_without_imagecodecs_the_message_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "zstd.tif", drawn(8, 9, 3), compression="zstd", photometric="rgb")
    Image.fromarray(drawn(8, 9)).save(tmp_path / "deep.png")

    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'compression'")

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", missing)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for name in ("zstd.tif", "deep.png"):
        with pytest.raises(ValueError, match=rf"{name}: .*pip install imagecodecs") as error:
            read_image(tmp_path / name)
        assert "replace the file" not in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("error", [tifffile.TiffFileError("not a TIFF"), AttributeError("x"), ZeroDivisionError("0")])
def test_whatever_a_decoder_raises_names_the_file(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "x.tif", drawn(8, 9, 3), photometric="rgb")

    def broken(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", broken)
    with pytest.raises(ValueError, match=rf"x\.tif: cannot be read as an image \({error}\)"):
        read_image(tmp_path / "x.tif")
