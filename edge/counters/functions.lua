-- Counting, on the side of the province's Redis. Installed by edge/counters/sink.py, which puts a digest of this file
-- into the functions' names, so that two versions of the edge can work side by side on one Redis.
--
-- Theory of operation. A writer is one journal, named by its identity: an append-only file whose positions only grow.
-- The province keeps, for each writer, the watermark: the position up to which its journal has been counted. A batch is
-- a range [expect, to) of the journal, added up. It is applied only when the watermark stands at `expect`, and moves it
-- to `to`; otherwise nothing happens and the caller learns where the watermark stands. A repeat after a lost answer
-- therefore finds the watermark moved and does nothing. A Redis that lost its last seconds lost counts, remembered ids
-- and watermark together (one function call is one unit of the append-only file), and the writer sends again from where
-- it stands.
--
-- A function that fails half-way is not rolled back. So `apply` has two halves: the first only reads and plans; the
-- second only writes, and uses commands that can't fail on keys that only this library writes.
--
-- But for one case: a slot of a cluster that is moved to another node key by key. There, a command on a key that has
-- gone, or that never was, fails. So `apply` first asks for one that never was, and fails before it has written
-- anything, until the move is over. On the other node it never runs meanwhile: clients do not follow there.
--
-- A closed day (`history_through`) is no longer counted into: events of it can only be a replay of what history has.
-- Except for those of a writer that was first heard after the day was closed (a node that was new, or had signed off,
-- and was cut off from its first hour on): history can't have them. They are booked as corrections, which history takes
-- in afterwards; bots, of which there are no corrections, as of the first day that is open.
--
-- Keys, all in the hash slot of {province}. <metric> is visits, views, plays or watch_ms, <kind> its number, 0 to 3;
-- <day> is YYYYMMDD and <hour> YYYYMMDDHH in UTC+8, <minute> minutes since the epoch, <CC> a country; <resource> is `*`
-- for visits. Every amount is a whole number. Bots are in the keys of that name, and nowhere else. Keys of a day
-- stay until whoever has put the day into history lets them go; then a correction is booked in the lasting keys only.
--   {44}:watermarks           hash   writer -> journal position, and who moved it there: `8192 1f3a…`
--   {44}:complete             zset   open writer -> time (ms) before which all it accepted is applied
--   {44}:places               hash   writer -> node and slot that it last wrote for
--                                    and `~`, while it is not known who they are: see `plan_hold`
--   {44}:last:<version>       string what the last call of that version left: `<database> <token>`
--   {44}:held                 string time (ms) until which completeness stays where it is
--   {44}:closed               string the latest such time among writers that closed
--   {44}:seen                 zset   numbers of the 5-minute buckets below
--   {44}:seen:<bucket>        set    digests of the ids accepted in that span
--   {44}:seen_at              zset   bucket -> when it was last written, ms by this Redis's clock
--   {44}:total                hash   <metric> -> n; first_day (of events); {44}:day:<day> of one day
--   {44}:countries            hash   `<CC> <metric>` -> n;                {44}:day:<day>:countries of one day
--   {44}:bots                 hash   <metric> -> n;                       {44}:day:<day>:bots of one day
--   {44}:<metric>             zset   resource -> n, not for visits;       {44}:day:<day>:<metric> of one day
--   {44}:days:<metric>        zset   day -> n
--   {44}:days:bots            zset   open day -> events of bots
--   {44}:min:<day>            hash   `<minute of the day> <kind> <CC>` -> n
--   {44}:h:<hour>             hash   `<kind> <resource>` -> n
--   {44}:m:<minute>           hash   `<kind> <resource>` -> n; for 49 hours
--   {44}:u  {44}:ud:<day>  {44}:ur:<resource>  {44}:udr:<day>:<resource>   sketches of viewers
--   {44}:corrections          hash   id -> the entry as JSON
--   {44}:corrections:at       zset   id -> time (ms) of its acceptance
--   {44}:history_through      string the last day that is closed
--   {44}:closed_at            hash   closed day -> when that was, ms by this Redis's clock, and `before` for all days
--                                    before the first; unknown after a rebuild
--   {44}:since                hash   open writer -> when it was first heard, ms by this Redis's clock
--   {44}:seq                  string number of the last call that changed counts
--   {44}:moved                zset   resource -> number of the last call that changed its counts
--   {44}:trail                hash   number -> digest of all calls up to that one; the last 4,096

