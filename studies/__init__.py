"""Three-seed studies behind the chapters' figures; `make studies` runs them all."""
