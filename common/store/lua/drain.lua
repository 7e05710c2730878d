#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- drain(epoch, id, fence, claimed, born): handed back, the attempt not spent. The
-- fence stays, so that what this owner still says is known for its own. Not
-- replayed after a Redis loss: the requeued message then finds its old claim and
-- takes it over.
local id = ARGV[2]
local key = 'job:' .. id
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5])
if not r then
    return no
end
if r[1] ~= 'in-progress' then
    return r[1] == 'pending' and 'ok' or 'stale'
end
if r[7] and call('HEXISTS', key, 'total') == 1 then
    call('HDEL', key, 'owner', 'lease') -- a visit that was not made; the group goes on
    return 'ok'
end
local now = clock()
local attempt = tonumber(call('HGET', key, 'attempt')) or 0
call('HSET', key, 'state', 'pending', 'attempt', math.max(0, attempt - 1), 'queued', now, 'progress', 0, 'away', 0)
call('HDEL', key, 'owner', 'lease', 'started')
place(id, r[3], now, r[7])
return 'ok'
