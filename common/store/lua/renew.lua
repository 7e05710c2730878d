#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- renew(epoch, id, fence, claimed, born, lease_ms, progress, away, retention): the owner
-- is alive. A member that nobody waits for is cancelled. The progress of a group is that
-- of its members.
local id = ARGV[2]
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5])
if not r then
    return no
end
if r[1] ~= 'in-progress' then
    return 'stale'
end
if r[7] and ties().is_over(id) then
    ties().cancel(id, ARGV[9])
    return 'cancelled'
end
call('HSET', 'job:' .. id, 'lease', clock() + ARGV[6], 'away', ARGV[8])
if not r[7] or call('HEXISTS', 'job:' .. id, 'total') == 0 then
    call('HSET', 'job:' .. id, 'progress', ARGV[7])
end
return 'ok'
