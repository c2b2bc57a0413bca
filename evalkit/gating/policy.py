"""The policy file of a gate: what must not get worse, by how much, and how sure the verdict must be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from evalkit.errors import ConfigError
from evalkit.gating.base import Inconclusive, Require
from evalkit.gating.quantities import LevelField, LimitField, MarginField, ShareField
from evalkit.types import content_hash
from evalkit.yamlmodel import line_of, read_model

#: Share of samples that the baseline scored and the candidate did not, beyond which the gate fails. Pairs that are left out
#: can hide a drop of at most their share: half of a percentage point is half of the smallest margin that people ask for.
MAX_ERROR_RATE = 0.005
MIN_N = 30
#: Budgets that are held against one side's seconds, dollars, tokens or failures.
BUDGETS = ("median_latency", "median_latency_s", "p95_latency", "p95_latency_s", "cost_usd", "output_tokens", "error_rate")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _slice(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def _budget(value: Any) -> Any:
    return value if isinstance(value, dict) else {"limit": value}


class SliceCheck(_Strict):
    """A slice that is checked label by label (``subject``), or one label of it (``subject=history``)."""

    name: str
    require: Require | None = Field(None, description="not-fail by default; report where the check is only reported.")
    margin: MarginField | None = Field(None, description="The check's own by default.")
    min_n: int | None = Field(None, ge=1, description="Pairs below which a slice is shown, not tested.")


class Defaults(_Strict):
    """What a check has that does not say otherwise."""

    margin: MarginField | None = None
    require: Require = Field("pass", description="pass: shown not worse; not-fail: not shown worse; report: only shown.")
    min_n: int = Field(MIN_N, ge=1, description="Pairs below which a slice is not tested, and a check cannot pass.")
    cluster_by: str | None = Field(None, description="Where a task has a slice of this name, its labels are the clusters.")


class Check(_Strict):
    """One metric of one task, or of all that ``task`` and ``metric`` name."""

    task: str = Field(min_length=1, description="A task, a group, or a pattern (mmlu_*).")
    metric: str | None = Field(None, description="A metric or a pattern; the task's headline metrics by default.")
    filter: str | None = Field(None, description="An answer filter's name, where the task has several.")
    margin: MarginField | None = None
    floor: LevelField | None = Field(None, description="What the candidate itself must reach, whatever the baseline.")
    slices: Annotated[list[Annotated[SliceCheck, BeforeValidator(_slice)]], BeforeValidator(_as_list)] = []
    require: Require | None = None
    min_n: int | None = Field(None, ge=1)
    cluster_by: str | None = Field(None, description="A slice whose labels are the clusters, instead of the task's own.")
    strict: Literal["beyond_margin"] | None = Field(
        None, description="FAIL only where the whole interval is beyond the margin."
    )
    min_judge_alpha: float | None = Field(
        None, ge=-1, le=1, description="Agreement (alpha) that a judge must have with people."
    )
    calibration: str | None = Field(None, description="The judge's calibration file, beside the policy.")

    @model_validator(mode="after")
    def _together(self) -> Check:
        if self.calibration is not None and self.min_judge_alpha is None:
            raise ValueError("calibration goes with min_judge_alpha, the agreement that it must show")
        names = [part.name for part in self.slices]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"slice {twice[0]!r} is named twice")
        return self


class Budget(_Strict):
    """One budget: its limit, and whether an inconclusive one holds the gate up."""

    limit: LimitField
    require: Require = "pass"


BudgetField = Annotated[Budget, BeforeValidator(_budget)]


class Budgets(_Strict):
    """Time, money, length and failures of the candidate over all tasks that the policy checks."""

    median_latency: BudgetField | None = Field(None, description="Median seconds a sample, against the baseline's (+10%).")
    median_latency_s: BudgetField | None = Field(None, description="Median seconds a sample, at most.")
    p95_latency: BudgetField | None = Field(None, description="95th percentile of seconds a sample, against the baseline's.")
    p95_latency_s: BudgetField | None = Field(None, description="95th percentile of seconds a sample, at most.")
    cost_usd: BudgetField | None = Field(None, description="Dollars in all.")
    output_tokens: BudgetField | None = Field(None, description="Output tokens a sample.")
    error_rate: BudgetField | None = Field(None, description="Share of the candidate's samples without an answer, at most.")

    @model_validator(mode="after")
    def _fitting(self) -> Budgets:
        for name, budget in self.given().items():
            limit = budget.limit
            if name.endswith("_latency_s") and limit.kind != "absolute":
                raise ValueError(f"{name} is in seconds; against the baseline it is {name.removesuffix('_s')}: {limit}")
            if name == "error_rate" and limit.kind != "absolute":
                raise ValueError(f"error_rate is a share of the candidate's samples (0.5%), not {limit}")
            if limit.kind == "within" and name != "output_tokens":
                raise ValueError(
                    f"{name}: {limit} bounds both ways, but less is no fault: write {str(limit).replace('±', '+')}"
                )
            if limit.percent and name != "error_rate":
                raise ValueError(f"{name}: {limit} of what? Write +{limit} (at most so much over the baseline) or ±{limit}")
        return self

    def given(self) -> dict[str, Budget]:
        """The budgets that the policy has, in the order of `BUDGETS`."""
        return {name: budget for name in BUDGETS if (budget := getattr(self, name)) is not None}


class Policy(_Strict):
    """A gate's policy, checked. ``path`` is its file."""

    gate: str = Field(min_length=1, description="The gate's name.")
    baseline: str | None = Field(None, description="A run, a score file or git:REF:PATH.")
    alpha: float = Field(0.05, gt=0, lt=0.5, description="One-sided; Holm's over all tests that can fail.")
    inconclusive: Inconclusive = Field("fail", description="What INCONCLUSIVE is: exit 3 (fail), or exit 0 (warn, pass).")
    max_error_rate: Annotated[ShareField, Field(ge=0, le=1)] = Field(
        MAX_ERROR_RATE, description="Share of samples that lost their score, beyond which the gate fails."
    )
    errors: Literal["leave-out", "wrong"] = Field(
        "leave-out", description="A candidate's sample without a score leaves the pairs, or counts as the worst value."
    )
    min_overlap: Annotated[ShareField, Field(gt=0, le=1)] = Field(0.98, description="Share of samples both runs must have.")
    defaults: Defaults = Defaults()
    checks: list[Check] = []
    budgets: Budgets = Budgets()

    _path: Path | None = PrivateAttr(None)
    _text: str = PrivateAttr("")

    @model_validator(mode="after")
    def _something(self) -> Policy:
        if not self.checks and not self.budgets.given():
            raise ValueError("a policy needs checks or budgets, this one has neither")
        return self

    @property
    def path(self) -> Path | None:
        return self._path

    @property
    def hash(self) -> str:
        """Of what the policy says: comments and layout do not change it."""
        return content_hash(self.model_dump(mode="json"))

    def required(self, check: Check) -> Require:
        return check.require or self.defaults.require

    def beside(self, name: str) -> Path:
        """A file that the policy names: relative ones are beside it."""
        given = Path(name).expanduser()
        return given if given.is_absolute() or self._path is None else self._path.parent / given

    def baseline_source(self) -> str | None:
        """What to hand to `load_scores`: a path beside the policy where there is one, else as the policy has it."""
        if self.baseline is None or self.baseline.startswith(("git:", "run:")):
            return self.baseline
        beside = self.beside(self.baseline)
        return str(beside) if beside.exists() else self.baseline

    def where(self, *keys: str | int) -> str:
        """``file:line`` of the value at ``keys``, for messages."""
        if self._path is None:
            return f"policy {self.gate}"
        return f"{self._path}:{line_of(self._text, keys)}"


