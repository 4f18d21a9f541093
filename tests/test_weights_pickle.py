"""Pickles: weights come out of every file that torch.save ever wrote, and whatever else is in one never runs."""

from __future__ import annotations

import argparse
import collections
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vitreous.errors import ModelFileError, VitreousError
from vitreous.weights.formats import pickle_child, pickles
from vitreous.weights.formats.container import Raw, open_container
from vitreous.weights.formats.pickle_child import NoWeights, answer, choose, is_state

MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}q\x00."  # magic, version, system


def state() -> dict[str, Tensor]:
    """Tensors of many kinds: transposed, tied, a slice of a larger storage, empty, one number, every common type."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(5, 7, generator=generator)
    return {
        "weight": weight,
        "transposed": weight.t(),
        "tied": weight,
        "slice": torch.randn(4, 6, generator=generator)[1:3, ::2],
        "expanded": torch.randn(3, 1, generator=generator).expand(3, 2),
        "empty": torch.empty(0, 4),
        "one": torch.tensor(2.5, dtype=torch.float64),
        "bfloat": torch.randn(3, generator=generator).bfloat16(),
        "half": torch.randn(2, 3, generator=generator).half(),
        "float8": torch.randn(5, generator=generator).to(torch.float8_e4m3fn),
        "flags": torch.tensor([True, False, True]),
        "count": torch.tensor(9),
        "complex": torch.randn(2, dtype=torch.complex64, generator=generator),
        "parameter": nn.Parameter(torch.randn(2, 2, generator=generator)),
    }


def omegaconf_like(patch: pytest.MonkeyPatch) -> Any:
    """What pickles as OmegaConf's DictConfig does, without OmegaConf."""
    base = type("ContainerMetadata", (), {"__module__": "omegaconf.base"})
    config = type("DictConfig", (), {"__module__": "omegaconf.dictconfig"})
    for name, cls in {"omegaconf": object, "omegaconf.base": base, "omegaconf.dictconfig": config}.items():
        patch.setitem(sys.modules, name, ModuleType(name))
        setattr(sys.modules[name], cls.__name__, cls)
    made = config()
    made.__dict__ = {"_metadata": base(), "_content": {"lr": 0.1, "types": [int, dict, Any]}}
    return made


def training_checkpoint(patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """As DeiT, MAE and DINO write them, with everything that a training run leaves in a file (C3)."""
    module = nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return {
        "model": collections.OrderedDict(state()),
        "model_ema": {"weight": torch.ones(5, 7)},
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(lr=0.1, output_dir=PosixPath("runs/a"), device=torch.device("cuda")),
        "path": PosixPath("runs/a"),
        "best": np.float64(81.5),
        "random": np.random.RandomState(0).get_state(),
        "history": collections.defaultdict(list, {"loss": [1.0, 2.0]}),
        "config": omegaconf_like(patch),
        "rng": torch.zeros(16, dtype=torch.uint8),
        "epoch": 300,
        "dtype": torch.float16,
        "size": torch.Size([1, 2]),
    }


def opened(files: dict[str, Path], root: str | None = None) -> dict[str, Raw | VitreousError]:
    """What each file opens as, two child processes at a time."""

    def one(path: Path) -> Raw | VitreousError:
        try:
            return open_container(path, root=root)
        except VitreousError as error:
            return error

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(files, pool.map(one, files.values()), strict=True))


