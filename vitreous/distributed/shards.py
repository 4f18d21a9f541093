"""Tensors on disk, each process writing its slices, readable by any number of processes: safetensors, never pickle.

torch.distributed.checkpoint does the work with its writer and reader of the Hugging Face layout: every file holds
slices, and its header says where in the whole tensors they lie. Its own layout keeps a pickle beside the data.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from vitreous.errors import ModelFileError


def save_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors into an empty folder, synced to disk; every process calls it with the same names.

    Each process writes its own slices, and what all hold alike is written once.

    Args:
        folder: exists and is seen by every process; nothing else lies in it.
        tensors: DTensors or plain ones, on any device.

    Raises:
        OSError: a process could not write; raised on every process.
    """
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        with _alone() as alone:
            save({name: tensor.detach() for name, tensor in tensors.items()}, storage_writer=writer, no_dist=alone)
    except CheckpointException as error:
        raise _first(error) from error


def load_shards(folder: Path, into: Mapping[str, Tensor]) -> None:
    """Fill tensors in place from a folder of `save_shards`, whatever number of processes wrote it.

    Every process of the group calls it with the same names; without a group it works alone.

    Args:
        folder: seen by every process.
        into: DTensors or plain ones; their slices may differ from those saved, their names, shapes and types may not.

    Raises:
        ModelFileError: a tensor is missing or has another shape, or a file is damaged.
    """
    reader = HuggingFaceStorageReader(str(folder))
    try:
        with _alone() as alone:
            load({name: tensor.detach() for name, tensor in into.items()}, storage_reader=reader, no_dist=alone)
    except CheckpointException as error:
        raise ModelFileError(
            "the saved tensors do not fit", where=str(folder), why=str(_first(error)).splitlines()[0]
        ) from error


def full(tensor: Tensor) -> Tensor:
    """The whole tensor on every process; a plain one as it is.

    Args:
        tensor: if a DTensor, every process calls this for it.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _first(error: CheckpointException) -> BaseException:
    """What went wrong on the lowest rank where something did."""
    return error.failures[min(error.failures)][0]


@contextmanager
def _alone() -> Iterator[bool]:
    """Whether there is no group; PyTorch then warns that there is none, even when told so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield not dist.is_initialized()
