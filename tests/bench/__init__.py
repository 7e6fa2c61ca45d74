"""Benchmarks of parts from the inside; those of the whole product from the outside are in `loadtest.bench`."""
