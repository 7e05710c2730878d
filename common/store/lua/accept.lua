#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- accept(epoch, id, msg_epoch): the broker has confirmed the message; counts the
-- job. A claim may have been faster. A record lost with an older epoch will be
-- made again by the claim of its message.
local id = ARGV[2]
local key = 'job:' .. id
local r = call('HMGET', key, 'state', 'kind', 'created', 'idem', 'ties')
if not r[1] then
    return ARGV[3] == ARGV[1] and 'gone' or 'ok'
end
if r[1] == 'unconfirmed' then
    call('HSET', key, 'state', 'pending')
    count_in(id, r[2], r[3], r[4], r[5])
    place(id, r[2], r[3], r[5])
end
return 'ok'