def same(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    assert list(expected) == list(found)
    for name, tensor in expected.items():
        assert tensor.dtype == found[name].dtype, name
        assert tensor.shape == found[name].shape, name
        assert found[name].is_contiguous(), name
        assert not found[name].requires_grad
        assert tensor.detach().contiguous().numel() == 0 or torch.equal(
            tensor.detach().contiguous().reshape(-1).view(torch.uint8), found[name].reshape(-1).view(torch.uint8)
        ), name


class Scripted(nn.Module):
    """A small module with nested ones, to be saved as a TorchScript program."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 2, bias=False)
        self.proj = nn.Parameter(torch.randn(4, 3))
        self.blocks = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
        self.register_buffer("resolution", torch.tensor(224))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x) @ self.proj


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benign")
    with pytest.MonkeyPatch.context() as patch:
        checkpoint = training_checkpoint(patch)
        torch.save(checkpoint, folder / "zip.pth")
        del checkpoint["model"]["float8"]  # which the format before zip cannot name
        torch.save(checkpoint, folder / "legacy.ckpt", _use_new_zipfile_serialization=False)
    torch.save(state(), folder / "flat.bin")
    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; OpenAI's files remain
        torch.jit.save(torch.jit.script(Scripted().half()), folder / "script.pt")
    return folder


@pytest.fixture(scope="module")
def read(written: Path) -> dict[str, Raw | VitreousError]:
    return opened({path.name: path for path in sorted(written.iterdir())})


@pytest.mark.parametrize("name", ["zip.pth", "legacy.ckpt", "flat.bin"])
def test_every_tensor_comes_back_bit_for_bit(read: dict[str, Raw], name: str) -> None:
    assert "pickle" == read[name].kind
    expected = {key: value for key, value in state().items() if key != "float8" or name != "legacy.ckpt"}
    same(expected, read[name].tensors)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.ckpt"])
def test_training_state_is_named_and_left_alone(read: dict[str, Raw], name: str) -> None:
    """C3: Namespace, paths, NumPy and OmegaConf objects are reported, not loaded and not refused."""
    assert {
        "model_ema: 1 tensors, taken with root='model_ema'",
        "optimizer: 6 tensors of training state",
        "args: argparse.Namespace",
        "path: pathlib.PosixPath",
        "best: a NumPy number",
        "random: tuple",
        "history: dict",
        "config: omegaconf.dictconfig.DictConfig",
        "rng: a tensor of shape (16,)",
        "epoch: 300",
        "dtype: dtype",
        "size: Size",
    } == set(read[name].ignored)


def test_torchscript_gives_its_state_dict_and_its_program_stays_shut(read: dict[str, Raw], written: Path) -> None:
    """OpenAI's CLIP files are such programs; torch's own loader is the oracle for names and values."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = torch.jit.load(written / "script.pt").state_dict()
    found = read["script.pt"]
    same({name: expected[name] for name in found.tensors}, found.tensors)
    assert set(expected) == set(found.tensors)
    assert ("the program of a TorchScript archive, which is never run",) == found.ignored


def test_another_state_dict_is_taken_when_asked_for(written: Path) -> None:
    raw = open_container(written / "zip.pth", root="model_ema")
    same({"weight": torch.ones(5, 7)}, raw.tensors)
    assert "model: 14 tensors, taken with root='model'" in raw.ignored


def test_nothing_is_left_behind(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raw = open_container(written / "legacy.ckpt")
    assert [] == list(tmp_path.iterdir())
    assert torch.equal(state()["weight"], raw.tensors["weight"])


def test_state_dicts_are_preferred_in_the_documented_order() -> None:
    """Pure choosing: no file, no process."""
    one = {"a": torch.ones(2)}
    other = {"b": torch.ones(3)}
    assert ("teacher/", other) == choose({"student": one, "teacher": other, "epoch": 3}, None)[:2]
    assert ("model/", one) == choose({"model_ema": other, "model": one}, None)[:2]
    assert ("weights/", one) == choose({"weights": one, "optimizer": {"state": {0: other}}}, None)[:2]
    assert ("net/", one) == choose({"net": one, "optimizer_states": {0: other}, "rng": torch.ones(1)}, None)[:2]
    assert ("", ["optimizer: 1 tensors of training state"]) == choose({**one, "optimizer": {0: other}}, None)[::2]
    assert ("state_dict/model/", one) == choose({"state_dict": {"model": one, "x": 1}}, None)[:2]
    assert ("ema/model/", other) == choose({"model": one, "ema": {"model": other, "n": 1}}, "ema/model")[:2]
    assert ("", {**one, "n": 3}, ["n: 3"]) == choose({**one, "n": 3}, None)
    with pytest.raises(NoWeights, match="backbone, head") as caught:
        choose({"backbone": one, "head": other}, None)
    assert "say which: root='backbone'" == caught.value.remedy
    with pytest.raises(NoWeights, match="no nothing in it"):
        choose({"model": one}, "nothing")
    with pytest.raises(NoWeights, match="holds a list, not tensors by name"):
        choose([torch.ones(1)], None)
    with pytest.raises(NoWeights, match="holds no tensors by name"):
        choose({"epoch": 3}, None)


def test_a_structure_without_end_is_looked_at_for_a_while_only() -> None:
    """Containers that hold themselves, and ones that double at every level."""
    loop: dict[str, Any] = {"x": 1}
    loop["model"] = loop
    with pytest.raises(NoWeights):
        choose(loop, None)
    doubling: list[Any] = [torch.ones(1)]
    for _ in range(60):
        doubling = [doubling, doubling]
    assert is_state({"weight": torch.ones(1), "other": doubling}) in (True, False)
    with pytest.raises(NoWeights):
        choose({"model": {"a": loop, "b": doubling}}, None)


# Evil files. Every payload that could run would create the canary.


class Evil:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def system(command: str) -> bytes:
    """A call of os.system as scanners know it, `posix.system` being what pickle would write."""
    return b"\x80\x02cos\nsystem\nX" + struct.pack("<I", len(command)) + command.encode() + b"\x85R."


def called(module: str, name: str, *texts: str) -> bytes:
    strings = b"".join(b"X" + struct.pack("<I", len(text)) + text.encode() for text in texts)
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + strings + b"tR."


def zipped(path: Path, program: bytes, storages: dict[str, bytes] | None = None) -> Path:
    """A file of torch.save's zip format around any pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/byteorder", "little")
        for key, values in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", values)
        archive.writestr("archive/version", "3\n")
    return path


def legacy(path: Path, program: bytes, keys: bytes = b"\x80\x02].", values: bytes = b"") -> Path:
    path.write_bytes(MAGIC + program + keys + values)
    return path


def tensor_program(shape: bytes, stride: bytes, numel: bytes, legacy_view: bytes = b"") -> bytes:
    """{"model": {"w": tensor}} over storage "0" of `numel` floats, everything else as given, in opcodes."""
    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu" + numel
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + legacy_view + b"tQK\x00" + shape + stride
    rebuilt += b"\x89ccollections\nOrderedDict\n)RtR"
    return b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00w" + rebuilt + b"ss."


def number(value: int) -> bytes:
    """The shortest opcode torch's unpickler knows for it."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    return b"\x8a\x08" + struct.pack("<q", value)


FOUR = struct.pack("<4f", 1, 2, 3, 4)


def evil_files(folder: Path, canary: Path) -> dict[str, tuple[Path, str]]:
    """C1 and C2: by name, a file and what its refusal must name."""
    touch = f"touch {canary}"
    gadgets = {
        "os.system": (system(touch), "os.system"),
        "posix": (pickle.dumps(Evil(__import__("os").system, touch), 2), "posix.system"),
        "newer protocol": (pickle.dumps({"model": Evil(__import__("os").system, touch)}, 4), "posix.system"),
        "collect_env": (called("torch.utils.collect_env", "run", touch), "torch.utils.collect_env.run"),
        "spawn": (called("multiprocessing.util", "spawnv_passfds", "/bin/sh"), "multiprocessing.util.spawnv_passfds"),
        "getattr": (called("__builtin__", "getattr", "os", "system"), "builtins.getattr"),
        "eval": (pickle.dumps(Evil(eval, f"open({str(canary)!r}, 'w')"), 2), "builtins.eval"),
        "exec": (pickle.dumps(Evil(exec, f"open({str(canary)!r}, 'w')"), 2), "builtins.exec"),
        "instance": (b"\x80\x02(X\x04\x00\x00\x00trueios\nsystem\n.", "os.system"),
        "hub": (called("torch.hub", "load", "a/b", "c"), "torch.hub.load"),
        "quantised": (called("torch._utils", "_rebuild_qtensor", "x"), "torch._utils._rebuild_qtensor"),
        "module": (
            pickle.dumps(nn.Linear(2, 3), 2),
            "torch.nn.modules.linear.Linear, torch.storage._load_from_bytes",
        ),
        "escape": (called("os\x1b[31m", "system", touch), "os??31m.system"),
    }
    files = {}
    for name, (program, words) in gadgets.items():
        files[f"{name}, zip"] = (zipped(folder / f"{name}.pt", program), words)
        files[f"{name}, legacy"] = (legacy(folder / f"{name}.pth", program), words)
        (folder / f"{name}.ckpt").write_bytes(program)
        files[f"{name}, plain"] = (folder / f"{name}.ckpt", words)
    return files


def test_evil_pickles_are_refused_by_name_and_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C1, C2: as zip, legacy and plain pickle; no process is even started for them."""
    monkeypatch.setattr(subprocess, "run", None)
    canary = tmp_path / "canary"
    for name, (path, words) in evil_files(tmp_path, canary).items():
        with pytest.raises(ModelFileError, match="holds more than weights, so nothing in it was run") as caught:
            open_container(path)
        assert f"it names {words}" == caught.value.why, name
        assert 4 == caught.value.exit_code
    assert not canary.exists()


def test_the_child_refuses_too_what_the_parent_would_overlook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second lock: torch's own, with the parent's reading of names switched off."""
    canary = tmp_path / "canary"
    path = zipped(tmp_path / "evil.pt", pickle.dumps({"model": Evil(__import__("os").system, f"touch {canary}")}, 2))
    monkeypatch.setattr(pickles, "_listed", lambda *_, **__: ([], set()))
    with pytest.raises(ModelFileError, match=r"unsupported GLOBAL posix\.system"):
        open_container(path)
    assert not canary.exists()


def bombs(folder: Path) -> dict[str, Path]:
    """C4, and files that lie about their tensors."""
    four, two_two, one = number(4), number(2) * 2 + b"\x86", number(2) + number(1) + b"\x86"
    billion = number(10**9)
    keys = b"\x80\x02]X\x01\x00\x00\x000a."
    saved = struct.pack("<q", 4) + FOUR
    return {
        "nesting": zipped(folder / "a.pt", b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b"."),
        "nested tuples": legacy(folder / "b.pt", b"\x80\x02)" + b"\x85" * 300_000 + b"."),
        "huge long": zipped(
            folder / "c.pt", b"\x80\x02\x8b" + struct.pack("<i", 2_000_000) + b"\x7f" * 2_000_000 + b"."
        ),
        "memo loop": zipped(folder / "d.pt", b"\x80\x02}q\x00X\x05\x00\x00\x00modelh\x00s."),
        "vast memo": zipped(folder / "e.pt", b"\x80\x02]r\xff\xff\xff\xff."),
        "setitems on a list": zipped(folder / "f.pt", b"\x80\x02](K\x01K\x02u."),
        "vast tensor": zipped(
            folder / "g.pt", tensor_program(billion + b"\x85", number(1) + b"\x85", billion), {"0": FOUR}
        ),
        "vast view": zipped(folder / "h.pt", tensor_program(billion + b"\x85", number(1) + b"\x85", four), {"0": FOUR}),
        "vast legacy": legacy(
            folder / "i.pt", tensor_program(billion + b"\x85", number(1) + b"\x85", number(10**11), b"N"), keys, saved
        ),
        "unfolded": zipped(folder / "j.pt", tensor_program(billion + b"\x85", number(0) + b"\x85", four), {"0": FOUR}),
        "unfolded legacy": legacy(
            folder / "k.pt", tensor_program(billion + b"\x85", number(0) + b"\x85", four, b"N"), keys, saved
        ),
        "more declared": zipped(folder / "l.pt", tensor_program(two_two, one, number(6)), {"0": FOUR, "1": FOUR}),
        "less declared": zipped(folder / "m.pt", tensor_program(one, one, number(3)), {"0": FOUR}),
        "more declared, legacy": legacy(folder / "n.pt", tensor_program(two_two, one, number(6), b"N"), keys, saved),
        "negative shape": zipped(
            folder / "o.pt", tensor_program(number(-2) + b"\x85", number(1) + b"\x85", four), {"0": FOUR}
        ),
        "no storage": zipped(folder / "p.pt", tensor_program(two_two, one, four)),
        "cut storage": legacy(folder / "q.pt", tensor_program(two_two, one, four, b"N"), keys, saved[:-3]),
        "storage of nothing": zipped(folder / "r.pt", b"\x80\x02K\x07Q."),
        "a number": zipped(folder / "s.pt", b"\x80\x02K\x07."),
        "empty stack": zipped(folder / "t.pt", b"\x80\x02."),
    }


def test_the_programs_of_these_tests_are_right(tmp_path: Path) -> None:
    """Told the truth, the same opcodes make a file that opens; else the refusals below would prove nothing."""
    shape, stride = number(2) * 2 + b"\x86", number(2) + number(1) + b"\x86"
    keys = b"\x80\x02]X\x01\x00\x00\x000a."
    found = opened(
        {
            "zip": zipped(tmp_path / "a.pt", tensor_program(shape, stride, number(4)), {"0": FOUR}),
            "legacy": legacy(
                tmp_path / "b.pt", tensor_program(shape, stride, number(4), b"N"), keys, struct.pack("<q", 4) + FOUR
            ),
        }
    )
    for raw in found.values():
        assert isinstance(raw, Raw), raw
        assert [[1.0, 2.0], [3.0, 4.0]] == raw.tensors["w"].tolist()


def test_bombs_and_lies_end_in_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """C4: each in one ModelFileError, those that need much within the limits of a real child."""
    files = bombs(tmp_path)
    real = {name: files.pop(name) for name in ("nesting", "nested tuples", "vast legacy", "unfolded legacy")}
    found = opened(real)
    # the others need nothing: what the child does is done here, to spare the start of a process each
    monkeypatch.setattr(pickles, "_ask_child", lambda _path, folder, request: answer(request, folder))
    found |= opened(files)
    for name, error in found.items():
        assert isinstance(error, ModelFileError), (name, error)
        assert error.why, name
        assert "Traceback" not in str(error), name


def test_limits_end_a_child_that_needs_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Address space and computing time: both limits bite, and each is said in words."""
    hungry = zipped(tmp_path / "hungry.pt", b"\x80\x02(" + b"]" * 600_000 + b"t.")
    slow = zipped(tmp_path / "slow.pt", b"\x80\x02N" + b"q\x00" * 3_900_000 + b".")
    monkeypatch.setattr(pickles, "_MEMORY", 16 << 20)
    monkeypatch.setattr(pickles, "_SECONDS", 1)
    found = opened({"hungry": hungry, "slow": slow})
    assert "needs more than weights need" in str(found["hungry"])
    assert "more memory" in str(found["hungry"])
    assert "needs more than weights need" in str(found["slow"])
    assert "ended by SIG" in str(found["slow"])


def test_a_child_that_gives_no_answer_in_time_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_PATIENCE", 0.2)
    with pytest.raises(ModelFileError, match=r"it was not read after 0\.2 s"):
        open_container(zipped(tmp_path / "w.pt", b"\x80\x02N."))


def test_a_pickle_of_endless_instructions_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "_MAX_STEPS", 1000)
    path = zipped(tmp_path / "long.pt", b"\x80\x02N" + b"q\x00" * 1000 + b".")
    with pytest.raises(ModelFileError, match="more than 1,000 instructions"):
        open_container(path)


def test_files_without_checksums_and_of_any_name_open(tmp_path: Path) -> None:
    """torch.save can leave checksums out, and takes the name of the archive's folder from the file's."""
    path = tmp_path / "模型 12:30.pt"
    try:
        torch.serialization.set_crc32_options(False)
        torch.save({"a": torch.ones(3)}, path)
    finally:
        torch.serialization.set_crc32_options(True)
    same({"a": torch.ones(3)}, open_container(path).tensors)


def test_a_torch_that_does_not_say_where_storages_lie_is_enough(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the values take the way of the format before zip, through a file of their own."""
    told = pickle_child.described

    def untold(tree: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, list[Any]]]:
        tensors, places = told(tree)
        return tensors, {name: [*place[:4], None, place[5]] for name, place in places.items()}

    monkeypatch.setattr(pickle_child, "described", untold)
    monkeypatch.setattr(pickles, "_ask_child", lambda _path, folder, request: answer(request, folder))
    same(state(), open_container(written / "flat.bin").tensors)


@pytest.mark.parametrize("name", ["zip.pth", "legacy.ckpt"])
def test_cut_short_anywhere_is_one_error(
    written: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cuts within the pickle need no child to be seen; the last ones lie in the values."""
    blob = (written / name).read_bytes()
    inside = [1, 2, 8, 30, 100, 500, len(blob) // 4]
    if name.startswith("zip"):
        inside += [len(blob) // 2, len(blob) - 200, len(blob) - 22, len(blob) - 1]
    monkeypatch.setattr(subprocess, "run", None)
    for size in inside:
        (tmp_path / name).write_bytes(blob[:size])
        with pytest.raises(ModelFileError):
            open_container(tmp_path / name)


def test_a_flipped_bit_in_the_values_is_seen(written: Path, tmp_path: Path) -> None:
    """torch itself does not look at the checksums of its zip files."""
    blob = bytearray((written / "flat.bin").read_bytes())
    with zipfile.ZipFile(written / "flat.bin") as archive:
        place = blob.find(archive.read("flat/data/0"))
    blob[place + 50] ^= 16
    (tmp_path / "flipped.bin").write_bytes(blob)
    with pytest.raises(ModelFileError, match="the checksum of flat/data/0 is wrong"):
        open_container(tmp_path / "flipped.bin")
