"""What a rubric file holds. A judge and a person are given the same words."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from evalkit.types import content_hash

#: What a rater may see of an item. ``output`` is the text that is rated.
Part = Literal["input", "source", "reference", "output"]
#: How the judge answers: the score only, the score and then why, or an analysis and then the score.
Style = Literal["score_only", "rate_explain", "analyze_rate"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Scale(_Strict):
    """Whole numbers from ``low`` to ``high``, or named ``labels`` from worst to best (valued 1, 2, ... or by ``values``)."""

    low: int | None = None
    high: int | None = None
    labels: tuple[str, ...] = ()
    values: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Scale:
        if self.labels:
            if self.low is not None or self.high is not None:
                raise ValueError("a scale has labels, or low and high")
            if len({label.casefold() for label in self.labels}) < len(self.labels) or len(self.labels) < 2:
                raise ValueError("a scale needs two labels or more, all different")
            if self.values and len(self.values) != len(self.labels):
                raise ValueError("there must be one value a label")
            if any(not label.strip() or label != label.strip() for label in self.labels):
                raise ValueError("a label is a word without blanks around it")
        elif self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("a scale needs low < high (whole numbers), or labels")
        elif self.values:
            raise ValueError("values go with labels")
        return self

    @property
    def points(self) -> dict[str, float]:
        """Every label as it is written -> its value, worst first."""
        if self.labels:
            values = self.values or tuple(float(i) for i in range(1, len(self.labels) + 1))
            return dict(zip(self.labels, values, strict=True))
        assert self.low is not None and self.high is not None
        return {str(i): float(i) for i in range(self.low, self.high + 1)}

    @property
    def floor(self) -> float:
        return min(self.points.values())

    @property
    def ceiling(self) -> float:
        return max(self.points.values())


class Criterion(_Strict):
    """One thing that is rated. ``levels`` anchor points of the scale; ``steps`` are how to go about it, frozen here.

    ``needs`` says what the rater may see, besides what the rubric shows for all its criteria.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    definition: str = Field(min_length=1)
    scale: Scale
    levels: dict[str, str] = {}
    steps: tuple[str, ...] = ()
    needs: tuple[Part, ...] = ()

    @field_validator("levels", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return {str(key): text for key, text in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _on_the_scale(self) -> Criterion:
        wrong = [level for level in self.levels if level not in self.scale.points]
        if wrong:
            raise ValueError(f"level {wrong[0]!r} is not on the scale ({', '.join(self.scale.points)})")
        return self

    @property
    def shown(self) -> str:
        """How people read the name."""
        return self.title or self.name.replace("_", " ").capitalize()


class Rubric(_Strict):
    """A rubric file. ``form``: each output alone (pointwise) or two side by side (pairwise, whose scale is A, tie, B)."""

    rubric: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    version: int = Field(default=1, ge=1)
    summary: str = ""
    form: Literal["pointwise", "pairwise"] = "pointwise"
    task: str = Field(min_length=1, description="what was asked for, and what the rater reads: the introduction")
    needs: tuple[Part, ...] = ("output",)
    style: Style = "score_only"
    criteria: tuple[Criterion, ...] = Field(min_length=1)
    guidelines: str = Field(default="", description="further words for human raters, and for the judge too")

    @model_validator(mode="after")
    def _sound(self) -> Rubric:
        names = [criterion.name for criterion in self.criteria]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ValueError(f"two criteria are called {twice[0]!r}")
        if "output" not in self.needs:
            raise ValueError("needs must name output: it is what is rated")
        for criterion in self.criteria:
            if self.form == "pairwise" and list(criterion.scale.points) != ["A", "tie", "B"]:
                raise ValueError(
                    f"the scale of {criterion.name} in a pairwise rubric is labels: [A, tie, B], values: [1, 0.5, 0]"
                )
        return self

    @property
    def hash(self) -> str:
        """Changes with everything that a judge or a rater reads."""
        return content_hash(self.model_dump(mode="json", exclude={"summary", "version"}), 8)

    def criterion(self, name: str) -> Criterion:
        """By name; raises KeyError."""
        return next(found for found in self.criteria if found.name == name) if name in self.names else _missing(name)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(criterion.name for criterion in self.criteria)

    def shows(self, criterion: Criterion) -> tuple[Part, ...]:
        """What a rater of this criterion sees, in the order in which it is shown."""
        parts = {*self.needs, *criterion.needs}
        return tuple(part for part in ("input", "source", "reference", "output") if part in parts)


def _missing(name: str) -> Criterion:
    raise KeyError(name)
