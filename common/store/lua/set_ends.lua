#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- set_ends(epoch, set, retention, after, limit, watch): ok, the state of the set, the position
-- of the last end given (else `after`), then id and record (nil: expired) of up to so
-- many members that ended behind that position, in order. watch: where there is none yet,
-- publish on millrace:group when there is, or when the set has ended.
local key = 'set:' .. ARGV[2]
if call('HEXISTS', key, 'created') == 0 then
    return 'gone'
end
sets().touch(ARGV[2], ARGV[3])
local state, position = sets().state(ARGV[2]), ARGV[4]
local answer = {'ok', state, position}
for _, entry in ipairs(call('XRANGE', 'set-ends:' .. ARGV[2], '(' .. position .. '-0', '+', 'COUNT', ARGV[5])) do
    local id = entry[2][2]
    local record = call('HGETALL', 'job:' .. id)
    answer[#answer + 1] = id
    answer[#answer + 1] = #record > 2 and record -- a mark is one field
    answer[3] = string.match(entry[1], '^%d+')
end
if #answer == 3 and state ~= 'ended' and ARGV[6] == '1' then
    call('HSET', key, 'watch', 1)
end
return answer
