#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- get(epoch, id, watch, want_result): ok, the record, and the result if wanted.
local key = 'job:' .. ARGV[2]
local state = call('HGET', key, 'state')
if not state or state == 'unconfirmed' then
    return 'gone'
end
if state ~= 'completed' and state ~= 'failed' and state ~= 'cancelled' then
    if ARGV[3] == '1' then
        call('HSET', key, 'watch', 1)
    end
elseif state == 'completed' and ARGV[4] == '1' then
    return {'ok', call('HGETALL', key), call('HGET', key, 'out') or call('GET', 'out:' .. ARGV[2])}
end
return {'ok', call('HGETALL', key)}
