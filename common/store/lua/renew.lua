#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- renew(epoch, id, fence, claimed, born, lease_ms, progress, away): the owner is alive.
local id = ARGV[2]
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5])
if not r then
    return no
end
if r[1] ~= 'in-progress' then
    return 'stale'
end
call('HSET', 'job:' .. id, 'lease', clock() + ARGV[6], 'progress', ARGV[7], 'away', ARGV[8])
return 'ok'
