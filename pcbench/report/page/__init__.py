"""A report as one self-contained page: no network, and no script needed for reading."""

from pcbench.report.page.render import render_page

__all__ = ["render_page"]
