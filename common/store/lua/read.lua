#!lua flags=no-writes
-- SPDX-License-Identifier: Apache-2.0
-- read(epoch, id, want_result): what get answers where nothing is watched. It writes nothing, so that a replica runs it.
local key = 'job:' .. ARGV[2]
local r = call('HMGET', key, 'state', 'ties')
if not r[1] or r[1] == 'unconfirmed' then
    return 'gone'
end
if r[1] == 'completed' and ARGV[3] == '1' then
    return {'ok', call('HGETALL', key), r[2] and ties().fences(ARGV[2]) or call('HGET', key, 'out') or
        call('GET', 'out:' .. ARGV[2])}
end
return {'ok', call('HGETALL', key)}
