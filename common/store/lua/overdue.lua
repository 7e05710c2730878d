#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- overdue(epoch, name, retention): the leader puts retrying jobs that are more
-- than 60 s late, whose rung message was thus lost, into the outbox: again each
-- 60 s while they stay so. It also forgets what expired
-- without being pulled or retried, and what is listed no longer. Answers ok, or ok and 1: it is
-- worth to go on at once.
if not call('SET', 'leader', ARGV[2], 'NX', 'PX', 3000) then
    if call('GET', 'leader') ~= ARGV[2] then
        return 'ok'
    end
    call('PEXPIRE', 'leader', 3000)
end
local now = clock()
rare().kept_trim(now, 1000)
for _, field in ipairs(call('HKEYS', 'count')) do
    local kind = string.match(field, '^accepted:(.*)$')
    if kind then
        local index = 'ix:' .. kind
        for _, id in ipairs(call('ZRANGEBYSCORE', index, WAITING, WAITING + now - 60000, 'LIMIT', 0, 100)) do
            if call('EXISTS', 'ob:' .. id) == 0 and call('COPY', 'in:' .. id, 'ob:' .. id) == 1 then
                rare().outbox_add(id, now)
            end
            call('ZADD', index, WAITING + now, id)
        end
        call('ZREMRANGEBYSCORE', 'done:' .. kind, '-inf', now - ARGV[3])
    end
end
return rare().jobs_trim(now, ARGV[3], 1000) and {'ok', 1} or 'ok'
