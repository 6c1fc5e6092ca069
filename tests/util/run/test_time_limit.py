"""Where a schedule is when the time is short."""

import pytest
import torch

from util.run.distributed import World
from util.run.progress import Progress
from util.run.schedule import TrainingSchedule
from util.run.time_limit import TimeLimit


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limit_of(minutes: float, plan: TrainingSchedule, first: Progress) -> tuple[TimeLimit, Clock]:
    clock = Clock()
    return TimeLimit(minutes, plan, first, World(), torch.device("cpu"), clock), clock


def test_a_fast_training_is_as_without_a_limit() -> None:
    plan = TrainingSchedule(steps_per_epoch=10, n_epochs=4, n_epochs_decay=4)
    limit, clock = limit_of(10, plan, Progress())
    clock.now += 299  # just under half of the time, but in epoch 5 of 8 already
    here = Progress(epoch=5, epoch_iter=3, total_iters=43, steps=43)
    assert limit.due(here) == here and not limit.is_over(43)


def test_a_slow_training_is_further_in_its_schedule_than_in_its_data() -> None:
    plan = TrainingSchedule(steps_per_epoch=10, n_epochs=4, n_epochs_decay=4)
    limit, clock = limit_of(10, plan, Progress())
    factors = []
    for _ in range(8):
        factors.append(plan.factor(limit.due(Progress(epoch=1, steps=3))))
        clock.now += 75  # an eighth
    assert factors == [plan.factor(Progress(epoch=epoch)) for epoch in range(1, 9)]
    assert factors[-1] == pytest.approx(1 / 5) and limit.is_over(3)
    assert plan.factor(limit.due(Progress(epoch=1, steps=3))) == factors[-1]


def test_a_continued_training_has_the_rest_of_the_schedule_for_its_time() -> None:
    plan = TrainingSchedule(steps_per_epoch=10, n_epochs=4, n_epochs_decay=4)
    limit, clock = limit_of(1, plan, Progress(epoch=7, steps=60))
    assert limit.due(Progress(epoch=7, steps=61)).epoch == 7
    clock.now += 31
    assert limit.due(Progress(epoch=7, steps=61)).epoch == 8


def test_by_steps() -> None:
    plan = TrainingSchedule(steps_per_epoch=10, n_iters=50, n_iters_decay=50)
    limit, clock = limit_of(1, plan, Progress(steps=20))
    clock.now += 30
    assert limit.due(Progress(steps=21)).steps == 60 and limit.due(Progress(steps=70)).steps == 70
    clock.now += 60
    assert limit.due(Progress(steps=21)).steps == 99


def test_no_limit() -> None:
    plan = TrainingSchedule(steps_per_epoch=10)
    limit, clock = limit_of(0, plan, Progress())
    clock.now += 1e9
    assert limit.due(Progress(epoch=2)) == Progress(epoch=2) and not limit.is_over(1)
