-- Every roll-up of a province, added up at one moment. KEYS[1]: {province}:watermarks
-- Answers JSON: complete (ms), and by name of a roll-up its sums by metric.
local METRICS = {'visits', 'views', 'plays', 'watch_ms'}
local prefix = string.match(KEYS[1], '^{%d+}')

local function keys_of(pattern)
    return redis.call('KEYS', prefix .. pattern)
end

local function none()
    return {visits = 0, views = 0, plays = 0, watch_ms = 0}
end

local function hash(sums, key, metric_of)
    local found = redis.call('HGETALL', key)
    for i = 1, #found, 2 do
        local metric = metric_of(found[i])
        if sums[metric] then
            sums[metric] = sums[metric] + tonumber(found[i + 1])
        end
    end
    return sums
end

local function ranks(scope)
    local sums = none()
    for _, metric in ipairs({'views', 'plays', 'watch_ms'}) do
        local found = redis.call('ZRANGE', scope .. ':' .. metric, 0, -1, 'WITHSCORES')
        for i = 2, #found, 2 do
            sums[metric] = sums[metric] + tonumber(found[i])
        end
    end
    return sums
end

local function itself(field) return field end
local function after_country(field) return string.sub(field, 4) end
local function by_kind(place)
    return function(field)
        local words = {}
        for word in string.gmatch(field, '%S+') do
            words[#words + 1] = word
        end
        return METRICS[tonumber(words[place]) + 1]
    end
end

local function over(pattern, metric_of)
    local sums = none()
    for _, key in ipairs(keys_of(pattern)) do
        hash(sums, key, metric_of)
    end
    return sums
end

local days = none()
for _, metric in ipairs(METRICS) do
    local found = redis.call('ZRANGE', prefix .. ':days:' .. metric, 0, -1, 'WITHSCORES')
    for i = 2, #found, 2 do
        days[metric] = days[metric] + tonumber(found[i])
    end
end

local slowest = redis.call('ZRANGE', prefix .. ':complete', 0, 0, 'WITHSCORES')
return cjson.encode({
    complete = tonumber(slowest[2] or redis.call('GET', prefix .. ':closed') or 0),
    total = hash(none(), prefix .. ':total', itself),
    countries = hash(none(), prefix .. ':countries', after_country),
    days = days,
    ranks = ranks(prefix),
    of_days = over(':day:????????', itself),
    countries_of_days = over(':day:????????:countries', after_country),
    minutes_of_days = over(':min:*', by_kind(2)),
    hours = over(':h:*', by_kind(1)),
    minutes = over(':m:*', by_kind(1)),
})
