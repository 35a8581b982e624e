"""Numbers that were not computed on the page: studies, published results, and all claims."""

from gdl.results.ledger import Entry, ledger
from gdl.results.tables import Published, literature, study

__all__ = ["Entry", "Published", "ledger", "literature", "study"]
