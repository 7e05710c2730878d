#!lua
-- SPDX-License-Identifier: Apache-2.0
-- create(epoch, id, kind, created, deadline, max[, idem, digest[, refs[, group]]]): the
-- unconfirmed record, uncounted and short-lived. Refuses when memory is full, or where the
-- group is closed or there is none: `closed`, `no-group`. A repeated
-- request that finds it unconfirmed creates it again by its id: its message may be out
-- beside the first one, so the blobs of both are tied. `exists` where it counts by then:
-- no other message of it is to be published.
local id, idem = ARGV[2], ARGV[7] ~= '' and ARGV[7]
local key = 'job:' .. id
if idem then
    local other = call('GET', 'idem:' .. idem)
    if other then
        local r = call('HMGET', 'job:' .. other, 'state', 'kind', 'digest')
        if r[1] and (other ~= id or r[1] ~= 'unconfirmed') then
            if r[3] ~= ARGV[8] then
                return 'mismatch'
            end
            return {'exists', other, r[2], r[1]}
        end
    end
end
local state = call('HGET', key, 'state')
if state and state ~= 'unconfirmed' then
    return 'ok'
end
local group = ARGV[10]
local no = group and not state and sets().refuses(group)
if no then
    return no
end
call('HSET', key, 'state', 'unconfirmed', 'kind', ARGV[3], 'created', ARGV[4], 'max', ARGV[6])
if ARGV[5] ~= '0' then
    call('HSET', key, 'deadline', ARGV[5])
end
call('PEXPIRE', key, 60000)
if idem then
    call('HSET', key, 'idem', idem, 'digest', ARGV[8])
    call('SET', 'idem:' .. idem, id, 'PX', 60000)
end
if ARGV[9] and ARGV[9] ~= '' then
    ties().tie_blobs(id, ARGV[9], clock() + 60000)
end
if group then
    sets().expect(group, id, (clock()))
end
return 'ok'
