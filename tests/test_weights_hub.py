"""Weights come whole or not at all, only when asked, and what is on the disk is what was published."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hub_server import COMMIT, Hub, serving

from vitreous.config import PreprocessConfig
from vitreous.errors import ModelFileError, ResourceError, UnknownNameError, UsageError
from vitreous.pretrained import HubFile, Pretrained, WebFile
from vitreous.weights.formats import container
from vitreous.weights.hub import download
from vitreous.weights.hub import fetch as hub
from vitreous.weights.hub.cache import inside
from vitreous.weights.hub.fetch import cached, fetch

CONTENT = bytes(range(256)) * 13_000  # 3.3 MB: several chunks
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MAIN = "/some/model/resolve/main/model.safetensors"


@pytest.fixture
def server() -> Iterator[Hub]:
    with serving(Hub()) as running:
        yield running


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees this person's caches, token or settings, or waits between tries."""
    for name in ("HF_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(download, "_WAITS", (0.0, 0.0, 0.0))


def entry(location: HubFile | WebFile, sha256: str | None = None) -> Pretrained:
    """Made-up weights at `location`."""
    return Pretrained(
        name="vit-mine.made_up",
        architecture="vit-mine",
        tag="made_up",
        family="vit",
        dialect="timm",
        location=location,
        sha256=sha256,
        num_bytes=None,
        licence="cc-by-nc-4.0",
        gated=False,
        preprocess=PreprocessConfig(),
        num_classes=7,
        label_set="none",
        image_size=(24, 40),
        accuracy=None,
        source="",
        note="",
    )


def get(server: Hub, tmp_path: Path, what: Pretrained | str = "some/model", **options: bool) -> Path:
    return fetch(what, cache=tmp_path / "cache", hub_url=server.url, progress=False, **options)


def left_over(tmp_path: Path) -> list[str]:
    """What a download leaves beside the files that count."""
    return [path.name for path in (tmp_path / "cache").rglob("*") if ".part" in path.name or "writing" in path.name]


def test_a_repository_comes_whole(server: Hub, tmp_path: Path) -> None:
    """Weights through the redirect of large files, verified, with the small files beside them, in a readable place."""
    server.put("some/model", "model.safetensors", CONTENT, large=True)
    server.put("some/model", "config.json", b'{"a": 1}')
    path = get(server, tmp_path)
    assert tmp_path / "cache/weights/hub/some/model/main/model.safetensors" == path
    assert CONTENT == path.read_bytes()
    assert b'{"a": 1}' == path.with_name("config.json").read_bytes()
    record = json.loads(path.with_name("fetched.json").read_text())
    assert (len(CONTENT), DIGEST, COMMIT) == tuple(
        record["files"]["model.safetensors"][key] for key in ("size", "sha256", "commit")
    )
    assert [] == left_over(tmp_path)
    # what follows the weights is asked for at the commit that the weights had
    assert {COMMIT} == {request.path.split("/")[4] for request in server.gets(".json")}


def test_what_is_here_is_not_asked_for_again(server: Hub, tmp_path: Path) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    first = get(server, tmp_path)
    asked = len(server.asked)
    assert first == get(server, tmp_path) == cached("some/model", cache=tmp_path / "cache")
    assert first == get(server, tmp_path, offline=True)
    assert asked == len(server.asked)


def test_nothing_is_fetched_by_looking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`cached`, and `fetch` offline, open no connection."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert cached("vit-b16.augreg_in21k", cache=tmp_path) is None
    with pytest.raises(ResourceError, match=r"vit-b16\.augreg_in21k is not on this machine") as caught:
        fetch("vit-b16.augreg_in21k", cache=tmp_path, offline=True)
    assert "--fetch" in str(caught.value.remedy)
    assert caught.value.exit_code == 6
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ResourceError, match="is not on this machine"):
        fetch("vit-b16.augreg_in21k", cache=tmp_path)
    assert [] == list(tmp_path.rglob("*.lock"))


@pytest.mark.parametrize("large", [False, True])
def test_a_broken_connection_is_resumed(server: Hub, tmp_path: Path, large: bool) -> None:
    """The second request asks for the missing bytes only, and no byte comes twice."""
    server.put("some/model", "model.safetensors", CONTENT, large=large)
    place = f"/blob/{DIGEST}" if large else MAIN
    server.drop[place] = [1_500_000, 700_001]
    assert CONTENT == get(server, tmp_path).read_bytes()
    requests = server.gets(place)
    assert [None, "bytes=1500000-", "bytes=2200001-"] == [request.headers.get("Range") for request in requests]
    assert len(CONTENT) == sum(request.sent for request in requests)


