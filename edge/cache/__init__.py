"""The cache: one worker's engine over its memory, a shared Redis tier, its sibling workers, and the origin.

Layers, each importing only from those above it:

    model                                          frozen values: CacheKey, Head, Entry, Pass, Conditions, Outcome
    directives freshness ranges conditional target status      the RFCs as pure functions; `now` is an argument
    memory  fill  flight  breaker  packed  tasks   one mechanism each: a store, a growing body, one flight per key, ...
    shared  siblings                               the tiers that are other processes
    fetch                                          how a response is got that memory does not hold
    engine                                         the driver: one `get` per request

The way of a request (`engine.Engine.get`):

    memory --fresh--------------------------------------------------> reply, without awaiting anything
       |----stale, within stale-while-revalidate--------------------> reply, and a flight nobody waits for
       |----remembered as not to be shared (`Pass`)-----------------> pass: asked for this request alone
       '----else: the key's flight (started by the first, followed by all who come meanwhile)
                look at memory and Redis once more
                another worker owns the key? ask it; it flies for all workers of the node
                else ask the origin, with the validator of what is stored
                judge the head --> land: everybody replies, the body growing under their hands
                verify the body --> memory, Redis, end of the bodies

Promises: one origin request per key and node, whoever leaves; no body is stored, or ends properly at a client, that
does not have its declared length and SHA-256; no wait without a deadline; no collection without a bound; no task
without an owner (`Engine`, `RedisTier` and `Siblings` end theirs in `close`). A range read while its object is still on
its way is the one thing that is sent before the whole is verified.

What is to grow here: variants (`Vary`) in `CacheKey`; request directives in `freshness.decide`; a disk tier beside
`shared`; tags and the fast lane's table as `memory.Watcher`s; blocks of large objects as entries of their own.
"""
