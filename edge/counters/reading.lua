-- Reading the counts, on the side of the province's Redis. Installed by edge/counters/reading.py beside functions.lua,
-- which says what the keys mean. Nothing here writes.
--
-- Theory of operation. One call answers all that is read of a province at one moment: a function is atomic, so counts,
-- sums and the time up to which they are complete belong together. What changed since the last call is found by the
-- number of the last batch that was seen. A Redis that lost its last seconds may reach that number again with another
-- batch; the batch's tag (writer and position, in the trail) tells the two apart, and then the reader begins anew.

local METRICS = {'views', 'plays', 'watch_ms'}
local DAY_MINUTES = 1440
local CHUNK = 4000               -- Lua passes at most some 8,000 arguments to one call

-- Before when the province is exact: its slowest open writer, or with none open the last that closed.
local function complete(prefix)
    local slowest = redis.call('ZRANGE', prefix .. ':complete', 0, 0, 'WITHSCORES')
    return slowest[2] or redis.call('GET', prefix .. ':closed') or ''
end

local function tag_of(prefix, seq)
    return redis.call('HGET', prefix .. ':trail', seq) or ''
end

local function scores(key, members)
    local all = {}
    for first = 1, #members, CHUNK do
        local some = redis.call('ZMSCORE', key, unpack(members, first, math.min(first + CHUNK - 1, #members)))
        for i = 1, #some do
            all[#all + 1] = some[i] or '0'
        end
    end
    return all
end

-- Where the reader stands when it begins to read whole rankings.
-- args: prefix    returns: seq, tag
local function stand(_, args)
    local seq = redis.call('GET', args[1] .. ':seq') or '0'
    return {seq, tag_of(args[1], seq)}
end

-- args: prefix, since, tag, whether the reader has that day (0|1), day, most, days that may have changed...
-- returns: 0 where the reader has to begin anew; 2, complete, the last day that history holds, where nothing is new; or
--   1, seq, tag, complete, resources moved, their six scores (since ever and of the day), total, the day's total,
--   countries, the day's countries, bots, the day's bots, views of the days asked, number of days, of corrections,
--   the last day that history holds
local function glance(_, args)
    local prefix, since, tag, same, day, most = args[1], args[2], args[3], args[4], args[5], tonumber(args[6])
    local seq, moved = redis.call('GET', prefix .. ':seq') or '0', prefix .. ':moved'
    if since ~= '0' and tag_of(prefix, since) ~= tag then
        return {0}
    end
    local history_through = redis.call('GET', prefix .. ':history_through') or ''
    if seq == since and since ~= '0' and same == '1' then
        return {2, complete(prefix), history_through}
    end
    if redis.call('ZCOUNT', moved, '(' .. since, '+inf') > most then
        return {0}
    end
    local resources = redis.call('ZRANGEBYSCORE', moved, '(' .. since, '+inf')
    local of_day = prefix .. ':day:' .. day
    local answer = {1, seq, tag_of(prefix, seq), complete(prefix), resources}
    for _, scope in ipairs({prefix, of_day}) do
        for _, metric in ipairs(METRICS) do
            answer[#answer + 1] = scores(scope .. ':' .. metric, resources)
        end
    end
    for _, key in ipairs({':total', ':countries', ':bots'}) do
        answer[#answer + 1] = redis.call('HGETALL', prefix .. key)
        answer[#answer + 1] = redis.call('HGETALL', key == ':total' and of_day or of_day .. key)
    end
    local days = {}
    for i = 7, #args do
        days[#days + 1] = args[i]
    end
    answer[#answer + 1] = redis.call('ZMSCORE', prefix .. ':days:views', unpack(days))
    answer[#answer + 1] = redis.call('ZCARD', prefix .. ':days:views')
    answer[#answer + 1] = redis.call('ZCARD', prefix .. ':corrections:at')
    answer[#answer + 1] = history_through
    return answer
end

-- Whether anything of the day was ever counted. Not every day has views: it may have visits only, or seconds watched of
-- what was opened the day before.
local function was_counted(prefix, day)
    for _, metric in ipairs({'visits', 'views', 'plays', 'watch_ms'}) do
        if redis.call('ZSCORE', prefix .. ':days:' .. metric, day) then
            return true
        end
    end
    return false
end

-- The entries of that day that history is not known to hold. Those that it is known to hold are in what it says from
-- now on: they are noted after its manifest was written.
local function waiting(prefix, first_minute)
    local key, found = prefix .. ':corrections', {}
    local ids = redis.call('HKEYS', key)
    for first = 1, #ids, CHUNK do
        local last = math.min(first + CHUNK - 1, #ids)
        local exported = redis.call('SMISMEMBER', key .. ':exported', unpack(ids, first, last))
        for i = first, last do
            local entry = exported[i - first + 1] == 0 and redis.call('HGET', key, ids[i])
            local minute = entry and tonumber(cjson.decode(entry).minute) - first_minute
            if minute and minute >= 0 and minute < DAY_MINUTES then
                found[#found + 1] = entry
            end
        end
    end
    return found
end

-- One day, if it is not as the reader knows it: any event changes one of its sums, a correction the number of those. Of
-- a day whose details have gone, its sums are those that stay.
-- args: prefix, day, mark that the reader has of it, its first minute since the epoch, whether bots are wanted (0|1)
-- returns: complete, mark; then the day's three rankings, nothing when the mark is the same, or where only history can
--   have it 0 and the corrections that history may not hold yet
local function day(_, args)
    local prefix, name, of_day = args[1], args[2], args[1] .. ':day:' .. args[2]
    local there = redis.call('EXISTS', of_day) == 1
    local counted = not there and was_counted(prefix, name)
    -- A day of nothing but bots has left no sums: whoever wants them has to look into history.
    local bots_only = args[5] == '1' and not there and redis.call('EXISTS', of_day .. ':bots') == 0
        and name <= (redis.call('GET', prefix .. ':history_through') or '')
    local gone = counted or bots_only
    local mark = (gone and 'gone:' or '') .. redis.call('ZCARD', prefix .. ':corrections:at')
    for _, metric in ipairs({'views', 'plays', 'watch_ms', 'visits'}) do
        local sum = there and redis.call('HGET', of_day, metric)
        mark = mark .. ' ' .. (sum or counted and redis.call('ZSCORE', prefix .. ':days:' .. metric, name) or '0')
    end
    local answer = {complete(prefix), mark}
    if mark == args[3] then
        return answer
    elseif gone then
        answer[3] = 0
        for _, entry in ipairs(waiting(prefix, tonumber(args[4]))) do
            answer[#answer + 1] = entry
        end
    else
        for i, metric in ipairs(METRICS) do
            answer[2 + i] = redis.call('ZRANGE', of_day .. ':' .. metric, 0, -1, 'WITHSCORES')
        end
    end
    return answer
end

local function offer(name, callback)
    redis.register_function({
        function_name = 'smartedu_' .. name .. '_@VERSION@', callback = callback, flags = {'no-writes'}
    })
end

offer('stand', stand)
offer('glance', glance)
offer('day', day)
