#!/bin/bash
# Train on 4 nodes of 8 GPUs:  sbatch examples/slurm.sh
# Sent again after it broke off or was preempted, it goes on where it stopped.

#SBATCH --job-name=vitreous
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
# Two minutes before the end of its time every torchrun hears SIGTERM and hands it on; training finishes its step,
# saves and leaves.
#SBATCH --signal=TERM@120

set -euo pipefail

RUN=runs/imagenet21k-vit-b16 # on a disk that all nodes see
DATA=/data/imagenet21k

if [ -e "$RUN/run.json" ]; then
  WORDS=(resume "$RUN")
else
  WORDS=(pretrain "$DATA" --recipe paper-imagenet21k-vit-b16 --run "$RUN" --device cuda --parallel fsdp)
fi

HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# Where the nodes have several networks, name the one to use:
#   export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0

exec srun --kill-on-bad-exit=1 torchrun \
  --nnodes "$SLURM_NNODES" \
  --nproc-per-node 8 \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-backend c10d \
  --rdzv-endpoint "$HEAD:29500" \
  -m -- vitreous "${WORDS[@]}"
