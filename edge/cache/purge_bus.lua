-- The purge bus, on the side of Redis: one script, called by edge/cache/purge_bus.py. Each call is atomic.
--
-- Theory of operation. A bus is a list of records, numbered by epochs without a gap, and it has an identity that is made
-- up when the list begins. A node says with every call which bus it knows, up to which epoch it has heard and which
-- record it heard there. When the list is gone, or does not have that record at that epoch (Redis was restarted empty,
-- restored from an old state, failed over to a replica that lagged, or evicted a key), what the nodes know is no longer
-- what the list has: a new bus begins, with another identity, and the nodes tell it what they remember. Epochs go on from
-- the highest that the caller knows, so that they look to people as if they only grew.
--
-- Times are this server's, so that the nodes' clocks need not agree.
--
-- Keys, all in one hash slot:
--   KEYS[1]  hash    bus, birth (epoch of the record that only begins the list), floor (last epoch cut off), epoch (last)
--   KEYS[2]  stream  epoch-0 -> i: the record's id, r: the record
--   KEYS[3]  hash    id -> epoch, of the records in the stream: a record published again keeps its epoch
--   KEYS[4]  hash    node/slot -> "epoch:slots time": workers, what each has applied, which workers its node has, and
--                    when it said so
--   KEYS[5]  hash    node -> "state time": all nodes seen lately; state: live or stopped

local meta, stream, ids, members, nodes = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]

local function text(number)
    return string.format('%.0f', number)
end

local function now_ms()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function at(epoch)
    return text(epoch) .. '-0'
end

local function epoch_of(entry)
    return tonumber(string.match(entry[1], '^%d+'))
end

-- The bus as it is; nil when there is none, or a part of it is missing.
local function found()
    local m = redis.call('HMGET', meta, 'bus', 'birth', 'floor', 'epoch')
    if not (m[1] and m[2] and m[3] and m[4]) then
        return nil
    end
    local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
    if #last == 0 or epoch_of(last[1]) ~= tonumber(m[4]) then
        return nil
    end
    return {bus = m[1], birth = tonumber(m[2]), floor = tonumber(m[3]), epoch = tonumber(m[4])}
end

local function begin(bus, above)
    local birth = above + 1
    redis.call('DEL', meta, stream, ids, members)
    redis.call('XADD', stream, at(birth), 'i', bus, 'r', '')
    redis.call('HSET', meta, 'bus', bus, 'birth', text(birth), 'floor', text(birth - 1), 'epoch', text(birth))
    return {bus = bus, birth = birth, floor = birth - 1, epoch = birth}
end

-- Whether what the caller heard is what the list has.
local function agrees(state, heard, id)
    if heard <= state.floor then
        return true
    end
    local entry = redis.call('XRANGE', stream, at(heard), at(heard))[1]
    return entry ~= nil and (id == '' or entry[2][2] == id)
end

local function report(node, slot, slots, epoch, time)
    redis.call('HSET', members, node .. '/' .. slot, text(epoch) .. ':' .. slots .. ' ' .. text(time))
    redis.call('HSET', nodes, node, 'live ' .. text(time))
end

-- fresh name, bus, heard, id heard, node, slot, its node's slots, limit -> bus, birth, floor, epoch, {epoch, record, ...}
local function hear(fresh, bus, heard, id, node, slot, slots, limit)
    local state, entries = found(), {}
    heard = tonumber(heard)
    if state == nil or (state.bus == bus and not agrees(state, heard, id)) then
        state = begin(fresh, math.max(heard, state and state.epoch or 0))
    end
    if state.bus == bus then
        report(node, slot, slots, heard, now_ms())
        for _, entry in ipairs(redis.call('XRANGE', stream, at(heard + 1), '+', 'COUNT', limit)) do
            entries[#entries + 1] = text(epoch_of(entry))
            entries[#entries + 1] = entry[2][4]
        end
    end
    return {state.bus, text(state.birth), text(state.floor), text(state.epoch), entries}
end

local function trim(state, limit)
    local excess = redis.call('XLEN', stream) - limit
    if excess <= 0 then
        return
    end
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', excess)
    for _, entry in ipairs(oldest) do
        redis.call('HDEL', ids, entry[2][2])
        redis.call('XDEL', stream, entry[1])
        state.floor = epoch_of(entry)
    end
    redis.call('HSET', meta, 'floor', text(state.floor))
end

-- bus, limit, {id, record, ...} -> the records' epochs; nothing when the bus is another one
local function publish(bus, limit, ...)
    local state, records, epochs = found(), {...}, {}
    if state == nil or state.bus ~= bus then
        return epochs
    end
    for i = 1, #records, 2 do
        local id, epoch = records[i], redis.call('HGET', ids, records[i])
        if not epoch then
            state.epoch = state.epoch + 1
            epoch = text(state.epoch)
            redis.call('XADD', stream, at(state.epoch), 'i', id, 'r', records[i + 1])
            redis.call('HSET', ids, id, epoch)
        end
        epochs[#epochs + 1] = epoch
    end
    redis.call('HSET', meta, 'epoch', text(state.epoch))
    trim(state, tonumber(limit))
    return epochs
end

-- Each field of a hash of "word time", and how long ago that was; those older than `limit` ms are removed.
local function aged(key, limit)
    local rows, flat, time = {}, redis.call('HGETALL', key), now_ms()
    for i = 1, #flat, 2 do
        local word, stamp = string.match(flat[i + 1], '^(%S+) (%d+)$')
        local age = stamp and time - tonumber(stamp) or limit + 1
        if age > limit then
            redis.call('HDEL', key, flat[i])
        else
            rows[#rows + 1] = {flat[i], word, text(age)}
        end
    end
    return rows
end

-- ms after which a worker counts as gone, ms for which a node is remembered -> bus, workers, nodes
local function roster(gone, forget)
    return {redis.call('HGET', meta, 'bus') or '', aged(members, tonumber(gone)), aged(nodes, tonumber(forget))}
end

-- node, slot: the worker ends; with the last one its node stops.
local function leave(node, slot)
    redis.call('HDEL', members, node .. '/' .. slot)
    for _, name in ipairs(redis.call('HKEYS', members)) do
        if string.sub(name, 1, #node + 1) == node .. '/' then
            return 0
        end
    end
    redis.call('HSET', nodes, node, 'stopped ' .. text(now_ms()))
    return 1
end

local calls = {hear = hear, publish = publish, roster = roster, leave = leave}
return calls[ARGV[1]](unpack(ARGV, 2))
