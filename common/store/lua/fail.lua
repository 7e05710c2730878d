#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- fail(epoch, id, fence, claimed, born, retention, class, code, detail, wait_ms,
-- losses_max, kept_max, packed[, answer]): the attempt failed. class: permanent,
-- transient, loss. kept_max: bytes of the inputs kept for failed jobs; while
-- retrying the input is kept beyond it, the job needs it. A replay names the
-- answer that it got: a job that has failed for good has
-- no message any more, so that counters that were lost must not let it run again.
local id, retention, class = ARGV[2], ARGV[6], ARGV[7]
local key = 'job:' .. id
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5])
if not r then
    return no
end
local state, kind = r[1], r[3]
if state == 'failed' or state == 'retrying' then
    return state
end
if state ~= 'in-progress' then
    return 'stale'
end
local spent = call('HMGET', key, 'errors', 'losses', 'max')
local errors, losses = tonumber(spent[1]) or 0, tonumber(spent[2]) or 0
local code, is_over = ARGV[8], class == 'permanent' or ARGV[14] == 'failed'
if class == 'transient' then
    errors = errors + 1
    is_over = is_over or errors >= tonumber(spent[3])
elseif class == 'loss' then
    losses = losses + 1
    call('HINCRBY', 'hist', 'losses:' .. kind .. '|count', 1)
    is_over = is_over or losses > tonumber(ARGV[11])
    code = is_over and 'lost' or code
end
local now = clock()
call('HSET', key, 'state', is_over and 'failed' or 'retrying', 'errors', errors, 'losses', losses,
     'code', code, 'detail', ARGV[9])
if is_over then
    if r[7] and call('HEXISTS', key, 'parent') == 1 then
        rare().input_drop(id) -- what one can retry is the parent
        call('HSET', key, 'finished', now, 'input', 0)
    else
        call('HSET', key, 'finished', now, 'input', rare().input_keep(id, ARGV[13], now, retention, ARGV[12]))
    end
    close(id, kind, state, 'failed', retention, r[4], r[5], r[7])
    if r[7] then
        ties().member_failed(id, code, ARGV[9], retention, ARGV[12])
    end
    return 'failed'
end
call('SET', 'in:' .. id, ARGV[13])
call('HSET', key, 'next', now + ARGV[10], 'input', 1)
place(id, kind, WAITING + now + ARGV[10], r[7])
call('HINCRBY', 'hist', 'retries:' .. kind .. '|count', 1)
return 'retrying'
