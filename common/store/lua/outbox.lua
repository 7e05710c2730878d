#!lua
-- SPDX-License-Identifier: Apache-2.0
-- outbox(epoch, id, msg_epoch, born, bound, packed): accepts without a confirm
-- and keeps the message for the relay. A record that is counted already was
-- counted by this very script or by a claim or confirm of its message: there is
-- nothing to keep. Refuses when memory is full.
local id, packed = ARGV[2], ARGV[6]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'created', 'idem', 'ties')
local state = r[1]
if not state and ARGV[3] == ARGV[1] then
    return 'gone'
end
if state and state ~= 'unconfirmed' then
    return 'ok'
end
if (tonumber(call('GET', 'outbox:bytes')) or 0) + #packed > tonumber(ARGV[5]) then
    return 'full'
end
if not state then
    local b = cjson.decode(ARGV[4])
    rare().recreate(id, b, 'pending', b.created)
else
    call('HSET', key, 'state', 'pending')
    count_in(id, r[2], r[3], r[4], r[5])
    place(id, r[2], r[3], r[5])
end
call('SET', 'ob:' .. id, packed)
rare().outbox_add(id, (clock()))
return 'ok'
