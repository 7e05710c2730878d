#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- get(epoch, id, watch, want_result): ok, the record, and the result if wanted: its bytes,
-- none when it is a blob, of a group the fences of the members' results in order.
local key = 'job:' .. ARGV[2]
local r = call('HMGET', key, 'state', 'ties')
local state = r[1]
if not state or state == 'unconfirmed' then
    return 'gone'
end
if not is_end(state) then
    if ARGV[3] == '1' then
        call('HSET', key, 'watch', 1)
    end
elseif state == 'completed' and ARGV[4] == '1' then
    return {'ok', call('HGETALL', key), r[2] and ties().fences(ARGV[2]) or call('HGET', key, 'out') or
        call('GET', 'out:' .. ARGV[2])}
end
return {'ok', call('HGETALL', key)}
