"""The memory of D's maps: what a row is, whose it is, and how processes share it."""

from __future__ import annotations

import copy
import logging
import os

import pytest
import torch

from models.atme.maps import NO_OWNER, MapMemory, owner_of

CPU = torch.device("cpu")


def memory(num_images=5, shape=(3, 4), seed=1):
    return MapMemory(num_images, shape, seed=seed, device=CPU)


def rows(*values, shape=(3, 4)):
    """One map a value, filled with it."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None, None].expand(-1, 1, *shape)


def index(*values):
    return torch.tensor(values, dtype=torch.int64)


def test_rows_start_as_independent_uniform_numbers():
    maps = memory(200, (30, 30)).maps
    assert maps.shape == (200, 1, 30, 30) and maps.dtype == torch.float32 and not maps.requires_grad
    assert float(maps.min()) >= 0 and float(maps.max()) < 1
    assert float(maps.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(maps.var()) == pytest.approx(1 / 12, abs=0.002)
    counts = torch.histc(maps, bins=10, min=0, max=1) / maps.numel()
    assert float((counts - 0.1).abs().max()) < 0.005
    between = torch.corrcoef(maps[:2].flatten(1))[0, 1]
    assert abs(float(between)) < 0.15, "one row tells nothing of another"


def test_the_seed_decides_the_first_numbers():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert torch.equal(memory().maps, memory().maps)
    assert not torch.equal(memory().maps, memory(seed=2).maps)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"


def test_reading_gives_copies():
    one = memory()
    read = one.read(index(3, 1), [7, 8])
    assert torch.equal(read, one.maps[[3, 1]]) and not read.requires_grad
    read.zero_()
    assert float(one.maps[[3, 1]].min()) > 0
    assert one.owners.tolist() == [NO_OWNER, 8, NO_OWNER, 7, NO_OWNER]


def test_writing_replaces_rows_without_a_graph():
    one = memory()
    others = one.maps[[0, 2, 3]].clone()
    new = rows(4.0, -2.0).clone().requires_grad_()
    one.write(index(4, 1), new * 1)
    assert torch.equal(one.maps[[4, 1]], new.detach()) and not one.maps.requires_grad
    assert torch.equal(one.maps[[0, 2, 3]], others)
    one.write(index(0), rows(1.5).bfloat16())
    assert one.maps.dtype == torch.float32 and float(one.maps[0, 0, 0, 0]) == 1.5


def test_an_index_twice_in_a_batch_is_no_problem():
    one = memory()
    one.read(index(2, 2), [5, 5])
    one.write(index(2, 2), rows(1.0, 1.0))
    one.merge(lambda value: [value])
    assert torch.equal(one.maps[2], rows(1.0)[0]) and one.owners[2] == 5
    moved = one.read(index(2, 2), [6, 6])
    assert torch.equal(moved[0], moved[1]) and float(moved.max()) < 1


@pytest.mark.parametrize(
    ("path", "other", "same"),
    [
        ("/data/maps/train/1.png", "./maps2/train/1.png", True),  # the data set was moved
        ("/data/maps/train/1.png", "/data/maps/test/1.png", False),
        ("/data/maps/train/1.png", "/data/maps/train/2.png", False),
        ("/data/maps/train/1.png", "/data/maps/train/1.jpg", False),
        ("/data/maps/train/A/1.png", "/elsewhere/train/A/1.png", True),
        ("/data/maps/train/A/1.png", "/data/maps/test/A/1.png", False),
        ("/data/maps/train/A/1.png", "/data/maps/train/B/1.png", False),
        ("/data/maps/trainA/1.png", "/data/maps/testA/1.png", False),
    ],
)
def test_a_file_is_known_by_its_name_and_its_folder(path, other, same):
    assert (owner_of(path) == owner_of(other)) is same


def test_every_path_gives_an_int64_other_than_zero():
    strange = os.fsdecode(b"train/\xff.png")  # a name that is no UTF-8
    for path in ("1.png", "", "ü/ß.png", strange):
        assert 0 < owner_of(path) < 2**63


def test_rows_of_other_files_start_over_which_is_reported_once(caplog):
    one = memory()
    one.read(index(0, 1), [10, 11])
    one.write(index(0, 1), rows(5.0, 6.0))
    with caplog.at_level(logging.WARNING):
        read = one.read(index(0, 1), [10, 99])
        one.read(index(0), [98])
    assert torch.equal(read[0], rows(5.0)[0]), "the file is still there"
    assert float(read[1].min()) >= 0 and float(read[1].max()) < 1 and float(read[1].std()) > 0.1
    assert torch.equal(one.maps[1], read[1]) and one.owners[:2].tolist() == [98, 99]
    assert [record.getMessage() for record in caplog.records] == [
        "warning: the data set's files have changed: their maps of D start over"
    ]


def test_new_rows_do_not_depend_on_the_order_in_which_they_are_met():
    found = []
    for order in ((0, 1, 2), (2, 0, 1)):
        one = memory()
        one.owners[:] = 3
        for each in order:
            one.read(index(each), [20 + each])
        found.append(one.maps.clone())
    assert torch.equal(*found)
    assert not torch.equal(found[0][0], found[0][1])


def test_a_state_restores_bits_and_owners(tmp_path):
    one = memory()
    one.read(index(0, 3), [10, 13])
    one.write(index(0, 3), torch.randn(2, 1, 3, 4))
    torch.save(one.state(), tmp_path / "state.pth")
    state = torch.load(tmp_path / "state.pth", weights_only=True)
    assert state["disc_maps"].dtype == torch.float32 and state["disc_maps"].shape == (5, 1, 3, 4)
    assert state["disc_map_owners"].dtype == torch.int64
    other = memory(seed=9)
    other.load_state(state)
    assert torch.equal(other.maps, one.maps) and torch.equal(other.owners, one.owners) and other.used


def test_a_state_and_a_memory_do_not_share_numbers():
    one, other = memory(), memory(seed=9)
    state = one.state()
    other.load_state(state)
    kept = one.maps.clone()
    other.write(index(0), rows(7.0))
    other.read(index(1), [5])
    assert torch.equal(one.maps, kept) and torch.equal(state["disc_maps"], kept)
    assert state["disc_map_owners"][1] == NO_OWNER


@pytest.mark.parametrize(("other", "words"), [((6, (3, 4)), "6 of 3x4"), ((5, (4, 3)), "5 of 4x3")])
def test_a_state_that_does_not_fit_is_told_and_left(other, words, caplog):
    one = memory(*other)
    before = one.maps.clone()
    with caplog.at_level(logging.WARNING):
        one.load_state(memory().state())
    assert torch.equal(one.maps, before) and not one.used
    assert f"the checkpoint has 5 maps of D of 3x4, this run {words}: they start over" in caplog.text


def together(*memories):
    """``merge`` of every memory, as if each were a process."""
    said = []
    for each in memories:
        copy.deepcopy(each).merge(lambda value: [said.append(value), value][1:])
    for each in memories:
        each.merge(lambda value: said)


def test_processes_take_over_what_the_others_wrote():
    first, second = memory(), memory()
    first.read(index(0, 1), [10, 11])
    first.write(index(0, 1), rows(1.0, 2.0))
    second.read(index(4), [14])
    second.write(index(4), rows(3.0))
    together(first, second)
    expected = memory().maps
    expected[[0, 1, 4]] = rows(1.0, 2.0, 3.0)
    for each in (first, second):
        assert torch.equal(each.maps, expected) and each.owners.tolist() == [10, 11, 0, 0, 14]


def test_where_two_processes_wrote_a_row_the_first_ones_counts_and_only_new_rows_travel():
    first, second = memory(), memory()
    first.write(index(2), rows(1.0))
    second.write(index(2), rows(9.0))
    together(first, second)
    assert torch.equal(first.maps, second.maps) and float(first.maps[2, 0, 0, 0]) == 1.0
    second.write(index(2), rows(4.0))
    together(first, second)
    assert float(first.maps[2, 0, 0, 0]) == 4.0, "what was merged before is not sent again"
