"""The edge beside its peers in one run, as ratios: `python -m loadtest.bench`, or `make bench`.

cases.py    what is asked for, and what a right answer is
storage.py  puts published objects where the edge finds them
origin.py   an HTTP origin that makes up its answers, for the edge and other caches
servers.py  the edge and its peers as child processes, each ended by its pid
replica.py  what the peers serve: the bytes and headers that the edge answers with
application.py, nginx.py, varnish.py   aiohttp's web.Application, nginx, Varnish
floor.py, native.py with floor.c   two floors: a bare uvloop protocol, a bare epoll loop in C
tls.py      a certificate for the run, and one cipher for all
client.py   the load: keep-alive connections in a closed loop, every answer checked
rounds.py   interleaves the measurements
parts.py    what is started and measured for each part of a run
growth.py   hits of the edge with more and more objects in its cache
idle.py     memory of connections that wait
overload.py more than the edge can do (run by itself)
followers.py  how soon followers get what the leader gets (run by itself)
report.py   medians, ratios, tables
peers.py    installs nginx and Varnish where that is possible

How it is fair: the process that serves has a core of its own, and everything else (load, storage, Redis, the other
processes of the edge) shares another. Subjects take turns within each round, and a ratio is taken between neighbours
in time. Over TLS all use the same cipher. What is compared first is requests per CPU-second of the serving process,
which a busy machine disturbs little.
"""