def test_another_process_goes_on_where_the_first_gave_up(server: Hub, tmp_path: Path) -> None:
    """What came before the network went away is kept, and told of."""
    server.put("some/model", "model.safetensors", CONTENT)
    server.drop[MAIN] = [2_000_000, 0, 0, 0, 0]
    with pytest.raises(ResourceError, match="could not be fetched") as caught:
        get(server, tmp_path)
    assert "goes on after the 2.0 MB" in str(caught.value.remedy)
    assert cached("some/model", cache=tmp_path / "cache") is None
    assert CONTENT == get(server, tmp_path).read_bytes()
    assert "bytes=2000000-" == server.gets("safetensors")[-1].headers["Range"]


def test_a_server_without_ranges_begins_anew(server: Hub, tmp_path: Path) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    server.ranges = False
    server.drop[MAIN] = [1_000_000]
    assert CONTENT == get(server, tmp_path).read_bytes()
    assert [1_000_000, len(CONTENT)] == [request.sent for request in server.gets("safetensors")]


@pytest.mark.parametrize("etags", [True, False])
def test_a_file_that_changed_meanwhile_is_begun_anew(server: Hub, tmp_path: Path, etags: bool) -> None:
    """Halves of two versions are never joined, nor halves of which nobody says the version."""
    server.etags = etags
    server.put("some/model", "model.safetensors", CONTENT)
    server.drop[MAIN] = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(ResourceError):
        get(server, tmp_path)
    server.drop.clear()
    other = CONTENT[::-1]
    server.put("some/model", "model.safetensors", other)
    assert other == get(server, tmp_path).read_bytes()


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server: Hub, tmp_path: Path) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    home = tmp_path / "cache/weights/hub/some/model/main"
    home.mkdir(parents=True)
    (home / "model.safetensors.part").write_bytes(CONTENT + b"more")
    note = {"url": server.url + MAIN, "version": f'"{hashlib.md5(CONTENT).hexdigest()}"'}
    (home / "model.safetensors.part.json").write_text(json.dumps(note))
    assert CONTENT == get(server, tmp_path).read_bytes()


def test_an_announced_length_must_come(server: Hub, tmp_path: Path) -> None:
    """A body that is shorter than its Content-Length is never taken for the file."""
    server.put("some/model", "model.safetensors", CONTENT)
    server.headers[MAIN] = {"Content-Length": str(len(CONTENT) + 9), "ETag": ""}
    with pytest.raises(ResourceError, match=r"ended after 3,328,000 of 3,328,009 bytes"):
        get(server, tmp_path)
    assert cached("some/model", cache=tmp_path / "cache") is None


def test_the_digest_that_the_hub_states_must_be_right(server: Hub, tmp_path: Path) -> None:
    """Nothing of a file with a flipped bit stays, not even a part to resume."""
    server.put("some/model", "model.safetensors", CONTENT, large=True)
    server.headers[MAIN] = {"X-Linked-Etag": f'"{"ab" * 32}"'}
    with pytest.raises(ModelFileError, match="not the file that was published; it is removed") as caught:
        get(server, tmp_path)
    assert DIGEST in str(caught.value.why)
    assert caught.value.exit_code == 4
    assert [] == [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file() and not p.name.endswith(".lock")]


def test_the_md5_that_a_bucket_states_must_be_right(server: Hub, tmp_path: Path) -> None:
    server.files["/vit_models/ViT.npz"] = CONTENT
    server.headers["/vit_models/ViT.npz"] = {"x-goog-hash": "crc32c=AAAAAA==,md5=1B2M2Y8AsgTpgAmY7PhCfg=="}
    with pytest.raises(ModelFileError, match="d41d8cd98f00b204e9800998ecf8427e"):
        fetch(f"{server.url}/vit_models/ViT.npz", cache=tmp_path / "cache", progress=False)


