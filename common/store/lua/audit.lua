#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- audit(epoch, what, kind, cursor, count, id...): looks at a bounded part of the books and
-- changes nothing. Answers ok and JSON: `found`, of each entry that is not as it should be
-- its id, state, why, mark (the same as long as nothing happens to it) and since (ms), final (all
-- that it says was compared here, at one moment), and more:
--   index   some count of ix:KIND from the cursor on: also the next cursor (0: the end), how many
--           of them are in the outbox, and how many have an owner. `bare`: no owner and not in
--           the outbox, and in-progress all the same: a message should be there for it
--   oldest  bare ones: the first count that are pending, and those that are retrying
--   check   the same for these ids, whatever of it they are
--   outbox, kept   some count of that set: also the bytes that its entries have, and what the sum says
local what, kind, cursor, count = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local LONG_MS = 60000 -- a lease that ended so long ago should have been taken over
local now = clock()
local found, seen_sets, outboxed, owned = {}, {}, 0, 0

local function find(id, state, mark, since, why, is_bare, is_final)
    found[#found + 1] = cjson.encode({id = id, state = state or '', mark = mark, since = since, why = why,
                                      bare = is_bare or nil, final = is_final or nil})
end

local function state_of_score(score)
    return score < RUNNING and 'pending' or score < WAITING and 'in-progress' or 'retrying'
end

-- The group of a live job has to list it, and its own counters to add up.
local function look_at_set(set, id, state, mark)
    if not call('ZSCORE', 'set-live:' .. set, id) then
        find(id, state, mark, 0, 'its group ' .. set .. ' does not list it')
    end
    if seen_sets[set] then
        return
    end
    seen_sets[set] = true
    local s = call('HMGET', 'set:' .. set, 'accepted', 'completed', 'failed', 'cancelled-jobs')
    local accepted, sum = tonumber(s[1]) or 0, call('ZCARD', 'set-live:' .. set)
    for i = 2, 4 do
        sum = sum + (tonumber(s[i]) or 0)
    end
    if accepted ~= sum then
        find(set, '', '', 0, 'this group has accepted ' .. accepted .. ' jobs, and its states have ' .. sum, nil, true)
    end
end

-- What is wrong with a job that its index has with this score. all: bare ones are found in any state.
local function look_at(id, score, all)
    local key = 'job:' .. id
    local r = call('HMGET', key, 'state', 'kind', 'lease', 'owner', 'fence', 'next', 'queued', 'group')
    local state = r[1]
    local mark = string.format('%.0f %s %s %s', score, state or '', r[3] or '', r[5] or '')
    if not state then
        return find(id, state, mark, 0, 'the index names it, and it has no record')
    end
    if state ~= state_of_score(score) or r[2] ~= kind then
        return find(id, state, mark, 0, 'the index has it as ' .. state_of_score(score) .. ' of the kind ' .. kind ..
            ', its record as ' .. state .. ' of ' .. (r[2] or 'none'))
    end
    if call('PTTL', key) >= 0 then
        return find(id, state, mark, 0, 'it has not ended, and its record expires')
    end
    if state == 'retrying' and call('EXISTS', 'in:' .. id) == 0 then
        return find(id, state, mark, 0, 'it is to run again, and its input is not kept')
    end
    if r[8] then
        look_at_set(r[8], id, state, mark)
    end
    if call('ZSCORE', 'outbox', id) then
        outboxed = outboxed + 1
    elseif state ~= 'in-progress' then
        if all then
            find(id, state, mark, score < RUNNING and score or score - WAITING, '', true)
        end
    elseif r[4] and (tonumber(r[3]) or 0) > now - LONG_MS then
        owned = owned + 1
    elseif r[4] then
        local lease = tonumber(r[3]) or 0
        find(id, state, mark, lease, 'its lease ended ' .. math.floor((now - lease) / 1000) .. ' s ago', true)
    else
        find(id, state, mark, score - RUNNING, 'it has no owner between two visits', true)
    end
end

local function answer(more)
    return {'ok', '{' .. more .. '"found":[' .. table.concat(found, ',') .. ']}'}
end

if what == 'index' then
    local part = call('ZSCAN', 'ix:' .. kind, cursor, 'COUNT', count)
    for i = 1, #part[2], 2 do
        look_at(part[2][i], tonumber(part[2][i + 1]))
    end
    return answer('"cursor":"' .. part[1] .. '","outbox":' .. outboxed .. ',"owned":' .. owned .. ',')
end
if what == 'oldest' then
    for _, range in ipairs({{'-inf', '(' .. RUNNING}, {WAITING, '+inf'}}) do
        local part = call('ZRANGEBYSCORE', 'ix:' .. kind, range[1], range[2], 'WITHSCORES', 'LIMIT', 0, count)
        for i = 1, #part, 2 do
            look_at(part[i], tonumber(part[i + 1]), true)
        end
    end
    return answer('')
end
if what == 'check' then
    for i = 6, #ARGV do
        local score = call('ZSCORE', 'ix:' .. kind, ARGV[i])
        if score then
            look_at(ARGV[i], tonumber(score), true)
        end
    end
    return answer('')
end

local bytes, part = 0, call('ZSCAN', what, cursor, 'COUNT', count)
for i = 1, #part[2], 2 do
    local entry, has = part[2][i], nil
    if what == 'outbox' then
        has = call('STRLEN', 'ob:' .. entry)
        if has == 0 then
            find(entry, call('HGET', 'job:' .. entry, 'state'), '', 0, 'the outbox names it, and has no message of it',
                 nil, true)
        end
    else
        local id, said = string.match(entry, '^(.*)|(%d+)$')
        has = tonumber(said) or 0
        if tonumber(part[2][i + 1]) > now + 1000 and call('STRLEN', 'in:' .. (id or '')) ~= has then
            find(id or entry, 'failed', '', 0, 'its input is said to be kept, and is not there as it was', nil, true)
        end
    end
    bytes = bytes + has
end
return answer('"cursor":"' .. part[1] .. '","bytes":' .. bytes .. ',"sum":' ..
    (call('GET', what .. ':bytes') or '0') .. ',')
