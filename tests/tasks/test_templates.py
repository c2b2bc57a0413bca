import pytest

from evalkit.errors import TemplateError
from evalkit.tasks.templates import compiled, render

# Outputs of lm_eval.utils.apply_template (0.4.13).
SAME_AS_LM_EVAL = [
    ("a\r\nb", {}, "a\nb"),
    ("{{x}}\n", {"x": " y"}, " y\n"),
    ("{%- if x %} z{% endif %}\n\n", {"x": 1}, " z\n\n"),
    ("{{ x | regex_replace('[0-9]+', '#', 1) }}", {"x": "1 22 3"}, "# 22 3"),
    ("{{x[0]|trim}} {{y.z}}", {"x": [" q "], "y": {"z": None}}, "q None"),
    ("{#c#}a{{'{'}}", {}, "a{"),
    ("{{ x.split(',')|join('; ') }}{% for i in range(2) %}{{loop.index}}{% endfor %}", {"x": "a,b"}, "a; b12"),
]


@pytest.mark.parametrize(("template", "doc", "expected"), SAME_AS_LM_EVAL)
def test_renders_as_lm_eval(template, doc, expected):
    assert render(template, doc) == expected


def test_a_missing_name_is_an_error_with_the_nearest_column():
    with pytest.raises(TemplateError, match=r"no column 'qestion' \(did you mean question\?\)"):
        render("{{qestion}}", {"question": "x", "answer": "y"})
    with pytest.raises(TemplateError, match="columns: zz"):
        render("{{question}}", {"zz": "x"})


@pytest.mark.parametrize(
    ("template", "message"), [("{{ x", "line 1"), ("{{ 1 // x }}", "ZeroDivisionError"), ("{{ x | nofilter }}", "nofilter")]
)
def test_errors_show_the_template(template, message):
    with pytest.raises(TemplateError, match=message) as raised:
        render(template, {"x": 0})
    assert repr(template) in str(raised.value)


@pytest.mark.parametrize("template", ["{{ x.__class__ }}", "{{ ''.__class__.__mro__ }}", "{{ x.append(1) }}"])
def test_the_sandbox_keeps_templates_from_internals_and_from_changing_data(template):
    doc = {"x": [0]}
    with pytest.raises(TemplateError):
        render(template, doc)
    assert doc == {"x": [0]}


def test_a_column_may_be_called_like_a_jinja_global_or_hold_template_text():
    assert render("{{range}}", {"range": "{{x}}"}) == "{{x}}"


def test_a_template_is_compiled_once():
    assert compiled("{{once}}") is compiled("{{once}}")
