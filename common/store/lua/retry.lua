#!lua
-- SPDX-License-Identifier: Apache-2.0
-- retry(epoch, id[, fence]): a failed job again, through the outbox, with nothing
-- of the failed attempt but its number and its fence. A replay names the fence of
-- the failure it had answered. Of a group the parent is what can be retried: a new
-- round for the members without a result. Refuses when memory is full.
local id = ARGV[2]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'idem', 'fence', 'ties')
local kind = r[2]
if not r[1] or r[1] == 'unconfirmed' then
    return 'gone'
end
if r[1] ~= 'failed' or ARGV[3] and ARGV[3] ~= r[4] or r[5] and call('HEXISTS', key, 'parent') == 1 then
    return {'refused', call('HGETALL', key)}
end
if call('EXISTS', 'in:' .. id) == 0 then
    return 'no-input'
end
local now = clock()
rare().outbox_drop(id)
call('COPY', 'in:' .. id, 'ob:' .. id)
call('PERSIST', 'ob:' .. id)
rare().input_drop(id)
rare().outbox_add(id, now)
call('HSET', key, 'state', 'pending', 'errors', 0, 'losses', 0, 'queued', now, 'input', 0)
call('HDEL', key, 'finished', 'owner', 'lease', 'started', 'away', 'progress', 'code', 'detail', 'next')
call('PERSIST', key)
if r[3] and call('GET', 'idem:' .. r[3]) == id then
    call('PERSIST', 'idem:' .. r[3])
end
call('HINCRBY', 'count', 'failed:' .. kind, -1)
place(id, kind, now, r[5])
if r[5] then
    ties().next_round(id)
end
return {'ok', call('HGETALL', key)}