@pytest.mark.parametrize(("digits", "right"), [(DIGEST[:8], True), (DIGEST.upper(), True), ("0a1b2c3d", False)])
def test_published_digits_must_be_right(server: Hub, tmp_path: Path, digits: str, right: bool) -> None:
    """Eight leading digits in a file name are checked as such, a whole digest as such."""
    server.files["/models/vit.pth"] = CONTENT
    wanted = entry(WebFile(f"{server.url}/models/vit.pth"), digits)
    if right:
        path = fetch(wanted, cache=tmp_path / "cache", progress=False)
        assert path.as_posix().endswith("/models/vit.pth")
        assert CONTENT == path.read_bytes()
        return
    with pytest.raises(ModelFileError, match="should begin with 0a1b2c3d"):
        fetch(wanted, cache=tmp_path / "cache", progress=False)
    assert cached(wanted, cache=tmp_path / "cache") is None


@pytest.mark.parametrize(
    ("code", "kind", "token", "kinds", "said"),
    [
        (404, "", "", ModelFileError, "no file of weights that is known here"),
        (401, "RepoNotFound", "", ResourceError, "wants to know who asks, or there is no such repository"),
        (401, "", "hf_old", ResourceError, "does not accept the token"),
        (403, "GatedRepo", "", ResourceError, "these weights are gated"),
        (401, "GatedRepo", "hf_mine", ResourceError, "these weights are gated"),
        (451, "", "", ResourceError, "the server refuses"),
    ],
)
def test_refusals_have_words_of_their_own(
    server: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    kind: str,
    token: str,
    kinds: type[Exception],
    said: str,
) -> None:
    """Missing, unknown, gated and forbidden are different mistakes with different remedies, told at once."""
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    server.error_code = kind
    for file in HubFile("some/model").files:
        server.answers[f"/some/model/resolve/main/{file}"] = [-code]
    with pytest.raises(kinds, match=said):
        get(server, tmp_path)
    assert len(server.asked) == (4 if code == 404 else 1)


@pytest.mark.parametrize("code", [500, 503, 429])
def test_a_server_that_is_busy_is_asked_again(server: Hub, tmp_path: Path, code: int) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    server.answers[MAIN] = [code, code]
    assert CONTENT == get(server, tmp_path).read_bytes()


def test_a_server_that_stays_busy_is_told_of_once(server: Hub, tmp_path: Path) -> None:
    server.answers[MAIN] = [-503]
    with pytest.raises(ResourceError, match=r"the server answers 503 .*tried 4 times"):
        get(server, tmp_path)
    assert 4 == len(server.asked)


def test_no_server_at_all(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ResourceError, match="could not be fetched") as caught:
            fetch("some/model", cache=tmp_path / "cache", hub_url=url)
    assert "--hub-url FOLDER" in str(caught.value.remedy)


