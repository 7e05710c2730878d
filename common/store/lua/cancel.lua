#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- cancel(epoch, id, retention[, seen, kind]): ends a job that has not ended; not a
-- member alone, its group would never end. A replay says in which epoch it was
-- confirmed: when the record was lost since, a cancelled one takes its place, so
-- that its message does not run.
local id = ARGV[2]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'idem', 'watch', 'input', 'ties')
local state, kind = r[1], r[2]
local now = clock()
if not state and ARGV[4] and ARGV[4] ~= ARGV[1] then
    state, kind = 'unconfirmed', ARGV[5]
    call('HSET', key, 'kind', kind, 'created', now, 'max', 1)
elseif not state or state == 'unconfirmed' then
    return 'gone'
end
if is_end(state) or r[6] and not ARGV[4] and call('HEXISTS', key, 'parent') == 1 and not ties().is_over(id) then
    return {'refused', call('HGETALL', key)}
end
call('HSET', key, 'state', 'cancelled', 'finished', now, 'input', 0)
if r[5] == '1' then
    rare().input_drop(id)
end
close(id, kind, state, 'cancelled', ARGV[3], r[3], r[4], r[6])
return {'ok', call('HGETALL', key)}
