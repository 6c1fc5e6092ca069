"""The lines of docs/medical.md under "Try it" run, one after the other."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np

import train
from datasets.prepare_slices import main as prepare
from scripts.translate import main as translate
from tests.test_docs import REPO, blocks

PAGE = (REPO / "docs/medical.md").read_text(encoding="utf-8")


def test_the_lines_run(workdir: Path) -> None:
    (code,) = (text for language, text in blocks(PAGE) if language == "python")
    exec(compile(code, "docs/medical.md", "exec"), {})
    lines = next(text for language, text in blocks(PAGE) if language == "bash").splitlines()
    cut, learn, back = (line.split()[2:] for line in lines if line)
    assert prepare(cut) == 0
    small = (
        "--gpu_ids -1 --ngf 2 --ndf 2 --num_threads 0 --n_epochs 1 --n_epochs_decay 0 --max_dataset_size 1 --no_html"
    )
    assert train.main([*learn, *small.split()]) == 0
    assert translate([*back, "--gpu_ids", "-1"]) == 0
    found, source = nibabel.load("ct_p2.nii.gz"), nibabel.load("volumes/mr/p2.nii.gz")
    assert (found.affine == source.affine).all()
    assert (found.shape, found.get_data_dtype()) == ((64, 64, 16), np.int16)
