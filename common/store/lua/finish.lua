#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- finish(epoch, id, fence, claimed, born, retention, type, with_pull, result[, answer]):
-- completed. A replay names the answer that it got: its result was accepted
-- already, so whoever was given the job since then has to stop.
local id, retention, result = ARGV[2], ARGV[6], ARGV[9]
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5], ARGV[10])
if not r then
    return no
end
local state, kind = r[1], r[3]
if state ~= 'in-progress' then
    return state == 'completed' and 'ok' or 'stale'
end
local now = clock()
if #result <= 64 then
    call('HSET', 'job:' .. id, 'state', 'completed', 'finished', now, 'type', ARGV[7], 'bytes', #result,
         'out', result)
else
    call('HSET', 'job:' .. id, 'state', 'completed', 'finished', now, 'type', ARGV[7], 'bytes', #result)
    call('SET', 'out:' .. id, result, 'PX', retention)
end
close(id, kind, state, 'completed', retention, r[4], r[5])
if ARGV[8] == '1' and not r[6] then
    call('ZADD', 'done:' .. kind, now, id)
end
return 'ok'
