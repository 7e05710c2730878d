#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- set_close(epoch, set, retention, count[, made]): no more members. count: cancels up to so
-- many of those that are live, 0: none; to be called again while some are. Those that
-- are not reached are cancelled when they are claimed or renewed. A replay says in which
-- epoch it was confirmed: when the set was lost since, it is made again, closed. Answers ok
-- and what set.lua's view lists.
local set, retention, count = ARGV[2], ARGV[3], tonumber(ARGV[4])
if not sets().close(set, count > 0, retention, ARGV[5] and ARGV[5] ~= ARGV[1]) then
    return 'gone'
end
if count > 0 then
    for _, id in ipairs(call('ZRANGE', 'set-live:' .. set, 0, count - 1)) do
        ties().cancel(id, retention)
    end
end
return sets().view(set, {'ok'}, retention)
