"""The whole chain on one machine: real servers as supervised child processes under one state directory.

leash.py     runs a program that ends when its parent ends, however the parent ends
child.py     a supervised process: start, ready check, restart with back-off, stop; and a job that runs once
ports.py     free loopback ports, remembered between runs
keyring.py   generated secrets in files only their owner can read
probe.py     "does this address answer?" over HTTP
seaweed.py   SeaweedFS with its S3 gateway
valkey.py    Valkey (or redis-server), as a cache or as a durable store of counts
stack.py     all of them under one state directory, started together and stopped in reverse
"""
