"""Several processes, one training run: PyTorch's own engines behind one small `Group`, and who is gone when one dies.

world.py      which of how many processes this is
meeting.py    a store of their own for the processes of one life
group.py      `joined`: the group of all processes for as long as it lasts; sums, messages, the engine around the model
engine.py     DistributedDataParallel and fully_shard, gradients that wait for the last micro-batch, clipping
heartbeat.py  signs of life: a process that dies or hangs is named by the others, and they end
shards.py     sharded tensors on disk, readable by any number of processes

No other room imports torch.distributed. With one process nothing of it runs and every method is the identity.
"""

from vitreous.distributed.group import Group, joined
from vitreous.distributed.heartbeat import Patience
from vitreous.distributed.shards import full, load_shards, save_shards
from vitreous.distributed.world import World, share, world

__all__ = ["Group", "Patience", "World", "full", "joined", "load_shards", "save_shards", "share", "world"]
