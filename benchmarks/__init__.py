"""Side-by-side measurements against other libraries: `make bench`. Nothing here is asserted."""
