#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- pulled(epoch, kind, retention, id...): the replay of a pull. The mark also
-- stops a finish that is replayed later than this.
for i = 4, #ARGV do
    local key = 'job:' .. ARGV[i]
    call('HSET', key, 'pulled', 1)
    if not call('HGET', key, 'state') then
        call('PEXPIRE', key, ARGV[3])
    end
    call('ZREM', 'done:' .. ARGV[2], ARGV[i])
end
return 'ok'
