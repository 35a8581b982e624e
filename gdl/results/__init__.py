"""Numbers that were not computed on the page: three-seed studies, and published results."""

from gdl.results.tables import Published, literature, study

__all__ = ["Published", "literature", "study"]
