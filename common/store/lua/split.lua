#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- split(epoch, id, fence, claimed, born, retention, kept_max, total, layout, bytes, type,
-- packed, form[, number, fence, ..]): the job is done by so many members; a visit
-- to their parent. packed: its own message, for a retry. form: the members' packed
-- message with an empty id and without created and member; the text @MEMBER@ in its
-- params stands for the number. Behind it results that are there, by the blobs: they
-- count when this split makes the group; later on only finishes do, as anybody could
-- put a blob of such a name, and its writer may yet remove it.
-- The first split of a group decides its shape; one that has another layout leaves
-- the message for a retry alone. Answers retrying, when the message should be here
-- again (ms) and, for another layout, `other`: the message must not say the caller's
-- cut. Or ok when the parent has ended.
-- A member that has been pending for so long that its message may have been lost with
-- its queue is made again: two messages of it do no harm.
local LOST_MS = 600000
local id, retention, kept_max, total = ARGV[2], ARGV[6], ARGV[7], tonumber(ARGV[8])
local key, group = 'job:' .. id, 'group:' .. id
local r, no = hold(id, ARGV[3], ARGV[4], ARGV[5])
if not r then
    return no
end
if r[1] == 'completed' or r[1] == 'failed' then
    return 'ok'
end
if r[1] ~= 'in-progress' then
    return 'stale'
end
local t = ties()
local slots = 0
for _, name in ipairs(call('ZRANGE', 'workers', 0, -1)) do
    local is_json, worker = pcall(cjson.decode, call('GET', 'worker:' .. name) or '')
    slots = slots + (is_json and type(worker) == 'table' and tonumber(worker.slots) or 0)
end
if call('HEXISTS', group, 'total') == 0 then
    local at, to = string.find(ARGV[13], '@MEMBER@', string.find(ARGV[13], ',"params":"', 1, true), true)
    call('HSET', group, 'total', total, 'round', 0, 'next', 0, 'type', ARGV[11], 'bytes', ARGV[10], 'front',
         string.sub(ARGV[13], 9, at - 1), 'back', string.sub(ARGV[13], to + 1))
    call('HSET', key, 'ties', 1, 'total', total, 'layout', ARGV[9])
    call('PERSIST', group)
    call('PERSIST', 'sealed:' .. id)
    for _, number in ipairs(call('HKEYS', 'sealed:' .. id)) do
        if not t.has_number(total, number) then
            call('HDEL', 'sealed:' .. id, number)
        end
    end
    for i = 14, #ARGV, 2 do
        if t.has_number(total, ARGV[i]) then
            t.seal(id, ARGV[i], ARGV[i + 1])
        end
    end
end
local is_same = call('HGET', key, 'layout') == ARGV[9]
if is_same then
    call('SET', 'in:' .. id, ARGV[12])
end
call('HSET', group, 'window', math.max(4, 2 * slots))
call('HSET', key, 'input', call('EXISTS', 'in:' .. id), 'errors', 0, 'losses', 0, 'away', 0)
call('HDEL', key, 'owner', 'lease')
t.release(id)
local round, is_new = call('HGET', group, 'round'), false
for _, number in ipairs(call('SMEMBERS', 'open:' .. id)) do
    local m = call('HMGET', 'job:' .. t.id_of(id, round, number), 'state', 'fence', 'code', 'detail', 'created', 'verified')
    local is_lost = m[1] == 'pending' and clock() > (tonumber(m[5]) or 0) + LOST_MS and
        call('EXISTS', 'ob:' .. t.id_of(id, round, number)) == 0
    if not m[1] or m[1] == 'cancelled' or is_lost then
        t.make(id, number)
        is_new = true
    elseif m[1] == 'completed' then
        if t.seal(id, number, m[2]) == 1 and m[6] then
            t.verify(id, m[6])
        end
    elseif m[1] == 'failed' then
        t.fail(id, number, m[3], m[4], retention, kept_max)
        return 'ok'
    end
end
if is_new then
    call('PUBLISH', 'millrace:outbox', '')
end
if t.progress(id, retention) then
    return 'ok'
end
return {'retrying', call('SCARD', 'open:' .. id) > 0 and 32000 or 1000, not is_same and 'other' or nil}
