#!/usr/bin/env bash
# Train on a Ray cluster inside one Slurm allocation; arguments are those of `rllib train file`. From the checkout:
#   sbatch --nodes=4 cluster/slurm.sh tuned_examples/hopper.yaml --results-dir /shared/results
# The same line again goes on from the last checkpoint. See cluster/README.md.
#SBATCH --job-name=scoreflow
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.log
# Other people's processes would share the machines' ports with Ray.
#SBATCH --exclusive
# Ten minutes before the time is up this script alone is told, while Ray still runs and a checkpoint can be written.
#SBATCH --signal=B:TERM@600

set -euo pipefail

if (($# == 0)); then
  echo "usage: sbatch [--nodes=N] cluster/slurm.sh FILE [options of rllib train file]" >&2
  exit 2
fi
: "${SLURM_JOB_ID:?run this with sbatch}"

# Where the package is installed, on a file system that all nodes mount (`make install` makes .venv).
VENV=${VENV:-.venv}
# How long to wait for the nodes, in seconds.
START_TIMEOUT=${START_TIMEOUT:-300}
# shellcheck source=/dev/null
source "$VENV/bin/activate"

# Whoever reaches Ray's ports can run code as you. The token stays in a file that only you can read: a value in the
# environment or on a command line would show in Slurm's records and in ps.
token_folder=${TOKEN_FOLDER:-$HOME/.ray}
mkdir -p "$token_folder"
RAY_AUTH_TOKEN_PATH=$(umask 077 && mktemp "$token_folder/slurm-$SLURM_JOB_ID.XXXXXX")
python -c 'import secrets; print(secrets.token_hex(32), end="")' >"$RAY_AUTH_TOKEN_PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH RAY_USAGE_STATS_ENABLED=0
# srun does not take this over from sbatch.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

steps=()
# shellcheck disable=SC2329  # the trap below calls it
tear_down() {
  # Only this job's steps: `ray stop` would end every Ray of yours on the node.
  if ((${#steps[@]})); then
    kill "${steps[@]}" 2>/dev/null || true
    wait "${steps[@]}" 2>/dev/null || true
  fi
  rm -f "$RAY_AUTH_TOKEN_PATH"
}
trap tear_down EXIT

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{ print $1 }')
port=$((20000 + SLURM_JOB_ID % 10000))
# In a folder per job, because /tmp/ray may belong to somebody else.
ray_options=(--block --num-cpus="$SRUN_CPUS_PER_TASK" --temp-dir="/tmp/ray-$USER-$SLURM_JOB_ID")
# Without a dashboard Ray still holds a port for it.
head_options=(--include-dashboard=false --dashboard-host=127.0.0.1 --dashboard-port=$((port + 10000)))

srun --nodes=1 --ntasks=1 --nodelist="$head" \
  ray start --head --node-ip-address="$head_ip" --port="$port" "${head_options[@]}" "${ray_options[@]}" &
steps+=($!)
export RAY_ADDRESS=$head_ip:$port
until ray status >/dev/null 2>&1; do
  if ((SECONDS > START_TIMEOUT)) || ! kill -0 "${steps[0]}" 2>/dev/null; then
    echo "no Ray head on $head after $SECONDS s; its output is above" >&2
    exit 1
  fi
  sleep 2
done

workers=$((${#nodes[@]} - 1))
if ((workers > 0)); then
  srun --nodes="$workers" --ntasks="$workers" --exclude="$head" \
    ray start --address="$RAY_ADDRESS" "${ray_options[@]}" &
  steps+=($!)
fi
timeout "$START_TIMEOUT" python - "${#nodes[@]}" <<'PYTHON' ||
import logging, sys, time, ray
ray.init(logging_level=logging.ERROR, log_to_driver=False)
while (alive := sum(node["Alive"] for node in ray.nodes())) < int(sys.argv[1]):
    time.sleep(2)
print(f"Ray runs on {alive} nodes: {ray.cluster_resources()}", flush=True)
PYTHON
  { echo "not all of ${nodes[*]} joined Ray after $START_TIMEOUT s" >&2; exit 1; }

rllib train file "$@" --ray-address "$RAY_ADDRESS" --resume &
training=$!
trap 'kill -TERM "$training" 2>/dev/null || true' TERM INT
# A signal ends `wait` early, while the training still writes its checkpoint.
status=0
wait "$training" || status=$?
while kill -0 "$training" 2>/dev/null; do
  status=0
  wait "$training" || status=$?
done
exit "$status"
