#!/bin/bash
# Train on the GPUs of a node, or of several, under SLURM.
#
#   sbatch training/slurm.sh RECIPE.toml --data XBD --split prepared/split.csv
#   sbatch --gpus-per-node=8 --time=3-00:00:00 training/slurm.sh RECIPE.toml ...
#   sbatch --nodes=2 training/slurm.sh RECIPE.toml ...
#
# Submit it from the root of the repository, with the environment activated: the job inherits both.
# What follows the script goes to training.train. The batch of a recipe is shared by all GPUs, so it
# has to be a multiple of their number: --set batch=16. Several nodes must see the same files.
# A job that was put back to the queue goes on after its last checkpoint; how many steps that costs
# is said by --set checkpoint_every=N.
#
#SBATCH --job-name=geodamage
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=128G
#SBATCH --time=1-00:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --requeue

set -euo pipefail

gpus=${SLURM_GPUS_ON_NODE:?no GPU was given to this job; ask for some with --gpus-per-node}
workers=$((SLURM_CPUS_PER_TASK / gpus))
read -r first_node < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 20000)) # two jobs on a node do not meet

# Since SLURM 22.05 srun does not take the job's processors by itself.
exec srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \
  torchrun --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$gpus" \
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first_node:$port" \
  -m training.train --set "workers=$workers" "$@"
