"""The templates of reports, and how texts of files stand in them."""

from typing import Any


def make_template(name: str) -> Any:
    """Return a template of Jinja, which refuses a value that it is not given.

    HTML is escaped. In Markdown ``cell`` makes a text fit for a table.

    Args:
        name: of the file in ``templates/``.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("rllib_scoreflow.reports", "templates"),
        autoescape=".html" in name,  # noqa: S701 (Markdown shows text as it is)
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["cell"] = lambda text: str(text).replace("|", "\\|").replace("\n", " ")
    return environment.get_template(name)
