"""COMET checkpoints that are broken, of another kind or out of reach: one line that says what was found and what to do."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_networks import needs_tiny_networks, tiny_networks

from evalkit.encoder.base import release
from evalkit.errors import ScorerError
from evalkit.scorers.base import ScorerSpec, ScoringPlan
from evalkit.scorers.neural.comet.scorer import Comet, comet_scores
from evalkit.scorers.registry import build_scorers

needs = needs_tiny_networks


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # the variable counts at the first import only
    yield
    release()


def copy(tmp_path: Path, name: str = "regression", **changes: Any) -> Path:
    """A checkpoint of our own with other keys in hparams.yaml; ``None`` takes a key away."""
    folder = tmp_path / f"{name}-{len(list(tmp_path.iterdir()))}"
    shutil.copytree(tiny_networks() / f"comet_{name}", folder)
    stated = yaml.safe_load((folder / "hparams.yaml").read_text("utf-8")) | changes
    kept = {key: value for key, value in stated.items() if value is not None or key == "final_activation"}
    (folder / "hparams.yaml").write_text(yaml.safe_dump(kept), "utf-8")
    return folder


def weights(folder: Path) -> Path:
    return folder / "checkpoints" / "model.ckpt"


def restore(folder: Path, change: Any) -> None:
    """Change what the weights file holds."""
    import torch

    held = torch.load(weights(folder), weights_only=True)
    torch.save(change(held) or held, weights(folder))


def line(model: Path | str, **settings: Any) -> str:
    """The error of scoring one translation."""
    with pytest.raises(ScorerError) as caught:
        comet_scores(["a"], ["b"], ["c"], model=str(model), device="cpu", **settings)
    told = str(caught.value)
    assert "\n" not in told and len(told) < 600
    return told


def test_a_directory_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}', "utf-8")
    told = line(tmp_path / "bert")
    assert "not a COMET checkpoint" in told and "config.json" in told and "hparams.yaml and checkpoints/model.ckpt" in told
    (tmp_path / "empty").mkdir()
    assert "an empty directory" in line(tmp_path / "empty")
    assert "is not there" in line(tmp_path / "nowhere")


def test_a_hub_model_offline() -> None:
    scorer = Comet()  # nothing is fetched to know what it reads
    assert scorer.columns == ("source",) and [m.name for m in scorer.metrics] == ["comet"]
    assert Comet("Unbabel/wmt22-cometkiwi-da", references="none").columns == ("source",)
    assert len(Comet("Unbabel/XCOMET-XL").metrics) == 6
    told = line("Unbabel/wmt22-comet-da")
    assert "Unbabel/wmt22-comet-da" in told and "HF_HUB_OFFLINE" in told and "directory" in told


@needs
def test_a_ranking_metric_is_refused(tmp_path: Path) -> None:
    assert "ranking metric" in line(copy(tmp_path, class_identifier="ranking_metric"))


@needs
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"class_identifier": "regresion_metric"}, "did you mean regression_metric"),
        ({"class_identifier": None}, "class_identifier None"),
        ({"encoder_model": "GPT"}, "encoder_model is 'GPT'; expected one of BERT, MiniLM"),
        ({"pretrained_model": None}, "pretrained_model is missing"),
        ({"pool": "mean"}, "pool is 'mean'; expected one of avg, cls, max"),
        ({"layer": "all"}, "layer is 'all'; expected a layer's number"),
        ({"layer_norm": "yes"}, "layer_norm is 'yes'; expected true or false"),
        ({"layer_transformation": "entmax"}, "layer_transformation is 'entmax'"),
        ({"hidden_sizes": ["24"]}, "hidden_sizes is ['24']; expected a list of layer sizes"),
        ({"activations": "Swoosh"}, "activations is 'Swoosh'; expected one of Tanh"),
    ],
)
def test_hparams_are_checked(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    told = line(copy(tmp_path, **changes))
    assert words in told and "hparams.yaml" in told


@needs
def test_hparams_of_unified_models_are_checked(tmp_path: Path) -> None:
    assert "input_segments is ['src', 'ref']" in line(copy(tmp_path, "unified", input_segments=["src", "ref"]))
    assert "word_layer is '24'" in line(copy(tmp_path, "xcomet", word_layer="24"))
    folder = copy(tmp_path)
    (folder / "hparams.yaml").write_text("- a list", "utf-8")
    assert "holds list" in line(folder)
    (folder / "hparams.yaml").write_text("a: [", "utf-8")
    assert "cannot be read as YAML" in line(folder)


@needs
def test_layers_that_the_encoder_has_not(tmp_path: Path) -> None:
    folder = copy(tmp_path, layer=9)
    restore(folder, lambda held: held["hyper_parameters"].update(layer=9))
    assert "reads layer 9 of its encoder" in line(folder) and "3 layers" in line(folder)


@needs
def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    restore(folder, lambda held: {"state_dict": {k: v for k, v in held["state_dict"].items() if k != "estimator.ff.6.bias"}})
    assert "lacks estimator.ff.6.bias: it does not fit a regression_metric" in line(folder)
    folder = copy(tmp_path)
    restore(
        folder, lambda held: {"state_dict": held["state_dict"] | {"extra.weight": held["state_dict"]["estimator.ff.6.bias"]}}
    )
    assert "has the unknown entry extra.weight" in line(folder)
    folder = copy(tmp_path, hidden_sizes=[24, 13])
    restore(folder, lambda held: {"state_dict": held["state_dict"]})
    assert "estimator.ff.3.weight is (12, 24), where" in line(folder) and "(13, 24)" in line(folder)


@needs
def test_weights_files_that_are_none(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    weights(folder).write_bytes(b"not a checkpoint")
    assert "model.ckpt" in line(folder)
    restored = copy(tmp_path)
    restore(restored, lambda held: {"model": held["state_dict"]})
    assert "expected a Lightning checkpoint with a state_dict, found the keys model" in line(restored)


class _Evil:
    ran = False

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import test_comet_checkpoints; test_comet_checkpoints._Evil.ran = True",))


@needs
def test_a_weights_file_runs_no_code(tmp_path: Path) -> None:
    import torch

    folder = copy(tmp_path)
    held = torch.load(weights(folder), weights_only=True)
    torch.save({**held, "callbacks": _Evil()}, weights(folder))
    assert "runs no code from a weights file" in line(folder)
    weights(folder).write_bytes(pickle.dumps(_Evil()))
    line(folder)
    assert not _Evil.ran


@needs
def test_the_encoders_own_files(tmp_path: Path) -> None:
    gone = copy(tmp_path, pretrained_model="FacebookAI/xlm-roberta-large")
    restore(gone, lambda held: held["hyper_parameters"].update(pretrained_model="FacebookAI/xlm-roberta-large"))
    told = line(gone)
    assert "'FacebookAI/xlm-roberta-large'" in told and "encoder=DIRECTORY" in told
    xlmr = str(tiny_networks() / "xlmr")
    expected = comet_scores(["a"], ["b"], ["c"], str(tiny_networks() / "comet_regression"), device="cpu")
    assert comet_scores(["a"], ["b"], ["c"], str(gone), encoder=xlmr, device="cpu") == pytest.approx(expected)
    told = line(gone, encoder=str(tiny_networks() / "mlm"))
    assert "expected model_type xlm-roberta" in told and "found bert" in told
    assert "no such directory" in line(gone, encoder=str(tmp_path / "nowhere"))


@needs
def test_what_counts_where_the_files_disagree(tmp_path: Path) -> None:
    """As in COMET: the weights file has the architecture, the YAML file the mended mix of layers."""
    mended = copy(tmp_path, "kiwi", layer_transformation="sparsemax_patch")
    soft = comet_scores(
        ["a"], ["b"], None, str(tiny_networks() / "comet_kiwi"), layer_transformation="softmax", device="cpu"
    )
    assert comet_scores(["a"], ["b"], None, str(mended), device="cpu") == pytest.approx(soft)
    assert Comet(str(mended)).settings.doubt is None
    assert "sparsemax_patch since COMET 2.2.5" in str(Comet(str(tiny_networks() / "comet_kiwi")).settings.doubt)
    assert Comet(str(tiny_networks() / "comet_regression")).settings.doubt is None  # there sparsemax is right
    other = copy(tmp_path, "regression_ln", final_activation=None, layer_norm=False)
    expected = comet_scores(["a"], ["b"], ["c"], str(tiny_networks() / "comet_regression_ln"), device="cpu")
    assert comet_scores(["a"], ["b"], ["c"], str(other), device="cpu") == pytest.approx(expected)


@needs
def test_models_that_need_what_is_not_given() -> None:
    root = tiny_networks()
    with pytest.raises(ScorerError, match=r"reads the source of each translation: name its column"):
        Comet(str(root / "comet_kiwi"), source=None)
    with pytest.raises(ScorerError, match="references cannot be none"):
        Comet(str(root / "comet_regression"), references="none")
    with pytest.raises(ScorerError, match="nothing to judge by"):
        Comet(str(root / "comet_unified"), source=None, references="none")
    with pytest.raises(ScorerError, match="'references' must be one of mean, max, none"):
        Comet(str(root / "comet_unified"), references="all")
    with pytest.raises(ScorerError, match="'layer_transformation' must be one of"):
        Comet(str(root / "comet_unified"), layer_transformation="entmax")


@needs
def test_the_registered_scorer() -> None:
    spec = ScorerSpec("comet", {"model": str(tiny_networks() / "comet_kiwi"), "source": "src", "label": "kiwi"})
    (scorer,) = build_scorers(ScoringPlan("generate_until", scorers=(spec,)))
    assert scorer.name == "kiwi" and scorer.columns == ("src",)  # type: ignore[attr-defined]
    with pytest.raises(ScorerError, match="generate_until"):
        build_scorers(ScoringPlan("multiple_choice", scorers=(spec,)))
