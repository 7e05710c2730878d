#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- outbox_take(epoch, count): ok, reserved until, then id and packed message of up
-- to count entries, reserved for 10 s. Those of ended jobs are dropped.
local now = clock()
local answer = {'ok', now + 10000}
for _, id in ipairs(call('ZRANGEBYSCORE', 'outbox', '-inf', now, 'LIMIT', 0, ARGV[2])) do
    local state = call('HGET', 'job:' .. id, 'state')
    local packed = call('GET', 'ob:' .. id)
    if not packed or not state or is_end(state) then
        rare().outbox_drop(id)
    else
        call('ZADD', 'outbox', now + 10000, id)
        answer[#answer + 1] = id
        answer[#answer + 1] = packed
    end
end
return answer
