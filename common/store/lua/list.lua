#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- list(epoch, limit, chunk, state, kind, group, score, id): jobs, the newest first, behind the one
-- with this score in the index `jobs` and this id (0 and empty: from the newest). state, kind and
-- group may be empty: any. Looks at no more than chunk jobs: it may find fewer than there are.
-- Answers ok, whether there may be more (1 or 0), score and id of the last job that was
-- looked at, then id and record of each that was found.
local FEW = 2000
local limit, chunk = tonumber(ARGV[2]), tonumber(ARGV[3])
local state, kind, group, score, last = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8]
local answer = {'ok', 0, score, last}
local ranges = {
    pending = {'-inf', '(' .. RUNNING},
    ['in-progress'] = {RUNNING, '(' .. WAITING},
    retrying = {WAITING, '+inf'},
}

-- Adds what is there to find. Returns whether there is room for more.
local function look(id, at)
    local r = call('HMGET', 'job:' .. id, 'state', 'kind', 'group')
    answer[3], answer[4] = at, id
    if r[1] and r[1] ~= 'unconfirmed' and (state == '' or r[1] == state) and (kind == '' or r[2] == kind) and
        (group == '' or r[3] == group) then
        answer[#answer + 1] = id
        answer[#answer + 1] = call('HGETALL', 'job:' .. id)
    end
    return #answer < 4 + 2 * limit
end

-- The jobs of this state by their index, if they are few; else nil.
local function few_of_state()
    local ids, range = {}, ranges[state]
    for _, field in ipairs(call('HKEYS', 'count')) do
        local name = string.match(field, '^accepted:(.*)$')
        if name and (kind == '' or name == kind) then
            for _, id in ipairs(call('ZRANGEBYSCORE', 'ix:' .. name, range[1], range[2], 'LIMIT', 0, FEW)) do
                ids[#ids + 1] = id
            end
            if #ids >= FEW then
                return nil
            end
        end
    end
    return ids
end

-- The members of this group, if they are few; else nil.
local function few_of_group()
    if call('ZCARD', 'set-live:' .. group) + call('XLEN', 'set-ends:' .. group) >= FEW then
        return nil
    end
    local ids, is_there = call('ZRANGE', 'set-live:' .. group, 0, -1), {}
    for _, id in ipairs(ids) do
        is_there[id] = true
    end
    for _, entry in ipairs(call('XRANGE', 'set-ends:' .. group, '-', '+')) do
        local id = entry[2][2]
        if not is_there[id] then
            is_there[id] = true
            ids[#ids + 1] = id
        end
    end
    return ids
end

-- Sorts these, and looks at those behind the cursor.
local function look_at(ids)
    local sorted, scores = {}, #ids > 0 and call('ZMSCORE', 'jobs', unpack(ids)) or {}
    for i, id in ipairs(ids) do
        local at = tonumber(scores[i])
        if at and (last == '' or at < tonumber(score) or at == tonumber(score) and id < last) then
            sorted[#sorted + 1] = {at, id}
        end
    end
    table.sort(sorted, function(a, b)
        return a[1] > b[1] or a[1] == b[1] and a[2] > b[2]
    end)
    for i, entry in ipairs(sorted) do
        if not look(entry[2], string.format('%.0f', entry[1])) then
            answer[2] = i < #sorted and 1 or 0
            return
        end
    end
end

-- Rank of the first one behind the cursor, whose job may be gone by now.
local function first_rank()
    if last == '' then
        return 0
    end
    if call('ZSCORE', 'jobs', last) == score then
        return call('ZREVRANK', 'jobs', last) + 1
    end
    local mark = last .. '-' -- stands right in front of it
    call('ZADD', 'jobs', score, mark)
    local rank = call('ZREVRANK', 'jobs', mark)
    call('ZREM', 'jobs', mark)
    return rank
end

local ids = ranges[state] and few_of_state() or group ~= '' and few_of_group()
if ids then
    look_at(ids)
    return answer
end
local rank = first_rank()
local entries = call('ZREVRANGE', 'jobs', rank, rank + chunk - 1, 'WITHSCORES')
for i = 1, #entries, 2 do
    if not look(entries[i], entries[i + 1]) then
        break
    end
end
if #entries > 0 and (answer[4] ~= entries[#entries - 1] or #entries == 2 * chunk) then
    answer[2] = 1
end
return answer
