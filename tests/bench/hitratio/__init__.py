"""How often the memory tier has what is asked for, beside the published algorithms on the same traces and sizes.

It drives the real `MemoryStore`, so it may not live in `loadtest`, which knows the product only from the outside. The
yardsticks are libcachesim's S3-FIFO, SIEVE, W-TinyLFU, LRU and Belady; the real traces lie in libcachesim's source
distribution and are read from there, none is kept here.
"""
