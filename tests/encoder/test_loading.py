"""Finding and loading a network: what is wrong is told in one line, before any weights are read where that can be."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from evalkit.encoder.base import EncoderSpec, checkpoint, encoder, wrong_kind
from evalkit.errors import ScorerError


def line(caught):
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("/no/such/folder", "/no/such/folder is not there: give the directory of a checkpoint, or a hub id"),
        ("./here/nothing", "is not there"),
        ("a/b/c", "is not there"),
        (__file__, "is a file, not a directory"),
    ],
)
def test_a_directory_that_is_not_there(model, words):
    with pytest.raises(ScorerError) as caught:
        encoder(EncoderSpec(model))
    assert words in line(caught)


def test_a_directory_of_the_wrong_kind_tells_what_was_found_and_expected(tmp_path):
    (tmp_path / "hparams.yaml").write_text("a: 1")
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ScorerError) as caught:
        checkpoint(str(tmp_path), kind="an encoder")
    assert "is not an encoder, which has config.json: found checkpoints/, hparams.yaml" in line(caught)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScorerError, match="found an empty directory"):
        checkpoint(str(tmp_path / "empty"))


def test_the_model_type_is_told_where_the_config_tells_it(bert):
    with pytest.raises(ScorerError) as caught:
        checkpoint(str(bert), needs=("hparams.yaml",), kind="a COMET checkpoint")
    assert "is not a COMET checkpoint, which has hparams.yaml: found" in line(caught)
    assert "(model_type bert)" in line(caught)
    assert "expected" not in str(wrong_kind(checkpoint(str(bert)), "a seq2seq model"))
    assert "is not a seq2seq model: found" in str(wrong_kind(checkpoint(str(bert)), "a seq2seq model"))


def test_broken_files_are_one_line(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "broken")
    (folder / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(ScorerError, match="cannot load"):
        encoder(EncoderSpec(str(folder), device="cpu"))
    (folder / "config.json").write_text("{")
    with pytest.raises(ScorerError, match="cannot load"):
        encoder(EncoderSpec(str(folder), device="cpu"))


def test_weights_that_lack_tensors_are_refused(bert, tmp_path):
    """transformers would fill them with noise and go on."""
    import safetensors.torch as weights

    folder = shutil.copytree(bert, tmp_path / "half")
    tensors = weights.load_file(folder / "model.safetensors")
    gone = next(name for name in sorted(tensors) if "layer.1" in name)
    weights.save_file(
        {name: t for name, t in tensors.items() if name != gone}, folder / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ScorerError, match="lack 1 tensors of BertModel") as caught:
        encoder(EncoderSpec(str(folder), device="cpu"))
    assert "layer.1" in line(caught)


def test_a_checkpoint_without_the_pooler_is_whole(bert, roberta):
    for folder in (bert, roberta):
        encoder(EncoderSpec(str(folder), device="cpu"))


def test_code_of_a_repository_is_never_run(bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "coded")
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModel": "own.Model"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ScorerError) as caught:
        encoder(EncoderSpec(str(folder), device="cpu"))
    assert "needs code from its own repository" in line(caught)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("device", "dtype", "words"),
    [
        ("warp", "float32", "device 'warp' is not one"),
        ("cpu", "float16", "float16 needs a GPU: on a CPU use bfloat16"),
        ("cuda:99", "float32", "device 'cuda:99' is not there: torch sees"),
    ],
)
def test_a_device_that_cannot_be_used(bert, device, dtype, words):
    with pytest.raises(ScorerError) as caught:
        encoder(EncoderSpec(str(bert), device=device, dtype=dtype))
    assert words in line(caught)


def test_a_gpu_that_is_not_there(bert):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ScorerError, match="device 'cuda' is not there: torch sees 0 CUDA devices; use auto or cpu"):
        encoder(EncoderSpec(str(bert), device="cuda"))
    assert str(encoder(EncoderSpec(str(bert))).device) == "cpu"


def test_a_loader_of_ones_own_and_its_troubles(bert):
    def own(spec):
        import torch

        return torch.nn.Linear(2, 2), None

    enc = encoder(EncoderSpec(str(bert), device="cpu", dtype="bfloat16"), own, name="own")
    assert str(enc.module.weight.dtype) == "torch.bfloat16" and not enc.module.training
    assert not enc.module.weight.requires_grad
    assert enc.max_tokens() == 512
    with pytest.raises(ScorerError, match="without a tokeniser"):
        enc.tokenise(["a"])

    def broken(spec):
        raise KeyError("layer.0")

    def lacking(spec):
        import no_such_package  # noqa: F401

    with pytest.raises(ScorerError, match=r"cannot load .*: KeyError: 'layer\.0'"):
        encoder(EncoderSpec(str(bert), device="cpu"), broken, name="broken")
    with pytest.raises(ScorerError, match=r"needs the package no_such_package: pip install 'evalkit\[hf,metrics\]'"):
        encoder(EncoderSpec(str(bert), device="cpu"), lacking, name="lacking")


def test_the_fingerprint_is_of_the_content(bert, tmp_path):
    first = checkpoint(str(bert))
    copy = shutil.copytree(bert, tmp_path / "copy")
    (copy / "README.md").write_text("another text")
    assert checkpoint(str(copy)).fingerprint == first.fingerprint
    assert checkpoint(str(bert) + "/").fingerprint == first.fingerprint
    tokenizer = json.loads((copy / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (copy / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert checkpoint(str(copy)).fingerprint != first.fingerprint


def test_files_of_a_checkpoint(bert):
    place = checkpoint(str(bert))
    assert place.file("config.json") == bert.resolve() / "config.json"
    assert place.file("no.json") is None
    assert place.name == bert.name


_OFFLINE = """
from evalkit.encoder.base import EncoderSpec, encoder
from evalkit.errors import ScorerError
try:
    encoder(EncoderSpec("some-org/some-encoder"))
except ScorerError as error:
    print(error)
"""


def test_a_hub_id_offline(tmp_path):
    import os

    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _OFFLINE], env=environment, capture_output=True, text=True, check=True)
    assert "cannot find some-org/some-encoder: it is neither a directory nor in the Hugging Face cache" in done.stdout
    assert "HF_HUB_OFFLINE" in done.stdout and done.stdout.count("\n") == 1 and done.stderr == ""


def test_a_hub_id_in_the_cache(bert, tmp_path, monkeypatch):
    """The layout of the hub's cache, as it is after a download; the fingerprint is that of the commit."""
    import os

    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "hub" / "models--some-org--tiny"
    shutil.copytree(bert, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    code = """
from evalkit.encoder.base import *
place = checkpoint("some-org/tiny")
print(place.name, place.revision, place.file("no.json"), place.file("config.json").name)
enc = encoder(EncoderSpec("some-org/tiny", device="cpu"))
print(enc.describe()["revision"], len(enc.tokenise(["paris"])[0].ids), enc.fingerprint == place.fingerprint)
"""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [f"some-org/tiny {commit} None config.json", f"{commit} 3 True"]


def test_a_hub_out_of_reach_is_asked_once(monkeypatch, tmp_path):
    """What downloads files would try again and again, for half a minute."""
    import huggingface_hub
    from huggingface_hub import constants

    asked = []

    class Dead:
        def head(self, url, **more):
            asked.append(url)
            raise ConnectionError("no route to host")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "get_session", Dead)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *a, **k: pytest.fail("asked again"))
    with pytest.raises(ScorerError) as caught:
        encoder(EncoderSpec("some-org/some-encoder"))
    assert "the hub is out of reach (no route to host); give a local directory" in line(caught)
    assert asked == [constants.ENDPOINT]