def load_policy(path: Path) -> Policy:
    """The policy in the file at ``path``.

    Raises ConfigError with file, line and key for a file that cannot be read or does not fit, and the nearest known keys.
    """
    policy = read_model(path, Policy, "gate policy", ConfigError)
    policy._path, policy._text = path, path.read_text("utf-8-sig")
    for number, check in enumerate(policy.checks):
        if check.margin is None and policy.defaults.margin is None and check.floor is None:
            where = policy.where("checks", number)
            raise ConfigError(f"{where}: {check.task} needs a margin (2pp, 0.5, 5%), its own or in defaults, or a floor")
    return policy


def json_schema() -> dict[str, Any]:
    """The JSON schema of a policy file, for editors: with the short forms of slices and budgets."""
    schema = Policy.model_json_schema()
    definitions = schema["$defs"]
    limit = definitions["Budget"]["properties"]["limit"]
    budgets = definitions["Budgets"]["properties"]
    for name, budget in budgets.items():
        budgets[name] = {**budget, "anyOf": [limit, *budget["anyOf"]]}
    slices = definitions["Check"]["properties"]["slices"]
    slices["items"] = {"anyOf": [{"type": "string"}, slices["items"]]}
    definitions["Check"]["properties"]["slices"] = {"anyOf": [slices, {"type": "string"}]}
    return schema
