from __future__ import annotations

import json

import pytest

from benchmarks import ugatit_step


def test_the_forms_of_a_step_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    """Plain: 8 passes of the generators, and backward into them from D's step too; checkpointing: forward twice."""
    gflop = {}
    for form in ugatit_step.FORMS:
        argv = ["--crop_size", "96", "--ch", "2", "--n_res", "1", "--light", "--gpu_ids=-1", "--seconds", "0.01"]
        assert ugatit_step.main([*argv, "--form", form]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["seconds"] > 0 and found["peak_mb"] > found["step_mb"]
        gflop[form] = found["gflop"]
    assert gflop["ours"] < gflop["checkpointing"] < gflop["plain"]
