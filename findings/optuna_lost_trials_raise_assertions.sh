#!/usr/bin/env bash
# Optuna 5.0.0: a worker whose trial was given up meanwhile gets an AssertionError, or loses the error it really had.
#
# A good guess:  with heartbeats, a worker that gave no sign of life for longer than the grace period (the computer slept,
#                the disk stood still) finds its trial failed by another worker. study.optimize() says so, by one kind of
#                error or a warning, and n_trials goes on; catch=(...) names what may happen.
# What happens:  optimize() tells the result of the trial that is finished already. Where the objective returned a number,
#                it ends with AssertionError: Should not reach. Where the objective was pruned, or raised, it ends with
#                ValueError: Cannot tell a FAIL trial, which takes the place of the objective's own error; catch does not
#                apply to either, and the number is lost.
# Remedy:        catch both around optimize(..., n_trials=1), look whether the trial is finished, and go on.
# Versions:      optuna 5.0.0, SQLAlchemy 2.1.9
# Source:        optuna/study/_optimize.py, _run_trial; optuna/study/_tell.py
#
# Run it: bash findings/optuna_lost_trials_raise_assertions.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optuna==5.0.0 sqlalchemy==2.1.9
cd "$folder"
venv/bin/python - <<'PY'
import sys
import time
import warnings

import optuna

optuna.logging.set_verbosity(optuna.logging.CRITICAL)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def open_study(grace):
    storage = optuna.storages.RDBStorage("sqlite:///trials.db", heartbeat_interval=60, grace_period=grace)
    return optuna.create_study(study_name="rates", storage=storage, load_if_exists=True)


def objective(ending):
    def run(trial):
        time.sleep(3)  # no sign of life meanwhile: the next one is due after 60 s
        optuna.storages.fail_stale_trials(open_study(grace=1))  # what another worker does
        if ending == "pruned":
            raise optuna.TrialPruned
        if ending == "error":
            raise MemoryError("what really happened")
        return 1.0

    return run


study, seen = open_study(grace=120), {}
for ending in ("number", "pruned", "error"):
    try:
        study.optimize(objective(ending), n_trials=1, catch=(MemoryError, ValueError, AssertionError))
        seen[ending] = "nothing"
    except Exception as error:
        seen[ending] = f"{type(error).__name__}: {error}"
    print(f"optuna {optuna.__version__}: objective ends with {ending}: optimize raises {seen[ending]}")
told = "ValueError: Cannot tell a FAIL trial."
expected = {"number": "AssertionError: Should not reach.", "pruned": told, "error": told}
sys.exit(0 if seen == expected else "the behaviour has changed")
PY