local METRIC = {['0'] = 'visits', ['1'] = 'views', ['2'] = 'plays', ['3'] = 'watch_ms'}
local KIND = {[0] = 'visit', 'view', 'play', 'watch'}
local ID_BYTES, VIEWER_BYTES = 12, 8
local BUCKET_MS = 300000
local NEIGHBOURS = 2             -- 10 minutes are two buckets either way
local RECENT_MS = 660000         -- 10 minutes, and one for the way from a journal to here
local RECENT = 6                 -- twice what a clock that goes on evenly writes to in that time
local SEEN_TTL_S = 90000         -- bounds memory should a writer never come back: 24 h of isolation, and one more
local DAY_SKETCH_TTL_S = 262800  -- from its first viewer on, who may be a minute ahead of the day: 3 days and an hour
local MINUTE_TTL_S = 176400
local UTC8_MINUTES, DAY_MINUTES = 480, 1440
local TRAIL = 4096
local HOLD_MS = 5000             -- whoever can be heard is heard once a second, and 3 s after it was away
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

-- `command key part...`, in chunks that Lua can pass.
local function call_many(command, key, parts)
    for first = 1, #parts, CHUNK do
        redis.call(command, key, unpack(parts, first, math.min(first + CHUNK - 1, #parts)))
    end
end

local function now_ms()
    local now = redis.call('TIME')
    return now[1] * 1000 + math.floor(now[2] / 1000)
end

-- The last buckets that were written within ten minutes. Not all: a journal of a day can come in a minute.
local function recent_buckets(prefix)
    local since = integer(now_ms() - RECENT_MS)
    return redis.call('ZREVRANGEBYSCORE', prefix .. ':seen_at', '+inf', since, 'LIMIT', 0, RECENT)
end

-- Which of the ids have been accepted within ten minutes of this bucket, or have come here within ten minutes: that is
-- the same, but where a node's clock was set meanwhile. index -> true.
local function duplicates_of(prefix, bucket, ids)
    local known, near = {}, {}
    for number = bucket - NEIGHBOURS, bucket + NEIGHBOURS do
        near[integer(number)] = true
    end
    for _, number in ipairs(recent_buckets(prefix)) do
        near[number] = true
    end
    for number in pairs(near) do
        local key = prefix .. ':seen:' .. number
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

local function fields_of(sums, key)
    local fields = sums[key]
    if fields == nil then
        fields = {}
        sums[key] = fields
    end
    return fields
end

local function raise(fields, field, amount)
    fields[field] = (fields[field] or 0) + amount
end

-- What a call adds, before it is planned. hashes and ranks: key -> field -> amount; few: the same, of keys of which
-- only some fields change. moved: resources whose counts change. expires: key -> time in seconds.
local function nothing_yet(prefix)
    return {prefix = prefix, hashes = {}, ranks = {}, few = {}, moved = {}, expires = {}, changed = false}
end

-- Where amounts of one kind, minute and country belong. lasting: the keys of the day have gone, leave them so; those of
-- resources by minute go by themselves.
local function shelf_of(sums, kind, minute, day, country, lasting)
    local prefix, metric = sums.prefix, METRIC[kind]
    local of_day = (tonumber(minute) + UTC8_MINUTES) % DAY_MINUTES
    local key_of_minute = prefix .. ':m:' .. minute
    local function among(kinds, key)
        return lasting and {} or fields_of(kinds, key)
    end
    sums.expires[key_of_minute] = tonumber(minute) * 60 + MINUTE_TTL_S
    return {
        prefix = kind .. ' ', metric = metric, day = day, country = country .. ' ' .. metric,
        minute = string.format('%d %s %s', of_day, kind, country),
        by_resource = kind ~= '0',
        total = fields_of(sums.few, prefix .. ':total'),
        total_of_day = among(sums.few, prefix .. ':day:' .. day),
        countries = fields_of(sums.few, prefix .. ':countries'),
        countries_of_day = among(sums.few, prefix .. ':day:' .. day .. ':countries'),
        minutes = among(sums.few, prefix .. ':min:' .. day),
        days = fields_of(sums.ranks, prefix .. ':days:' .. metric),
        in_hour = among(sums.hashes, string.format('%s:h:%s%02d', prefix, day, math.floor(of_day / 60))),
        in_minute = fields_of(sums.hashes, key_of_minute),
        seen = fields_of(sums.ranks, prefix .. ':views'),
        rank = fields_of(sums.ranks, prefix .. ':' .. metric),
        rank_of_day = among(sums.ranks, prefix .. ':day:' .. day .. ':' .. metric),
    }
end

-- Of a closed day, until when (s) its details stay; -1 for ever, nil when they have gone. They go together: a key that
-- is not there although others are is one of something that nobody did that day, and a correction may still make it.
local function details_until(prefix, day)
    for _, key in ipairs({prefix .. ':day:' .. day, prefix .. ':day:' .. day .. ':bots'}) do
        local at_s = redis.call('EXPIRETIME', key)
        if at_s ~= -2 then
            return at_s
        end
    end
end

-- What a correction makes of a closed day goes with the rest of its details.
local function expire_with(sums, shelf, minute, at_s)
    local of_day = sums.prefix .. ':day:' .. shelf.day
    local hour = math.floor((minute + UTC8_MINUTES) % DAY_MINUTES / 60)
    for _, key in ipairs({
        of_day, of_day .. ':countries', of_day .. ':' .. shelf.metric, sums.prefix .. ':min:' .. shelf.day,
        string.format('%s:h:%s%02d', sums.prefix, shelf.day, hour),
    }) do
        sums.expires[key] = at_s
    end
end

-- The sums over resources of one shelf.
local function book_sum(sums, shelf, amount)
    raise(shelf.total, shelf.metric, amount)
    raise(shelf.total_of_day, shelf.metric, amount)
    raise(shelf.countries, shelf.country, amount)
    raise(shelf.countries_of_day, shelf.country, amount)
    raise(shelf.minutes, shelf.minute, amount)
    raise(shelf.days, shelf.day, amount)
    sums.changed = true
end

local function book_resource(sums, shelf, resource, amount)
    local field = shelf.prefix .. resource
    raise(shelf.in_hour, field, amount)
    raise(shelf.in_minute, field, amount)
    if shelf.by_resource then
        raise(shelf.rank, resource, amount)
        raise(shelf.rank_of_day, resource, amount)
        if shelf.seen ~= shelf.rank then
            raise(shelf.seen, resource, 0)  -- that ranking lists every resource ever seen
        end
        sums.moved[resource] = true
    end
end

local MONTHS = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

local function day_after(day)
    local year, month, date = string.match(day, '^(%d%d%d%d)(%d%d)(%d%d)$')
    year, month, date = tonumber(year), tonumber(month), tonumber(date) + 1
    local leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
    if date > MONTHS[month] + (month == 2 and leap and 1 or 0) then
        month, date = month + 1, 1
    end
    if month > 12 then
        year, month = year + 1, 1
    end
    return string.format('%04d%02d%02d', year, month, date)
end

local function book_bots(sums, metric, day, events, amount)
    raise(fields_of(sums.few, sums.prefix .. ':bots'), metric, amount)
    raise(fields_of(sums.few, sums.prefix .. ':day:' .. day .. ':bots'), metric, amount)
    raise(fields_of(sums.ranks, sums.prefix .. ':days:bots'), day, events)
    sums.changed = true
end

-- Whether history can't have what the writer accepted of a closed day, because it was first heard afterwards.
local function is_news(prefix, writer, day)
    local key = prefix .. ':closed_at'
    local closed_ms = redis.call('HGET', key, day) or redis.call('HGET', key, 'before')
    if not closed_ms then
        return false
    end
    local since_ms = redis.call('HGET', prefix .. ':since', writer)
    return not since_ms or tonumber(since_ms) > tonumber(closed_ms)
end

-- Walk the groups (kind, minute, country, agent), their cells (resource) and the ids these are made of; what has been
-- counted before is left out. Returns how many events were left out because history has their day, and what is to be
-- booked as corrections.
local function add_up(sums, writer, groups, cells, watched, known, through)
    local at, at_watch, in_history, late = 0, 0, 0, {}
    local next_cell = string.gmatch(cells, '(%S+) (%d+)\n')
    local all_fresh = next(known) == nil
    for kind, minute, day, country, agent, size in string.gmatch(groups, '(%d) (%d+) (%d+) (%u%u) (%d) (%d+)\n') do
        local shelf, closed, group_fresh, group_amount = nil, day <= through, 0, 0
        local news = closed and is_news(sums.prefix, writer, day)
        for _ = 1, tonumber(size) do
            local resource, events = next_cell()
            local amount, fresh = 0, 0
            events = tonumber(events)
            if all_fresh and kind ~= '3' then
                at, amount, fresh = at + events, events, events
            else
                for _ = 1, events do
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
            end
            if fresh > 0 then
                group_fresh, group_amount = group_fresh + fresh, group_amount + amount
                if agent == '0' and not closed then
                    shelf = shelf or shelf_of(sums, kind, minute, day, country, false)
                    book_resource(sums, shelf, resource, amount)
                elseif agent == '0' and news and amount > 0 then
                    late[#late + 1] = {
                        kind = tonumber(kind), minute = tonumber(minute), day = day, country = country,
                        resource = resource, amount = amount,
                    }
                end
            end
        end
        if closed and not news then
            in_history = in_history + group_fresh
        elseif shelf ~= nil then
            book_sum(sums, shelf, group_amount)
            if sums.first_day == nil or day < sums.first_day then
                sums.first_day = day
            end
        elseif group_fresh > 0 and agent ~= '0' then
            book_bots(sums, METRIC[kind], closed and day_after(through) or day, group_fresh, group_amount)
        end
    end
    return in_history, late
end

-- What came for a closed day after all, as corrections. call: names this one, as no other is named.
local function corrections_of(prefix, late, call, bucket)
    for number, one in ipairs(late) do
        one.id = string.format('late-%s-%d', call, number)
        one.at = bucket * BUCKET_MS
        one.entry = cjson.encode({
            id = one.id, province = string.sub(prefix, 2, -2), country = one.country, kind = KIND[one.kind],
            minute = one.minute, resource = one.resource == '*' and '' or one.resource, amount = one.amount,
            at = one.at, reason = 'accepted by a node that was not heard of before the day was closed',
        })
    end
    return late
end

-- Corrections are booked once for ever, by id, whatever day they are of: history may have been told of them or not. Days
-- begin with the first event: a correction before that makes no day that averages would count.
local function add_corrections(plan, sums, corrections, through)
    local taken = {}
    for _, one in ipairs(corrections) do
        local key = sums.prefix .. ':corrections'
        if not taken[one.id] and redis.call('HEXISTS', key, one.id) == 0 then
            taken[one.id] = true
            local minute, closed = integer(one.minute), one.day <= through
            local until_s = closed and details_until(sums.prefix, one.day)
            local lasting = closed and until_s == nil
            local shelf = shelf_of(sums, integer(one.kind), minute, one.day, one.country, lasting)
            if until_s and until_s > 0 then
                expire_with(sums, shelf, one.minute, until_s)
            end
            book_resource(sums, shelf, one.resource, one.amount)
            book_sum(sums, shelf, one.amount)
            plan[#plan + 1] = {'HSET', key, one.id, one.entry}
            plan[#plan + 1] = {'ZADD', key .. ':at', integer(one.at), one.id}
        end
    end
end

-- Plan to raise many numbers of a key with one reading and one writing call: half the cost of a call for each. They
-- are below 2^53, or a resource would have been watched for 285,000 years.
local function plan_raises(plan, read, write, sums)
    for key, fields in pairs(sums) do
        local names, count = {}, 0
        for name in pairs(fields) do
            count = count + 1
            names[count] = name
        end
        for first = 1, count, CHUNK / 2 do
            local last = math.min(first + CHUNK / 2 - 1, count)
            local stored = redis.call(read, key, unpack(names, first, last))
            local call, at = {write, key}, 3
            for i = first, last do
                local value = integer(tonumber(stored[i - first + 1] or 0) + fields[names[i]])
                if write == 'HSET' then
                    call[at], call[at + 1] = names[i], value
                else
                    call[at], call[at + 1] = value, names[i]
                end
                at = at + 2
            end
            plan[#plan + 1] = call
        end
    end
end

-- The call gets a number, which is kept with each resource it changes, so that a reader can ask what has changed since.
-- The trail tells whether that number still means the same: after a Redis has gone back, it is given again.
local function plan_trail(plan, sums, call)
    local key, resources, count = sums.prefix .. ':trail', {}, 0
    local before = tonumber(redis.call('GET', sums.prefix .. ':seq') or 0)
    local seq = integer(before + 1)
    local past = redis.call('HGET', key, integer(before)) or ''
    plan[#plan + 1] = {'SET', sums.prefix .. ':seq', seq}
    plan[#plan + 1] = {'HSET', key, seq, string.sub(redis.sha1hex(past .. ' ' .. call), 1, 16)}
    plan[#plan + 1] = {'HDEL', key, integer(before + 1 - TRAIL)}
    for resource in pairs(sums.moved) do
        count = count + 1
        resources[count] = resource
    end
    for first = 1, count, CHUNK / 2 do
        local call_of_chunk, at = {'ZADD', sums.prefix .. ':moved'}, 3
        for i = first, math.min(first + CHUNK / 2 - 1, count) do
            call_of_chunk[at], call_of_chunk[at + 1] = seq, resources[i]
            at = at + 2
        end
        plan[#plan + 1] = call_of_chunk
    end
end

local function plan_sums(plan, sums, call)
    if not sums.changed then
        return
    end
    for key, fields in pairs(sums.few) do
        for field, amount in pairs(fields) do
            plan[#plan + 1] = {'HINCRBY', key, field, integer(amount)}
        end
    end
    plan_raises(plan, 'HMGET', 'HSET', sums.hashes)
    plan_raises(plan, 'ZMSCORE', 'ZADD', sums.ranks)
    for key, at_s in pairs(sums.expires) do
        plan[#plan + 1] = {'EXPIREAT', key, integer(at_s)}
    end
    if sums.first_day ~= nil then
        local stored = redis.call('HGET', sums.prefix .. ':total', 'first_day')
        if not stored or sums.first_day < stored then
            plan[#plan + 1] = {'HSET', sums.prefix .. ':total', 'first_day', sums.first_day}
        end
    end
    plan_trail(plan, sums, call)
end

-- The viewers of each resource on each day, as spans of all of them: side by side, a table for each would cost more.
local function audiences_of(heads, blob)
    local viewers = split(blob, VIEWER_BYTES)
    local resources, days, ends, count, at = {}, {}, {}, 0, 0
    for day, resource, size in string.gmatch(heads, '(%d+) (%S+) (%d+)\n') do
        count, at = count + 1, at + tonumber(size)
        resources[count], days[count], ends[count] = resource, day, at
    end
    assert(at == #viewers, 'viewers do not add up')
    return {viewers = viewers, resources = resources, days = days, ends = ends, count = count}
end

-- Into the sketches. Writes only; planned one by one, these calls would be most of a plan.
local function write_audiences(prefix, audiences)
    local viewers, days, ends = audiences.viewers, audiences.days, audiences.ends
    local ever, daily, by_day, at = prefix .. ':ur:', prefix .. ':udr:', {}, 0
    for i = 1, audiences.count do
        local resource, day, last = audiences.resources[i], days[i], ends[i]
        local key, of_day = daily .. day .. ':' .. resource, fields_of(by_day, day)
        for first = at + 1, last, CHUNK do
            local to = math.min(first + CHUNK - 1, last)
            redis.call('PFADD', ever .. resource, unpack(viewers, first, to))
            redis.call('PFADD', key, unpack(viewers, first, to))
        end
        redis.call('EXPIRE', key, DAY_SKETCH_TTL_S, 'NX')  -- once: repeated, it goes to every log each time
        local count = #of_day
        for viewer = at + 1, last do
            count = count + 1
            of_day[count] = viewers[viewer]
        end
        at = last
    end
    call_many('PFADD', prefix .. ':u', viewers)
    for day, of_day in pairs(by_day) do
        local key = prefix .. ':ud:' .. day
        call_many('PFADD', key, of_day)
        redis.call('EXPIRE', key, DAY_SKETCH_TTL_S, 'NX')
    end
end

-- Ids that were not known before are now. Writes only.
local function write_ids(prefix, bucket, fresh)
    if #fresh > 0 then
        local key = prefix .. ':seen:' .. integer(bucket)
        call_many('SADD', key, fresh)
        redis.call('EXPIRE', key, SEEN_TTL_S)
        redis.call('ZADD', prefix .. ':seen', integer(bucket), integer(bucket))
        redis.call('ZADD', prefix .. ':seen_at', integer(now_ms()), integer(bucket))
    end
end

-- Returns the ids that were not known before, how many were, how many events were left out because history has their
-- day, and what is to be booked as corrections.
local function add_up_events(sums, writer, bucket, groups, cells, id_blob, watched_text, through)
    local prefix, ids = sums.prefix, split(id_blob, ID_BYTES)
    local known = duplicates_of(prefix, bucket, ids)
    local watched = {}
    for ms in string.gmatch(watched_text, '%d+') do
        watched[#watched + 1] = tonumber(ms)
    end
    local in_history, late = add_up(sums, writer, groups, cells, watched, known, through)
    local fresh = ids
    if next(known) ~= nil then
        fresh = {}
        for i = 1, #ids do
            if not known[i] then
                fresh[#fresh + 1] = ids[i]
            end
        end
    end
    return fresh, #ids - #fresh, in_history, late
end

-- Completeness is that of the slowest writer that is known. A Redis that has lost its last seconds, or a replica that was
-- promoted, may not know one at all that was heard for the first time in them, and has lost what it accepted. So each
-- call leaves a token in the data and in the memory of the server that carried it out. Where the two are not the same,
-- this is another server, or other data, than that of the last call, and completeness stays where it is until all
-- writers that can be heard have been heard again. Returns what is to be remembered once all is written.
local remembered = {}

local function plan_hold(plan, prefix)
    local key, complete, now = prefix .. ':last:@VERSION@', prefix .. ':complete', redis.call('TIME')
    local token = now[1] .. string.format('%06d', now[2])
    local database, left = string.match(redis.call('GET', key) or '', '^(%x+) (%d+)')
    -- Until when is not of one version: whoever held it may be gone, and be the only one of its version.
    local until_ms = redis.call('GET', prefix .. ':held')
    if not database or remembered[database] ~= left then
        local slowest = redis.call('ZRANGE', complete, 0, 0, 'WITHSCORES')
        local known = slowest[2] or redis.call('GET', prefix .. ':closed')
        if known then
            plan[#plan + 1] = {'SET', prefix .. ':held', integer(now_ms() + HOLD_MS)}
            plan[#plan + 1] = {'ZADD', complete, known, '~'}
        end
        database = database or redis.sha1hex(prefix .. token)
    elseif until_ms and tonumber(until_ms) <= now_ms() then
        plan[#plan + 1] = {'DEL', prefix .. ':held'}
        plan[#plan + 1] = {'ZREM', complete, '~'}
    end
    plan[#plan + 1] = {'SET', key, database .. ' ' .. token}
    return database, token
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
-- late it comes. That is a property of the stored state, not of the wall clock, so it survives a rollback. And not
-- before they have been here for ten minutes: a node whose clock was set forward seems to be past them.
local function forget_ids(prefix)
    local slowest = redis.call('ZRANGE', prefix .. ':complete', 0, 0, 'WITHSCORES')
    if #slowest == 0 then
        return
    end
    local oldest = math.floor(tonumber(slowest[2]) / BUCKET_MS) - NEIGHBOURS
    local past = redis.call('ZRANGEBYSCORE', prefix .. ':seen', '-inf', '(' .. integer(oldest))
    if #past == 0 then
        return
    end
    local kept = {}
    for _, bucket in ipairs(recent_buckets(prefix)) do
        kept[bucket] = true
    end
    for _, bucket in ipairs(past) do
        if not kept[bucket] then
            redis.call('UNLINK', prefix .. ':seen:' .. bucket)
            redis.call('ZREM', prefix .. ':seen', bucket)
            redis.call('ZREM', prefix .. ':seen_at', bucket)
        end
    end
end

-- What an earlier version of this library counted has no countries, no days but of views, and nobody can ask what has
-- moved: that much follows from what it kept. Its minutes and hours are not known. A total without countries may be of
-- a Redis that is just being put right from history, too: then they will come from there.
local function adopt(prefix)
    for _, newer in ipairs({':countries', ':seq', ':history_through'}) do
        if redis.call('EXISTS', prefix .. newer) == 1 then
            return
        end
    end
    if redis.call('EXISTS', prefix .. ':total') == 0 then
        return
    end
    local country = prefix == '{00}' and 'ZZ ' or 'CN '
    local function hand_on(scope, countries, day)
        local stored = redis.call('HGETALL', scope)
        for i = 1, #stored, 2 do
            local metric, amount = stored[i], stored[i + 1]
            if metric ~= 'first_day' then
                redis.call('HSET', countries, country .. metric, amount)
                if day ~= nil then
                    redis.call('ZADD', prefix .. ':days:' .. metric, amount, day)
                end
            end
        end
    end
    for _, day in ipairs(redis.call('ZRANGE', prefix .. ':days:views', 0, -1)) do
        hand_on(prefix .. ':day:' .. day, prefix .. ':day:' .. day .. ':countries', day)
    end
    for _, resource in ipairs(redis.call('ZRANGE', prefix .. ':views', 0, -1)) do
        redis.call('ZADD', prefix .. ':moved', 1, resource)
    end
    redis.call('SET', prefix .. ':seq', 1)
    hand_on(prefix .. ':total', prefix .. ':countries')
end

-- keys: {province}:watermarks
-- args: prefix, writer, place, mover, expect, to, complete_ms, closing (0|1), bucket, groups, cells, ids, watched,
--       audience heads, viewers, corrections
-- returns: 1 and the new watermark, or 0 and the watermark found; then the number of duplicates left out, and of events
--          that history has
local function apply(keys, args)
    local prefix, writer, place, mover, expect, to = args[1], args[2], args[3], args[4], args[5], args[6]
    redis.call('EXISTS', prefix .. ':never')  -- fails while the slot is on the move
    local stored = redis.call('HGET', keys[1], writer) or '0'
    local position = string.match(stored, '^%d+')
    if position ~= expect then
        return {0, stored, 0, 0}
    end
    adopt(prefix)
    local plan, sums, duplicates, in_history = {}, nothing_yet(prefix), 0, 0
    local through = redis.call('GET', prefix .. ':history_through') or ''
    local bucket, fresh, audiences = tonumber(args[9]), {}, nil
    if #args[12] > 0 then
        local late
        fresh, duplicates, in_history, late =
            add_up_events(sums, writer, bucket, args[10], args[11], args[12], args[13], through)
        audiences = audiences_of(args[14], args[15])
        add_corrections(plan, sums, corrections_of(prefix, late, writer .. '-' .. expect, bucket), through)
    end
    if #args[16] > 0 then
        add_corrections(plan, sums, cjson.decode(args[16]), through)
    end
    if args[8] == '1' then
        plan[#plan + 1] = {'HDEL', prefix .. ':since', writer}  -- from here on nobody waits for it
    elseif redis.call('HEXISTS', prefix .. ':since', writer) == 0 then
        plan[#plan + 1] = {'HSET', prefix .. ':since', writer, integer(now_ms())}
    end
    plan_sums(plan, sums, writer .. ' ' .. to)
    local database, token = plan_hold(plan, prefix)
    plan_completeness(plan, prefix, writer, place, tonumber(args[7]), args[8] == '1')
    local moved = to .. ' ' .. mover
    if to ~= position then
        plan[#plan + 1] = {'HSET', keys[1], writer, moved}
    end
    -- From here on nothing can fail; `forget_ids` reads once more, when all is booked.
    write_ids(prefix, bucket, fresh)
    if audiences ~= nil then
        write_audiences(prefix, audiences)
    end
    for _, call in ipairs(plan) do
        redis.call(unpack(call))
    end
    remembered[database] = token
    forget_ids(prefix)
    return {1, moved, duplicates, in_history}
end

-- A write, so that WAITAOF on the same connection waits for everything applied so far; returns the writer's watermark.
-- keys: {province}:watermarks    args: prefix, writer
local function mark(keys, args)
    redis.call('SET', args[1] .. ':marked', args[2])
    return redis.call('HGET', keys[1], args[2]) or '0'
end

redis.register_function('smartedu_apply_@VERSION@', apply)
redis.register_function('smartedu_mark_@VERSION@', mark)
