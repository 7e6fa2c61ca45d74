-- Counting, on the side of the province's Redis. Installed by edge/counters/sink.py, which puts a digest of this file
-- into the functions' names, so that two versions of the edge can work side by side on one Redis.
--
-- Theory of operation. A writer is one journal, named by its identity: an append-only file whose positions only grow. The province keeps, for
-- each writer, the watermark: the position up to which its journal has been counted. A batch is a range [expect, to) of
-- the journal, added up. It is applied only when the watermark stands at `expect`, and moves it to `to`; otherwise
-- nothing happens and the caller learns where the watermark stands. A repeat after a lost answer therefore finds the
-- watermark moved and does nothing. A Redis that lost its last seconds lost counts, remembered ids and watermark
-- together (one function call is one unit of the append-only file), and the writer sends again from where it stands.
--
-- A function that fails half-way is not rolled back. So `apply` has two halves: the first only reads and plans; the
-- second only writes, and uses commands that can't fail on keys that only this library writes.
--
-- Keys, all in the hash slot of {province}:
--   {44}:watermarks           hash   writer -> journal position, and who moved it there: `8192 1f3a…`
--   {44}:complete             zset   open writer -> time (ms) before which all it accepted is applied
--   {44}:places               hash   writer -> node and slot that it last wrote for
--   {44}:closed               string the latest such time among writers that closed
--   {44}:seen                 zset   numbers of the 5-minute buckets below
--   {44}:seen:<bucket>        set    digests of the ids accepted in that span
--   {44}:total                hash   views, plays, watch_ms, visits; first_day
--   {44}:day:<day>            hash   the same, of one day
--   {44}:days:views           zset   day -> views
--   {44}:<metric>             zset   resource -> count;   {44}:day:<day>:<metric> of one day
--   {44}:u  {44}:ud:<day>  {44}:ur:<resource>  {44}:udr:<day>:<resource>   sketches of viewers

local METRIC = {['0'] = 'visits', ['1'] = 'views', ['2'] = 'plays', ['3'] = 'watch_ms'}
local ID_BYTES, VIEWER_BYTES = 12, 8
local BUCKET_MS = 300000
local NEIGHBOURS = 2             -- 10 minutes are two buckets either way
local SEEN_TTL_S = 90000         -- bounds memory should a writer never come back: 24 h of isolation, and one more
local DAY_SKETCH_TTL_S = 259200
local CHUNK = 4000               -- Lua passes at most some 8,000 arguments to one call

local function split(blob, width)
    local parts, n = {}, 0
    for i = 1, #blob, width do
        n = n + 1
        parts[n] = string.sub(blob, i, i + width - 1)
    end
    return parts
end

local function integer(number)
    return string.format('%.0f', number)
end

