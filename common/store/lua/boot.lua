#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- boot(run_id): the epoch of this data set as served by this process. Every
-- client runs it before anything else on a connection. A new process may have
-- lost the last seconds, empty memory has lost everything: both are a new epoch.
-- It stands alone: lib.lua checks what is made here.
local old = redis.call('GET', 'epoch')
if old and redis.call('GET', 'run_id') == ARGV[1] then
    return old
end
local t = redis.call('TIME')
local epoch = string.format('%.0f', math.max((tonumber(old) or 0) + 1, t[1] * 1000000 + t[2]))
redis.call('MSET', 'epoch', epoch, 'run_id', ARGV[1])
return epoch
