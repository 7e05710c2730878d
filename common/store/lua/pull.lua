#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- pull(epoch, kind, top, idem): ok, then id and result of up to top jobs, newest
-- first, which leave the done index. Under a key the same batch is repeated.
local kind, idem = ARGV[2], ARGV[4]
if idem ~= '' then
    local batch = call('GET', 'batch:' .. kind .. ':' .. idem)
    if batch then
        return cmsgpack.unpack(batch)
    end
end
local answer, left = {'ok'}, math.min(tonumber(ARGV[3]), 1000)
while left > 0 do
    local ids = call('ZREVRANGE', 'done:' .. kind, 0, left - 1)
    if #ids == 0 then
        break
    end
    for _, id in ipairs(ids) do
        local value = call('HGET', 'job:' .. id, 'out') or call('GET', 'out:' .. id)
        if value then
            answer[#answer + 1] = id
            answer[#answer + 1] = value
            left = left - 1
        end
    end
    call('ZREMRANGEBYRANK', 'done:' .. kind, -#ids, -1)
end
if idem ~= '' then
    call('SET', 'batch:' .. kind .. ':' .. idem, cmsgpack.pack(answer), 'PX', 600000)
end
return answer
