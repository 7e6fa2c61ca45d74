-- History, on the side of the province's Redis: what is told to it when a day has been exported, and how it is put right
-- from history. Installed by edge/counters/province_day.py, with a digest of this file in the functions' names. The keys
-- are those of functions.lua; of its own it has:
--   {44}:corrections:exported  set    ids of corrections that history holds
--   {44}:history:born          string when this Redis was first looked at, ms since the epoch
--   {44}:history:lease         string who works on the province's history, for a short time
--   {44}:history:marked        string written only to learn whether all that was written before is on disk

local function now_ms()
    local now = redis.call('TIME')
    return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- What time it is here, ms since the epoch. No writer and no exporter can set this clock.
local function clock()
    return now_ms()
end

-- Sums, countries or bots were put right, which no event has changed: whoever follows what moves begins again, as the
-- trail no longer knows what was read last. Returns the number of this change.
local function tell_followers(prefix)
    redis.call('DEL', prefix .. ':trail')
    return redis.call('INCR', prefix .. ':seq')
end

-- History has a day: nothing of it is added any more (`apply` leaves its events out), and its details may go. Only when
-- the day is still what was exported: otherwise nothing happens, and 0 is the answer. An error while events of it may
-- still come by the clock here: how far the province is complete is what writers say, and a node's clock may be ahead.
-- keys: {province}:watermarks
-- args: prefix, day, its visits, views, plays, watch_ms, the same of bots, the province's number of corrections, seconds
--       until the details go, the time (ms since the epoch) from which on no event of the day can come, then the ids of
--       the corrections that history holds. `*` for the visits: the day was closed before, and only corrections have
--       been exported.
local function close_day(keys, args)
    local prefix, day, of_day = args[1], args[2], args[1] .. ':day:' .. args[2]
    local function has_changed(key, first)
        local sums = redis.call('HMGET', key, 'visits', 'views', 'plays', 'watch_ms')
        for i = 1, 4 do
            if (sums[i] or '0') ~= args[first + i - 1] then
                return true
            end
        end
        return false
    end
    if args[3] ~= '*' then
        if now_ms() < tonumber(args[13]) then
            return redis.error_reply('NOTOVER events of ' .. day .. " may still come by this server's clock, so it is"
                .. ' not closed: the clock of a node is ahead, or this one is behind')
        end
        if has_changed(of_day, 3) or has_changed(of_day .. ':bots', 7) then
            return 0
        end
        if redis.call('HLEN', prefix .. ':corrections') ~= tonumber(args[11]) then
            return 0
        end
        local through = redis.call('GET', prefix .. ':history_through')
        if not through or through < day then
            redis.call('SET', prefix .. ':history_through', day)
            redis.call('ZREM', prefix .. ':days:bots', day)
            local at_ms = now_ms()  -- compared with when a writer was first heard: see functions.lua
            redis.call('HSET', prefix .. ':closed_at', day, at_ms)
            if not through then
                redis.call('HSET', prefix .. ':closed_at', 'before', at_ms)  -- with the first day, all before it
            end
        end
    end
    local details = {of_day, of_day .. ':views', of_day .. ':plays', of_day .. ':watch_ms', of_day .. ':countries',
                     of_day .. ':bots', prefix .. ':min:' .. day}
    for hour = 0, 23 do
        details[#details + 1] = string.format('%s:h:%s%02d', prefix, day, hour)
    end
    for _, key in ipairs(details) do
        redis.call('EXPIRE', key, args[12], 'NX')
    end
    for i = 14, #args do
        redis.call('SADD', prefix .. ':corrections:exported', args[i])
    end
    return 1
end

-- What history holds is true again, before totals are put right: no event of its days is counted from here on, and no
-- correction that it includes is counted twice. When the days in between were closed is not known any more: `before`
-- would be taken for it, so that goes.
-- keys: {province}:watermarks    args: prefix, day through which history reaches, then id, entry, accepted_ms of each correction
local function trust_history(keys, args)
    local prefix = args[1]
    local through = redis.call('GET', prefix .. ':history_through')
    if not through or through < args[2] then
        redis.call('SET', prefix .. ':history_through', args[2])
        redis.call('HDEL', prefix .. ':closed_at', 'before')
    end
    for i = 3, #args, 3 do
        redis.call('HSETNX', prefix .. ':corrections', args[i], args[i + 1])
        redis.call('ZADD', prefix .. ':corrections:at', args[i + 2], args[i])
        redis.call('SADD', prefix .. ':corrections:exported', args[i])
    end
    return 1
end

-- Put a total right by what it lacks, which may be negative, while counting goes on. Only who holds the lease may: two
-- at once would both add what is lacking.
-- keys: {province}:watermarks
-- args: prefix, lease, its seconds, command (HINCRBY|ZINCRBY), key without its prefix, 1 when its members are resources
--       which have moved, then field or member, amount, and so on
local function adjust(keys, args)
    local prefix = args[1]
    if redis.call('GET', prefix .. ':history:lease') ~= args[2] then
        return 0
    end
    redis.call('EXPIRE', prefix .. ':history:lease', args[3])
    local seq = tell_followers(prefix)
    for i = 7, #args, 2 do
        if args[4] == 'HINCRBY' then
            redis.call('HINCRBY', prefix .. args[5], args[i], args[i + 1])
        else
            redis.call('ZINCRBY', prefix .. args[5], args[i + 1], args[i])
        end
        if args[6] == '1' then
            redis.call('ZADD', prefix .. ':moved', seq, args[i])
        end
    end
    return 1
end

-- The day that everything begins with, unless it has changed since it was read; empty for none.
-- keys: {province}:watermarks    args: prefix, the day that was read, the day that it should be
local function replace_first_day(keys, args)
    local key = args[1] .. ':total'
    if (redis.call('HGET', key, 'first_day') or '') ~= args[2] then
        return 0
    end
    if args[3] == '' then
        redis.call('HDEL', key, 'first_day')
    else
        redis.call('HSET', key, 'first_day', args[3])
    end
    tell_followers(args[1])
    return 1
end

-- Add sketches of viewers to those that are there. keys: {province}:watermarks    args: prefix, then key without its prefix, sketch
local function merge_sketches(keys, args)
    local prefix = args[1]
    local passing = prefix .. ':history:sketch'
    for i = 2, #args, 2 do
        redis.call('SET', passing, args[i + 1])
        redis.call('PFMERGE', prefix .. args[i], passing)
    end
    redis.call('DEL', passing)
    return 1
end

-- While a slot of a cluster is moved key by key, a function would fail on the first key that is not there, half-way: it
-- fails at its beginning instead (see functions.lua).
local function offer(name, callback)
    redis.register_function('smartedu_' .. name .. '_@VERSION@', function(keys, args)
        redis.call('EXISTS', args[1] .. ':never')
        return callback(keys, args)
    end)
end

offer('clock', clock)
offer('close_day', close_day)
offer('trust_history', trust_history)
offer('adjust', adjust)
offer('replace_first_day', replace_first_day)
offer('merge_sketches', merge_sketches)
