#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- beat(epoch, name, json, samples): a worker is there; samples [[name,bucket,n],..].
-- Answers how many workers there are.
local now = clock()
call('SET', 'worker:' .. ARGV[2], ARGV[3], 'PX', 5000)
call('ZADD', 'workers', now, ARGV[2])
call('ZREMRANGEBYSCORE', 'workers', '-inf', now - 5000)
if ARGV[4] ~= '' then
    for _, s in ipairs(cjson.decode(ARGV[4])) do
        call('HINCRBYFLOAT', 'hist', s[1] .. '|' .. s[2], s[3])
    end
end
return {'ok', call('ZCARD', 'workers')}