-- Plan `command key part...` in chunks that Lua can pass.
local function plan_many(plan, command, key, parts)
    for first = 1, #parts, CHUNK do
        local call = {command, key}
        for i = first, math.min(first + CHUNK - 1, #parts) do
            call[#call + 1] = parts[i]
        end
        plan[#plan + 1] = call
    end
end

-- Which of the ids have been accepted within ten minutes of this bucket: index -> true.
local function duplicates_of(prefix, bucket, ids)
    local known = {}
    for near = bucket - NEIGHBOURS, bucket + NEIGHBOURS do
        local key = prefix .. ':seen:' .. integer(near)
        if redis.call('EXISTS', key) == 1 then
            for first = 1, #ids, CHUNK do
                local last = math.min(first + CHUNK - 1, #ids)
                local flags = redis.call('SMISMEMBER', key, unpack(ids, first, last))
                for i = 1, #flags do
                    if flags[i] == 1 then
                        known[first + i - 1] = true
                    end
                end
            end
        end
    end
    return known
end

local function bump(sums, key, field, amount)
    local fields = sums[key]
    if fields == nil then
        fields = {}
        sums[key] = fields
    end
    fields[field] = (fields[field] or 0) + amount
end

-- Walk the cells and the ids they are made of; what has been counted before is left out.
local function add_up(prefix, cells, ids, watched, known)
    local hashes, zsets, first_day = {}, {}, nil
    local at, at_watch = 0, 0
    for kind, day, resource, events in string.gmatch(cells, '(%d) (%d+) (%S+) (%d+)\n') do
        local metric, amount, fresh = METRIC[kind], 0, 0
        for _ = 1, tonumber(events) do
            at = at + 1
            local weight = 1
            if kind == '3' then
                at_watch = at_watch + 1
                weight = watched[at_watch]
            end
            if not known[at] then
                fresh = fresh + 1
                amount = amount + weight
            end
        end
        if fresh > 0 then
            bump(hashes, prefix .. ':total', metric, amount)
            bump(hashes, prefix .. ':day:' .. day, metric, amount)
            if metric == 'views' then
                bump(zsets, prefix .. ':days:views', day, amount)
            end
            if metric ~= 'visits' then
                bump(zsets, prefix .. ':' .. metric, resource, amount)
                bump(zsets, prefix .. ':day:' .. day .. ':' .. metric, resource, amount)
                bump(zsets, prefix .. ':views', resource, 0)  -- that ranking lists every resource ever seen
            end
            if first_day == nil or day < first_day then
                first_day = day
            end
        end
    end
    return hashes, zsets, first_day
end

local function plan_sums(plan, command, sums)
    for key, fields in pairs(sums) do
        for field, amount in pairs(fields) do
            if command == 'HINCRBY' then
                plan[#plan + 1] = {command, key, field, integer(amount)}
            else
                plan[#plan + 1] = {command, key, integer(amount), field}
            end
        end
    end
end

local function plan_audiences(plan, prefix, heads, blob)
    local offset = 1
    for day, resource, count in string.gmatch(heads, '(%d+) (%S+) (%d+)\n') do
        local width = tonumber(count) * VIEWER_BYTES
        local viewers = split(string.sub(blob, offset, offset + width - 1), VIEWER_BYTES)
        offset = offset + width
        plan_many(plan, 'PFADD', prefix .. ':u', viewers)
        plan_many(plan, 'PFADD', prefix .. ':ur:' .. resource, viewers)
        for _, key in ipairs({prefix .. ':ud:' .. day, prefix .. ':udr:' .. day .. ':' .. resource}) do
            plan_many(plan, 'PFADD', key, viewers)
            plan[#plan + 1] = {'EXPIRE', key, DAY_SKETCH_TTL_S}
        end
    end
end

local function plan_counts(plan, prefix, bucket, cells, id_blob, watched_text, audience_heads, audience_blob)
    local ids = split(id_blob, ID_BYTES)
    local known = duplicates_of(prefix, bucket, ids)
    local watched = {}
    for ms in string.gmatch(watched_text, '%d+') do
        watched[#watched + 1] = tonumber(ms)
    end
    local hashes, zsets, first_day = add_up(prefix, cells, ids, watched, known)
    plan_sums(plan, 'HINCRBY', hashes)
    plan_sums(plan, 'ZINCRBY', zsets)
    if first_day ~= nil then
        local stored = redis.call('HGET', prefix .. ':total', 'first_day')
        if not stored or first_day < stored then
            plan[#plan + 1] = {'HSET', prefix .. ':total', 'first_day', first_day}
        end
    end
    local fresh = {}
    for i = 1, #ids do
        if not known[i] then
            fresh[#fresh + 1] = ids[i]
        end
    end
    if #fresh > 0 then
        local key = prefix .. ':seen:' .. integer(bucket)
        plan_many(plan, 'SADD', key, fresh)
        plan[#plan + 1] = {'EXPIRE', key, SEEN_TTL_S}
        plan[#plan + 1] = {'ZADD', prefix .. ':seen', integer(bucket), integer(bucket)}
    end
    plan_audiences(plan, prefix, audience_heads, audience_blob)
    return #ids - #fresh
end

-- The writer takes part in the province's completeness from its first call until it closes. One never seen before, in
-- the place (node and slot) of another, stands for that one, whose disk must have been lost or wiped. Only then: two
-- nodes that wrongly have one name would otherwise take each other's part for ever.
local function plan_completeness(plan, prefix, writer, place, complete_ms, closing)
    local key, places = prefix .. ':complete', prefix .. ':places'
    if closing then
        plan[#plan + 1] = {'ZREM', key, writer}
        local stored = redis.call('GET', prefix .. ':closed')
        if not stored or tonumber(stored) < complete_ms then
            plan[#plan + 1] = {'SET', prefix .. ':closed', integer(complete_ms)}
        end
        return
    end
    plan[#plan + 1] = {'ZADD', key, integer(complete_ms), writer}
    local known = redis.call('HGET', places, writer)
    if known == place or place == '' then
        return
    end
    plan[#plan + 1] = {'HSET', places, writer, place}
    if not known then
        for _, other in ipairs(redis.call('ZRANGE', key, 0, -1)) do
            if other ~= writer and redis.call('HGET', places, other) == place then
                plan[#plan + 1] = {'ZREM', key, other}
            end
        end
    end
end

-- Ids are forgotten only when no open writer can still deliver an event accepted within ten minutes of them, however
-- late it comes. That is a property of the stored state, not of the wall clock, so it survives a rollback.
local function forget_ids(prefix)
    local slowest = redis.call('ZRANGE', prefix .. ':complete', 0, 0, 'WITHSCORES')
    if #slowest == 0 then
        return
    end
    local oldest = math.floor(tonumber(slowest[2]) / BUCKET_MS) - NEIGHBOURS
    local key = prefix .. ':seen'
    for _, bucket in ipairs(redis.call('ZRANGEBYSCORE', key, '-inf', '(' .. integer(oldest))) do
        redis.call('UNLINK', key .. ':' .. bucket)
        redis.call('ZREM', key, bucket)
    end
end

-- keys: {province}:watermarks
-- args: prefix, writer, place, mover, expect, to, complete_ms, closing (0|1), bucket, cells, ids, watched,
--       audience heads, viewers
-- returns: 1 and the new watermark, or 0 and the watermark found; then the number of duplicates left out
local function apply(keys, args)
    local prefix, writer, place, mover, expect, to = args[1], args[2], args[3], args[4], args[5], args[6]
    local stored = redis.call('HGET', keys[1], writer) or '0'
    local position = string.match(stored, '^%d+')
    if position ~= expect then
        return {0, stored, 0}
    end
    local plan, duplicates = {}, 0
    if #args[11] > 0 then
        duplicates = plan_counts(plan, prefix, tonumber(args[9]), args[10], args[11], args[12], args[13], args[14])
    end
    plan_completeness(plan, prefix, writer, place, tonumber(args[7]), args[8] == '1')
    local moved = to .. ' ' .. mover
    if to ~= position then
        plan[#plan + 1] = {'HSET', keys[1], writer, moved}
    end
    for _, call in ipairs(plan) do
        redis.call(unpack(call))
    end
    forget_ids(prefix)
    return {1, moved, duplicates}
end

-- A write, so that WAITAOF on the same connection waits for everything applied so far; returns the writer's watermark.
-- keys: {province}:watermarks    args: prefix, writer
local function mark(keys, args)
    redis.call('SET', args[1] .. ':marked', args[2])
    return redis.call('HGET', keys[1], args[2]) or '0'
end

redis.register_function('smartedu_apply_@VERSION@', apply)
redis.register_function('smartedu_mark_@VERSION@', mark)

-- History has a day: nothing of it is added any more (`apply` leaves its events out), and its details may go. Only when
-- the day is still what was exported: otherwise nothing happens, and 0 is the answer.
-- keys: {province}:watermarks
-- args: prefix, day, its visits, views, plays, watch_ms, the province's number of corrections, seconds until the details
--       go, then the ids of the corrections that history holds. `*` for the visits: the day was closed before, and only
--       corrections have been exported.
local function close_day(keys, args)
    local prefix, day, of_day = args[1], args[2], args[1] .. ':day:' .. args[2]
    if args[3] ~= '*' then
        local sums = redis.call('HMGET', of_day, 'visits', 'views', 'plays', 'watch_ms')
        for i = 1, 4 do
            if (sums[i] or '0') ~= args[i + 2] then
                return 0
            end
        end
        if redis.call('HLEN', prefix .. ':corrections') ~= tonumber(args[7]) then
            return 0
        end
        local through = redis.call('GET', prefix .. ':history_through')
        if not through or through < day then
            redis.call('SET', prefix .. ':history_through', day)
        end
    end
    local details = {of_day, of_day .. ':views', of_day .. ':plays', of_day .. ':watch_ms', of_day .. ':countries',
                     of_day .. ':bots', prefix .. ':min:' .. day}
    for hour = 0, 23 do
        details[#details + 1] = string.format('%s:h:%s%02d', prefix, day, hour)
    end
    for _, key in ipairs(details) do
        redis.call('EXPIRE', key, args[8], 'NX')
    end
    for i = 9, #args do
        redis.call('SADD', prefix .. ':corrections:exported', args[i])
    end
    return 1
end

-- What history holds is true again, before totals are put right: no event of its days is counted from here on, and no
-- correction that it includes is counted twice.
-- keys: {province}:watermarks    args: prefix, day through which history reaches, then id, entry, accepted_ms of each correction
local function trust_history(keys, args)
    local prefix = args[1]
    local through = redis.call('GET', prefix .. ':history_through')
    if not through or through < args[2] then
        redis.call('SET', prefix .. ':history_through', args[2])
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
--       whose readers must be told, then field or member, amount, and so on
local function adjust(keys, args)
    local prefix = args[1]
    if redis.call('GET', prefix .. ':history:lease') ~= args[2] then
        return 0
    end
    redis.call('EXPIRE', prefix .. ':history:lease', args[3])
    local seq = args[6] == '1' and redis.call('INCR', prefix .. ':seq')
    for i = 7, #args, 2 do
        if args[4] == 'HINCRBY' then
            redis.call('HINCRBY', prefix .. args[5], args[i], args[i + 1])
        else
            redis.call('ZINCRBY', prefix .. args[5], args[i + 1], args[i])
        end
        if seq then
            redis.call('ZADD', prefix .. ':moved', seq, args[i])
        end
    end
    if seq then
        redis.call('DEL', prefix .. ':trail')  -- whoever follows what moves begins again
    end
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

redis.register_function('smartedu_close_day_@VERSION@', close_day)
redis.register_function('smartedu_trust_history_@VERSION@', trust_history)
redis.register_function('smartedu_adjust_@VERSION@', adjust)
redis.register_function('smartedu_merge_sketches_@VERSION@', merge_sketches)
