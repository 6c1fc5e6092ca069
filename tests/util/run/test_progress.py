from __future__ import annotations

import pytest
import torch

from util.run.progress import Meter, NonFiniteLoss, Progress
from util.run.schedule import TrainingSchedule


def test_a_frequency_fires_whenever_a_multiple_is_crossed():
    progress, fired = Progress(), []
    for _ in range(10):
        progress.advance(48)
        if progress.crossed(100):
            fired.append(progress.total_iters)
    assert fired == [144, 240, 336, 432]  # the first batch past 100, 200, 300, 400


def test_state_and_epoch_end():
    progress = Progress()
    progress.advance(3)
    progress.next_epoch()
    progress.advance(2)
    assert progress.state() == {"epoch": 2, "epoch_iter": 2, "total_iters": 5, "steps": 2}
    assert Progress(**progress.state()) == progress


def feed(meter, progress, value, images=2, share=1.0):
    progress.advance(images)
    losses = {"a": torch.tensor(value), "b": torch.tensor(2 * value)}
    meter.update(losses, progress, share=share, paths=[f"file{progress.steps}.png"])


def test_epoch_means_are_over_images_and_start_over():
    meter, progress = Meter(), Progress()
    feed(meter, progress, 1.0, images=4)
    feed(meter, progress, 4.0, images=1)
    record = meter.epoch_record(progress, lr=0.1)
    assert record.means == pytest.approx({"a": (4 * 1 + 1 * 4) / 5, "b": 2 * (4 * 1 + 1 * 4) / 5})
    feed(meter, progress, 7.0)
    assert meter.epoch_record(progress, lr=0.1).means["a"] == pytest.approx(7.0)


def test_means_survive_a_checkpoint_in_mid_epoch():
    meter, progress = Meter(), Progress()
    feed(meter, progress, 1.0)
    restored = Meter()
    restored.load_state(meter.state(), share=1.0)
    for each in (meter, restored):
        feed(each, Progress(**progress.state()), 3.0)
    assert restored.epoch_record(progress, 0.1).means == meter.epoch_record(progress, 0.1).means == {"a": 2.0, "b": 4.0}


def test_the_last_losses_and_the_time_are_recorded():
    meter, progress = Meter(), Progress(epoch=3)
    for _ in meter.waiting([1, 2]):
        feed(meter, progress, 1.5)
    record = meter.record(progress, lr=0.1, memory_mb=5.0)
    assert record.losses == {"a": 1.5, "b": 3.0} and (record.epoch, record.epoch_iter, record.total_iters) == (3, 4, 4)
    assert 0 <= record.data_wait <= 1 and record.images_per_s > 0 and record.t_comp >= 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_its_step_and_files(bad):
    meter, progress = Meter(), Progress()
    feed(meter, progress, 1.0)
    with pytest.raises(NonFiniteLoss, match=r"a nan|a inf") as info:
        feed(meter, progress, bad)
    assert "step 2" in str(info.value) and "file2.png" in str(info.value)


def test_where_asking_costs_time_the_first_bad_step_is_found_later():
    """share < 1 stands for several processes, where the meter does not look by itself."""
    meter, progress = Meter(), Progress()
    for value in (1.0, float("nan"), 2.0):
        feed(meter, progress, value, share=0.5)
    with pytest.raises(NonFiniteLoss, match=r"step 2, files: file2\.png"):
        meter.check()


def plan(**changes):
    return TrainingSchedule(**{"steps_per_epoch": 10, "n_epochs": 2, "n_epochs_decay": 2, **changes})


def test_a_run_by_epochs():
    run = plan()
    assert (run.total_steps, run.last_epoch) == (40, 4)
    assert [run.factor(Progress(epoch=e)) for e in (1, 2, 3, 4)] == pytest.approx([1, 1, 2 / 3, 1 / 3])
    assert not run.finished(Progress(epoch=4)) and run.finished(Progress(epoch=5))
    assert plan(epoch_count=3).total_steps == 20


def test_a_run_by_steps():
    run = plan(n_iters=12, n_iters_decay=3)
    assert (run.total_steps, run.last_epoch) == (15, 2)
    assert [run.factor(Progress(steps=s)) for s in (0, 11, 12, 14)] == pytest.approx([1, 1, 3 / 4, 1 / 4])
    assert run.finished(Progress(steps=15)) and not run.finished(Progress(steps=14))


def test_plateau_follows_the_metric_and_refuses_an_unknown_one():
    run = plan(lr_policy="plateau", plateau_metric="G_L1")
    with pytest.raises(ValueError, match="--plateau_metric G_L1"):
        run.check_metric(["G_GAN"])
    run.check_metric(["G_GAN", "G_L1"])
    for _ in range(7):
        run.end_epoch({"G_L1": 1.0})
    assert run.factor(Progress()) == pytest.approx(0.2)
    other = plan(lr_policy="plateau", plateau_metric="G_L1")
    other.load_state(run.state())
    assert other.factor(Progress()) == pytest.approx(0.2)


def test_a_rate_that_would_vanish_is_refused_at_once():
    with pytest.raises(ValueError, match="--lr_decay_iters"):
        plan(lr_policy="step", lr_decay_iters=50, n_iters=10_000_000)
