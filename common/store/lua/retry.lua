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
rare().run_again(id, kind, r[3], r[5], call('GET', 'in:' .. id), now, now)
return {'ok', call('HGETALL', key)}
