"""Pages and cards from the templates in utils/templates."""

import functools

import jinja2

from utils.evaluation.text import format_bounds, format_interval, format_number, markdown_table


def render(template: str, **values) -> str:
    """Return a template, filled in.

    Parameters
    ----------
    template : str
        A file of ``utils/templates``. In HTML the values are escaped, in Markdown they are not.
    **values
        What the template names; one that is not given is an error.
    """
    return _environment().get_template(template).render(**values)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("utils"),
        autoescape=jinja2.select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "number": format_number,
        "interval": format_interval,
    }
    environment.globals |= {"format_bounds": format_bounds, "markdown_table": markdown_table}
    return environment
