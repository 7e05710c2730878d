#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- cancel(epoch, id, retention[, seen, kind]): ends a job that has not ended. A
-- replay says in which epoch it was confirmed: when the record was lost since,
-- a cancelled one takes its place, so that its message does not run.
local id = ARGV[2]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'idem', 'watch', 'input')
local state, kind = r[1], r[2]
local now = clock()
if not state and ARGV[4] and ARGV[4] ~= ARGV[1] then
    state, kind = 'unconfirmed', ARGV[5]
    call('HSET', key, 'kind', kind, 'created', now, 'max', 1)
elseif not state or state == 'unconfirmed' then
    return 'gone'
end
if state == 'completed' or state == 'failed' or state == 'cancelled' then
    return {'refused', call('HGETALL', key)}
end
call('HSET', key, 'state', 'cancelled', 'finished', now, 'input', 0)
if r[5] == '1' then
    input_drop(id)
end
close(id, kind, state, 'cancelled', ARGV[3], r[3], r[4])
return {'ok', call('HGETALL', key)}
