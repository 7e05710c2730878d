#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- finish(epoch, id, fence, claimed, born, retention, type, with_pull, result[, verified,
-- blob, bytes[, answer]]): completed. verified: JSON. blob: the name of the blob that is
-- the result, of so many bytes; empty: it is in `result`. A replay names the answer that
-- it got: its result was accepted already, so whoever was given the job since then has
-- to stop.
local id, retention, result = ARGV[2], ARGV[6], ARGV[9]
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5], ARGV[13])
if not r then
    return no
end
local state, kind = r[1], r[3]
if state ~= 'in-progress' then
    return state == 'completed' and 'ok' or 'stale'
end
local now = clock()
local verified, blob = ARGV[10] or '', ARGV[11] or ''
local bytes, where, what = #result, 'out', result
if blob ~= '' then
    bytes, where, what = ARGV[12], 'blob', blob
elseif bytes > 64 then
    call('SET', 'out:' .. id, result, 'PX', retention)
    where, what = 'kind', kind -- nothing more
end
if verified == '' then
    call('HSET', 'job:' .. id, 'state', 'completed', 'finished', now, 'type', ARGV[7], 'bytes', bytes, where, what)
else
    call('HSET', 'job:' .. id, 'state', 'completed', 'finished', now, 'type', ARGV[7], 'bytes', bytes, where, what,
         'verified', verified)
end
close(id, kind, state, 'completed', retention, r[4], r[5], r[7])
if ARGV[8] == '1' and not r[6] then
    call('ZADD', 'done:' .. kind, now, id)
end
if r[7] then
    ties().completed(id, ARGV[3], verified, retention)
end
return 'ok'
