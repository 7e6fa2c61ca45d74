"""The cache: one worker's engine over its memory, the node's disk, a shared Redis, its sibling workers, and the origin.

Layers, each importing only from those above it:

    model ask landing reply                   values: CacheKey, Head, Entry, Varying, Layout, Pass, Outcome; a request,
                                              what a flight brings, what goes to the client
    fields structured dates                   field lines, structured fields, HTTP dates
    directives targeted storing freshness     RFC 9111, 9213, 5861, 9110 as pure functions: values in, verdict out,
    validators conditional ranges vary        `now` is an argument
    invalidation tags status target purge
    memory eviction tag_index pages           one mechanism each: a store and its policy, bodies sent without copying, a
    fill flight breaker limits markers        growing body, one flight per key, ...
    threads filelock descriptor recorder
    packed record                             values as bytes, checked
    disk files tree ledger sweep usebits      the slow tiers (`tiers.SlowTier`): a directory, what it holds and in which
    shared redis_line                         order it goes; Redis
    siblings                                  the other workers of the node
    purge_order purge_log purge_lines         what may be purged; the purges of the node, of all nodes, and of a client
    purge_places purge_bus                    that waits for its receipt
    purge_follower purge_receipt purger
    tiers                                     all tiers as one: variants, promotion, purges since
    blocks fetch passing                      how a response is got that memory does not hold, or past the cache
    engine                                    the driver: one `get` per request

The way of a request (`engine.Engine.get`):

    another method than GET, HEAD ------------------------------------> past the cache (`passing`); if it changed
       |                                                                something, what is stored of it is purged
    memory --fresh----------------------------------------------------> reply, without awaiting anything
       |----stale, within stale-while-revalidate----------------------> reply, and a flight nobody waits for
       |----remembered as not to be shared (`Pass`)-------------------> a flight of its own
       '----else: the key's flight (started by the first, followed by all who come meanwhile)
                look at memory, disk and Redis once more
                another worker owns the key? ask it; it flies for all workers of the node
                else ask the origin, with the validators of what is stored, or for one block of it
                judge the head --> land: everybody replies, the body growing under their hands
                   |---- not to be shared? the leader gets it as it comes, the others ask for themselves
                   '---- too large to be kept whole? a layout, whose blocks have flights of their own
                verify the body, ask what was purged meanwhile --> memory, disk, Redis, end of the bodies

Promises: one origin request per key and node, whoever leaves; no body is stored, or ends properly at a client, that
does not have its declared length and SHA-256; nothing that was purged is served after the purge was confirmed; no wait
without a deadline; no collection without a bound; no task without an owner. A range read while its object is still on
its way is the one thing that is sent before the whole is verified.
"""