def test_a_token_is_shown_to_the_hub_and_to_nobody_else(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to the place that large files are redirected to, and not to other addresses."""
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.token = "hf_secret"
    with serving(Hub(files={f"/blob/{DIGEST}": CONTENT, "/resolve/x.npz": CONTENT})) as store:
        store.files[f"/blob/{DIGEST}"] = CONTENT
        server.put("some/model", "model.safetensors", CONTENT, large=True)
        server.headers[MAIN] = {"Location": f"{store.url}/blob/{DIGEST}"}
        assert CONTENT == get(server, tmp_path).read_bytes()
        fetch(f"{store.url}/resolve/x.npz", cache=tmp_path / "cache", progress=False)
        assert ["Bearer hf_secret"] == [request.headers.get("Authorization") for request in server.gets("safetensors")]
        assert {None} == {request.headers.get("Authorization") for request in store.asked}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "text/html; charset=utf-8"),
        (b"  <HTML><body>404", "application/octet-stream"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "text/plain"),
    ],
)
def test_a_page_is_no_file_of_weights(server: Hub, tmp_path: Path, body: bytes, kind: str) -> None:
    """A login page answered with 200, or git's pointer, is refused and not kept."""
    server.put("some/model", "model.safetensors", body)
    server.headers[MAIN] = {"Content-Type": kind}
    with pytest.raises(ModelFileError, match="no file of weights"):
        get(server, tmp_path)
    assert [] == left_over(tmp_path)
    assert cached("some/model", cache=tmp_path / "cache") is None


def test_shards_come_with_their_index(server: Hub, tmp_path: Path) -> None:
    """Every file that the index lists comes, and one that is damaged later is told and fetched again alone."""
    shards = {f"model-0000{i}-of-00003.safetensors": CONTENT[: 1000 + i] for i in (1, 2, 3)}
    index = {"weight_map": {f"t{i}": name for i, name in enumerate([*shards, *shards])}}
    server.put("some/model", "model.safetensors.index.json", json.dumps(index).encode())
    for name, content in shards.items():
        server.put("some/model", name, content, large=True)
    path = get(server, tmp_path)
    assert "model.safetensors.index.json" == path.name
    assert shards == {name: path.with_name(name).read_bytes() for name in shards}
    victim = path.with_name("model-00002-of-00003.safetensors")
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    with pytest.raises(ModelFileError, match="a bit has changed on disk") as caught:
        cached("some/model", cache=tmp_path / "cache")
    assert str(victim) == caught.value.where
    asked = len(server.asked)
    assert path == get(server, tmp_path)
    assert shards[victim.name] == victim.read_bytes()
    assert {victim.name, DIGEST} >= {r.path.split("/")[-1] for r in server.asked[asked:] if "model-" in r.path}


def test_a_damaged_file_is_told_and_fetched_again(
    server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    path = get(server, tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelFileError, match="a fetched file is damaged") as caught:
        get(server, tmp_path, offline=True)
    assert "--fetch" in str(caught.value.remedy)
    assert CONTENT == get(server, tmp_path).read_bytes()
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["../evil.safetensors", "/etc/evil.safetensors", "a/../../evil.bin", "..\\evil.bin", "C:evil.bin", "e\nvil.bin"],
)
def test_no_file_lies_outside_its_folder(server: Hub, tmp_path: Path, name: str) -> None:
    """Names that an index lists are data of a stranger."""
    server.put("some/model", "model.safetensors.index.json", json.dumps({"weight_map": {"t": name}}).encode())
    with pytest.raises(ModelFileError, match="outside its folder"):
        get(server, tmp_path)
    assert [] == [path for path in tmp_path.rglob("*") if "evil" in path.name]


@pytest.mark.parametrize(
    "index", [b"{}", b"[1]", b'{"weight_map": {}}', b'{"weight_map": {"a": "fetched.json"}}', b"{"]
)
def test_an_index_must_be_one(server: Hub, tmp_path: Path, index: bytes) -> None:
    server.put("some/model", "model.safetensors.index.json", index)
    with pytest.raises(ModelFileError, match="index of the shards cannot be understood"):
        get(server, tmp_path)


def test_small_files_must_be_small(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config.json without end does not fill the disk."""
    monkeypatch.setattr(hub, "_MOST_JSON", 1000)
    server.put("some/model", "model.safetensors", CONTENT)
    server.put("some/model", "config.json", b" " * 2000)
    with pytest.raises(ModelFileError, match="at most 1,000 are expected"):
        get(server, tmp_path)


def test_two_at_once_do_not_fetch_the_same(server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The second waits for the first, says so, and uses what it brought."""
    server.put("some/model", "model.safetensors", CONTENT)
    server.delay = 0.5
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: get(server, tmp_path).read_bytes(), range(2)))
    assert [CONTENT, CONTENT] == both
    assert 1 == len(server.gets("model.safetensors"))
    assert "another process is fetching into" in capsys.readouterr().err


def test_a_mirror_also_serves_what_is_not_on_the_hub(server: Hub, tmp_path: Path) -> None:
    """Under the host's name; and it lands where the original would."""
    server.files["/storage.googleapis.com/vit_models/sam/ViT-S_16.npz"] = CONTENT
    path = get(server, tmp_path, "vit-s16.google_sam_in1k")
    assert tmp_path / "cache/weights/web/storage.googleapis.com/vit_models/sam/ViT-S_16.npz" == path
    assert path == cached("vit-s16.google_sam_in1k", cache=tmp_path / "cache")


