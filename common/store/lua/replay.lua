#!lua
-- SPDX-License-Identifier: Apache-2.0
-- replay(epoch, id, packed[, fence]): a message out of the dead queue is to be published
-- again; may its job run? `exists`: it has not ended, a claim will sort it out. `gone`: there
-- is no record; publish it as a foreign one. A failed job is pending again, as by `retry`, with
-- this message in the outbox, reserved: ok, until, fence. Who has published it says
-- `outbox_done`; had he died, the relay would. A replay names the fence of the failure it had
-- answered. Refused where the job has completed or was cancelled, and for a group's member: its
-- parent is what can be retried. Refuses when memory is full.
local id, now = ARGV[2], (clock())
local r = call('HMGET', 'job:' .. id, 'state', 'kind', 'idem', 'fence', 'ties')
local state = r[1]
if not state then
    return 'gone'
end
if not is_end(state) then
    return 'exists'
end
if state ~= 'failed' or ARGV[4] and ARGV[4] ~= (r[4] or '0') or
    r[5] and call('HEXISTS', 'job:' .. id, 'parent') == 1 then
    return {'refused', call('HGETALL', 'job:' .. id)}
end
rare().run_again(id, r[2], r[3], r[5], ARGV[3], now, now + 10000)
return {'ok', now + 10000, tonumber(r[4]) or 0}
