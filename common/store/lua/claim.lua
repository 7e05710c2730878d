#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- claim(epoch, id, copy, owner, msg_epoch, dice, lease_ms, second, born[, packed]):
-- a worker holds this copy of the message; may it run the job? Counts the job if
-- the gateway has not done so yet. `born` also has losses_max, retention and kept_max
-- (bytes of the inputs kept for failed jobs).
-- `pack`: ask again with the packed message, it has to be kept. `terminal` as an
-- array (fence, attempt, errors, started, code, detail): this very claim ended the
-- job; after a Redis loss it is said again as `fail` by this fence. With the code
-- cancelled it was a member that nobody waits for (of a parent, or of a set that was
-- cancelled): said again as `cancel`.
-- A group's parent that has its members is run again at each visit, with a new
-- fence: no attempt is spent, nor a loss where the last visit gave it back.
-- `run` and `mine` as arrays (fence, attempt, errors, started, lost[, 1]): lost: so many owners, by now, when the
-- last one was found lost by this claim, else 0; 1: it is such a visit.
-- dice: 0 to 15, low bits of the fence; Redis starts its own dice anew in each script.
local id, copy, owner = ARGV[2], ARGV[3], ARGV[4]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'fence', 'attempt', 'errors', 'deadline', 'input', 'ties')
local state, kind, old, attempt, errors, deadline = r[1], r[2], tonumber(r[3]) or 0, r[4], r[5], r[6]
local is_tied = r[8]
if is_end(state) then
    return 'terminal'
end
local now, us = clock()
if not state then
    if ARGV[5] == ARGV[1] then
        return 'gone'
    end
    local b = cjson.decode(ARGV[9])
    is_tied = rare().recreate(id, b, 'pending', b.created)
    state, kind, attempt, deadline = 'pending', b.kind, b.attempt, b.deadline > 0 and b.deadline
end

local parent, is_split
if is_tied then
    local group = call('HMGET', key, 'parent', 'total')
    parent, is_split = group[1], group[2] and state == 'in-progress'
    if ties().is_over(id) then
        ties().cancel(id, cjson.decode(ARGV[9]).retention)
        return {'terminal', old, tonumber(attempt) or 0, tonumber(errors) or 0, 0, 'cancelled', 'nobody waits for it'}
    end
end

local fence = math.max(old + 1, us - us % 16 + ARGV[6])
local function fail(losses, code, detail, input)
    local b = cjson.decode(ARGV[9])
    local more = call('HMGET', key, 'idem', 'watch', 'started')
    if input == 1 and not parent then
        input = rare().input_keep(id, ARGV[10], now, b.retention, b.kept_max)
    else
        input = 0
        rare().input_drop(id)
    end
    call('HSET', key, 'state', 'failed', 'fence', fence, 'finished', now, 'losses', losses, 'code', code,
         'detail', detail, 'input', input)
    close(id, kind, state, 'failed', b.retention, more[1], more[2], is_tied)
    if parent then
        ties().member_failed(id, code, detail, b.retention, b.kept_max)
    end
    return {'terminal', fence, tonumber(attempt) or 0, tonumber(errors) or 0, tonumber(more[3]) or 0, code, detail}
end
local lost = 0
local held = state == 'in-progress' and call('HMGET', key, 'copy', 'owner', 'lease', 'away', 'losses', 'started')
if held and held[2] then -- without an owner it is a parent between two visits
    local is_same = copy == held[1]
    if is_same and owner == held[2] then
        return {'mine', old, tonumber(attempt) or 0, tonumber(errors) or 0, tonumber(held[6]) or 0, 0, is_split and 1 or nil}
    end
    local left = held[3] - now
    if left > 0 then
        -- A foreign producer's message has no copy id: a duplicate and a redelivery look alike.
        if not is_same or copy == '' or held[4] == '1' then
            return {'held', left}
        end
        if ARGV[8] ~= '1' then
            return 'ask'
        end
    end
    local losses = (tonumber(held[5]) or 0) + 1
    local is_last = losses > cjson.decode(ARGV[9]).losses_max
    if is_last and not ARGV[10] and not parent then
        return 'pack'
    end
    call('HINCRBY', 'hist', 'losses:' .. kind .. '|count', 1)
    if is_last then
        return fail(losses, 'lost', 'its worker was lost ' .. losses .. ' times', 1)
    end
    call('HSET', key, 'losses', losses)
    lost = losses
elseif not held then
    if deadline and now >= tonumber(deadline) then
        return fail(tonumber(call('HGET', key, 'losses')) or 0, 'expired', 'the deadline passed before the job ran', 0)
    end
    if state == 'retrying' then
        local left = call('HGET', key, 'next') - now
        if left > 0 then
            return {'later', left}
        end
    end
end

if is_split then
    call('HSET', key, 'fence', fence, 'copy', copy, 'owner', owner, 'lease', now + ARGV[7], 'away', 0)
    return {'run', fence, tonumber(attempt) or 0, tonumber(errors) or 0, tonumber(held[6]) or 0, lost, 1}
end
attempt = (tonumber(attempt) or 0) + 1
call('HSET', key, 'state', 'in-progress', 'fence', fence, 'copy', copy, 'owner', owner, 'lease', now + ARGV[7],
     'started', now, 'attempt', attempt)
if attempt > 1 then
    call('HSET', key, 'away', 0, 'progress', 0, 'input', 0)
end
if r[7] == '1' then
    rare().input_drop(id)
end
if state == 'unconfirmed' then
    local more = call('HMGET', key, 'created', 'idem')
    count_in(id, kind, more[1], more[2], is_tied)
end
place(id, kind, RUNNING + now, is_tied)
return {'run', fence, attempt, tonumber(errors) or 0, now, lost}