def test_the_environment_names_a_mirror(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.put("timm/vit_base_patch16_224.augreg_in21k", "model.safetensors", CONTENT)
    monkeypatch.setenv("HF_ENDPOINT", server.url + "/")
    assert CONTENT == fetch("vit-b16.augreg_in21k", cache=tmp_path / "cache", progress=False).read_bytes()


@pytest.mark.parametrize(
    "place", ["some/model/resolve/main/pytorch_model.bin", "some/model/model.safetensors", "model/model.safetensors"]
)
@pytest.mark.parametrize("spelled", ["{}", "file://{}"])
def test_a_folder_can_stand_for_the_hub(tmp_path: Path, place: str, spelled: str) -> None:
    """Files that were carried over by hand are used where they lie, without a copy."""
    path = tmp_path / "carried" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert path == fetch("some/model", hub_url=spelled.format(tmp_path / "carried"), offline=True)


def test_a_folder_that_does_not_have_it(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="does not hold some/model") as caught:
        fetch("some/model", hub_url=str(tmp_path))
    assert "model/pytorch_model.bin" in str(caught.value.why)
    with pytest.raises(UsageError, match="neither a web address nor a folder"):
        fetch("some/model", hub_url=str(tmp_path / "nowhere"))
    (tmp_path / "vit.pth").write_bytes(CONTENT)
    wanted = entry(WebFile("https://example.org/models/vit.pth"), "0a1b2c3d")
    with pytest.raises(ModelFileError, match="not the one that was published"):
        fetch(wanted, hub_url=str(tmp_path))


def test_the_hugging_face_cache_is_used(tmp_path: Path) -> None:
    """A snapshot of the library's cache counts, unless its blob is no longer what its name says."""
    repo = tmp_path / "hf/hub/models--some--model"
    blob, link = repo / "blobs" / DIGEST, repo / "snapshots" / COMMIT / "model.safetensors"
    for path in (blob, link, repo / "refs/main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(CONTENT)
    link.symlink_to(blob)
    (repo / "refs/main").write_text(COMMIT)
    assert link == cached("some/model", cache=tmp_path / "cache") == fetch("some/model", offline=True)
    blob.write_bytes(CONTENT[::-1])
    assert cached("some/model", cache=tmp_path / "cache") is None


def test_the_torch_hub_cache_is_used_where_the_digest_is_known(tmp_path: Path) -> None:
    path = tmp_path / "torch/hub/checkpoints/vit-0a1b2c3d.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    url = "https://example.org/models/vit-0a1b2c3d.pth"
    assert path == cached(entry(WebFile(url), DIGEST[:8]), cache=tmp_path)
    assert cached(entry(WebFile(url), "0a1b2c3d"), cache=tmp_path) is None
    assert cached(entry(WebFile(url)), cache=tmp_path) is None


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a.npz", "http://a b/c.npz", "https:///x.npz"])
def test_only_web_addresses_are_followed(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="http and https addresses only"):
        fetch(entry(WebFile(url)), cache=tmp_path)


def test_a_redirect_cannot_lead_to_a_file(server: Hub, tmp_path: Path) -> None:
    server.put("some/model", "model.safetensors", CONTENT, large=True)
    server.headers[MAIN] = {"Location": "file:///etc/passwd"}
    with pytest.raises(UsageError, match="http and https addresses only"):
        get(server, tmp_path)


def test_redirects_in_a_circle_end(server: Hub, tmp_path: Path) -> None:
    server.put("some/model", "model.safetensors", CONTENT, large=True)
    server.headers[MAIN] = {"Location": MAIN}
    with pytest.raises(ResourceError, match="round in circles"):
        get(server, tmp_path)


def test_an_unknown_certificate_is_refused(tmp_path: Path, server: Hub) -> None:
    """https is asked for and checked: a server that does not speak it gets nothing."""
    with pytest.raises(ResourceError, match="could not be fetched"):
        fetch(f"{server.url.replace('http', 'https')}/x.npz", cache=tmp_path)


def test_a_full_disk_is_told_before_anything_is_written(
    server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.put("some/model", "model.safetensors", CONTENT)
    real = download.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: real._replace(free=1_000_000))
    with pytest.raises(ResourceError, match="the disk is full"):
        get(server, tmp_path)


@pytest.mark.parametrize("name", ["vit-b16.augreg_in22k", "nobody", "a/b/c", "../up"])
def test_names_that_mean_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownNameError):
        cached(name, cache=tmp_path)


@pytest.mark.parametrize("name", ["a/..", "..", "/x", "", "a/../../b", "a\\b", "x:y"])
def test_what_lies_outside(name: str) -> None:
    with pytest.raises(ModelFileError, match="outside its folder"):
        inside(name)


def test_the_small_files_are_those_that_are_read() -> None:
    assert container.SIDECARS == hub.SIDECARS


def test_progress_is_shown_in_megabytes(
    server: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vitreous.console._INTERVAL", 0.0)
    server.files["/models/vit.pth"] = CONTENT
    fetch(entry(WebFile(f"{server.url}/models/vit.pth")), cache=tmp_path / "cache")
    said = capsys.readouterr().err
    assert "fetching vit-mine.made_up (licence cc-by-nc-4.0)" in said
    assert "fetching vit.pth 3/3 MB (100 %)" in said
