#!/usr/bin/env bash
# Runs a suite as a SLURM array, a shard a task:
#
#   sbatch --array=1-8 examples/slurm/array.sh paper --size full
#   pcbench merge shard-*.json --json paper.json      # once all are done
#
# A task that SLURM ends (at its time limit, or to make room) leaves its journal, and goes on from it
# when the same line is submitted again.
#SBATCH --job-name=pcbench
#SBATCH --cpus-per-task=4
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@60
#SBATCH --output=shard-%a.log
set -u

report="shard-$SLURM_ARRAY_TASK_ID.json"
if [ -e "$report" ] && [ ! -e "$report.journal" ]; then
    echo "$report is there, and nothing of it is left to run"
    exit 0
fi
shard="$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT"
# In the background, so that the signal before the time limit reaches it at once.
pcbench run "$@" --shard "$shard" --jobs "${SLURM_CPUS_PER_TASK:-1}" \
    --json "$report" --resume &
pid=$!
trap 'kill -TERM "$pid"' TERM
wait "$pid"
code=$?
trap - TERM
# A wait that a signal cuts short says nothing of the run's own end.
while kill -0 "$pid" 2>/dev/null; do wait "$pid"; code=$?; done
exit "$code"
