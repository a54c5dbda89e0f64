#!/bin/sh
# The same commands on a Slurm cluster with a shared file system. Change partition, time and folder. Ray needs label.dtype
# in params.yaml: bfloat16 or float32.
#SBATCH --job-name=muki
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=12:00:00
#SBATCH --requeue
set -eu
cd "${MUKI_PROJECT:?set it to the folder with params.yaml, on the shared file system}"

muki-pipeline prepare
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=6379
# One Ray node on every machine; they end with the job.
srun --nodes=1 --ntasks=1 -w "$head" ray start --head --port=$port --block &
sleep 20
srun --nodes=$((SLURM_NNODES - 1)) --ntasks=$((SLURM_NNODES - 1)) -x "$head" ray start --address="$head:$port" --block &
sleep 20
muki-pipeline label --teacher all --engine ray --address "$head:$port"

muki-pipeline embed
muki-pipeline integrate
# The student on the four GPUs of this machine.
muki-pipeline train-student --processes 4
