#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- set_get(epoch, set, retention, await): ok and what set.lua's view lists. await: publish on
-- millrace:group when it has ended.
local key = 'set:' .. ARGV[2]
if call('HEXISTS', key, 'created') == 0 then
    return 'gone'
end
local answer = sets().view(ARGV[2], {'ok'}, ARGV[3])
if ARGV[4] == '1' and answer[2] ~= 'ended' then
    call('HSET', key, 'await', 1)
end
return answer
