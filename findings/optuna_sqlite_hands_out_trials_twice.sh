#!/usr/bin/env bash
# Optuna 5.0.0 on SQLite gives one waiting trial to two processes.
#
# A good guess:  study.ask() takes a trial that was put in line by study.enqueue_trial() away from all other processes:
#                its storage reads the row WITH FOR UPDATE, and gives up the trial that another one has taken.
# What happens:  SQLite has no locks of rows, so that SELECT ... FOR UPDATE is a plain SELECT there, in a transaction of
#                its own. Two processes read "waiting", both write "running", both train the trial; nothing warns. Three
#                processes that ask for 20 trials each get 50 to 55 different ones of 60.
# Remedy:        hold a lock of one's own (a locked file) around ask() when the data base is SQLite.
# Versions:      optuna 5.0.0, SQLAlchemy 2.1.9
# Source:        optuna/study/study.py, _pop_waiting_trial_id; optuna/storages/_rdb/storage.py, set_trial_state_values
#
# Run it: bash findings/optuna_sqlite_hands_out_trials_twice.sh     (exit 0: as described; 1: the behaviour has changed)
set -euo pipefail

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet optuna==5.0.0 sqlalchemy==2.1.9
cd "$folder"
cat > ask.py <<'PY'
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(study_name="queue", storage="sqlite:///queue.db")
sys.stdin.readline()  # all processes begin together
print(*(study.ask().number for _ in range(20)))
PY
venv/bin/python - <<'PY'
import subprocess
import sys

import optuna

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(study_name="queue", storage="sqlite:///queue.db")
for number in range(60):
    study.enqueue_trial({"x": number})
pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
workers = [subprocess.Popen([sys.executable, "ask.py"], **pipes) for _ in range(3)]
for worker in workers:
    worker.stdin.write("\n")
    worker.stdin.flush()
numbers = [int(word) for worker in workers for word in worker.communicate()[0].split()]
print(f"optuna {optuna.__version__}: {len(numbers)} trials handed out, {len(set(numbers))} different ones")
sys.exit(0 if len(numbers) == 60 and len(set(numbers)) < 60 else "the behaviour has changed")
PY
