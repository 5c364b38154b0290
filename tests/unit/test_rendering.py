import jinja2
import pytest

from utils.rendering import _environment, render


@pytest.fixture
def templates(monkeypatch):
    """Two templates in the place of the course's, in its environment."""
    text = "{% for name in names %}\n  {{ name }}\n{% endfor %}\n"
    loader = jinja2.DictLoader({"page.html": text, "card.md": text})
    monkeypatch.setattr(_environment(), "loader", loader)


def test_values_are_escaped_in_html_and_not_in_markdown(templates):
    assert render("page.html", names=["<b>", "&"]) == "  &lt;b&gt;\n  &amp;\n"
    assert render("card.md", names=["<b>", "&"]) == "  <b>\n  &\n"


def test_what_a_template_names_has_to_be_given(templates):
    with pytest.raises(jinja2.UndefinedError, match="'names' is undefined"):
        render("card.md")
