-- SPDX-License-Identifier: Apache-2.0
-- lib.lua: put in front of every script but boot, behind its shebang line; rare.lua,
-- group.lua and set.lua come behind it in those that move a job.
--
-- Keys. Times are ms since 1970 by Redis TIME, if not said otherwise.
--   epoch, run_id   of boot.lua; decimal text, microseconds; the process id text of Redis
--   job:ID          hash, the record. Present from create on:
--                   state     unconfirmed pending in-progress retrying completed failed cancelled
--                   kind, created (of the producer's clock), max (attempts it may spend on errors)
--                   deadline  it must have started by then; absent: none
--                   idem, digest   Idempotency-Key, SHA-256 of the request; absent without a key
--                   queued    became pending again (drain, retry); absent: when it was created
--                   fence, copy, owner, started, lease (held until), attempt   of the last claim
--                   away      1: the owner has lost its delivery and computes on
--                   progress  0 to 1
--                   errors, losses   so far; next: due again (retrying)
--                   code, detail     of the last error or loss
--                   finished, type, bytes   of the end and of the result
--                   out       the result, when it is small enough for the compact form of a hash
--                   blob      name of the blob that is the result; then there is no out, no out:ID
--                   verified  JSON of the check that the result stood
--                   ties      1: there is a blobs, parent, total or group: the job concerns group.lua or set.lua
--                   input     1: in:ID is kept
--                   watch     1: publish the end on millrace:ended
--                   pulled    1: was handed out before a Redis loss, not again
--                   A hash without state is no record, only such a mark.
--   in:ID           packed message (docs/protocol.md) while retrying, or while failed and within the bound
--   kept            zset of ID|BYTES of the failed jobs' in:, by the time it expires; kept:bytes their sum
--   out:ID          result bytes of a completed job, when they are more than 64
--   idem:KEY        id of the job made under this Idempotency-Key
--   ix:KIND         zset of the ids that are counted and have not ended: pending by queued,
--                   in-progress by RUNNING + started, retrying by WAITING + next (or + the time
--                   when `overdue` last put it into the outbox). One set, so that a move is one
--                   ZADD and each state a range of scores
--   jobs            zset of all ids that are or were counted, by created; those whose record has
--                   expired leave it at the next round of `overdue`, which has come to jobs:round
--   count           hash STATE:KIND -> jobs, for accepted completed failed cancelled; the other
--                   states are counted by their index
--   done:KIND       zset of completed ids by finished, to be handed out by pull
--   batch:KIND:KEY  one pull's answer, kept 10 min to be repeated
--   outbox          zset of ids by the time they may be published; ob:ID packed message;
--                   outbox:bytes their sum
--   workers         zset of names by last beat; worker:NAME JSON, 5 s
--   hist            hash NAME|BUCKET -> samples; NAME|count of a plain counter
--   leader          who does overdue, 3 s
--
-- TTL: 60 s while unconfirmed; none while counted and not ended; the retention
-- from the end on, for job:, out:, in: and idem: alike.
--
-- ARGV[1] is the caller's epoch. Answers: a word, or an array that starts with it.
-- `born` arguments are JSON: what a lost record is made of again.
local call = redis.call
local rare, ties, sets -- of those files; made when asked for, so that most calls do not pay for them
local RUNNING, WAITING = 1e13, 2e13
if call('GET', 'epoch') ~= ARGV[1] then
    return 'epoch'
end

local function clock()
    local t = call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end

local function is_end(state)
    return state == 'completed' or state == 'failed' or state == 'cancelled'
end

-- An unconfirmed record counts from now on, and lives until its job has ended.
local function count_in(id, kind, created, idem, is_tied)
    call('PERSIST', 'job:' .. id)
    call('ZADD', 'jobs', created, id)
    call('HINCRBY', 'count', 'accepted:' .. kind, 1)
    if idem then
        call('PERSIST', 'idem:' .. idem)
    end
    if is_tied then
        ties().need_blobs(id, '+inf')
        sets().count_in(id)
    end
end

-- Gives a live job its place in ix: and in what it is tied to.
local function place(id, kind, score, is_tied)
    call('ZADD', 'ix:' .. kind, score, id)
    if is_tied then
        sets().place(id, score)
    end
end

-- The marks of an end; the caller has written state, finished and input. retention: ms.
local function close(id, kind, from, state, retention, idem, watch, is_tied)
    if from == 'unconfirmed' then
        call('HINCRBY', 'count', 'accepted:' .. kind, 1)
        call('ZADD', 'jobs', call('HGET', 'job:' .. id, 'created'), id)
    else
        call('ZREM', 'ix:' .. kind, id)
    end
    call('HINCRBY', 'count', state .. ':' .. kind, 1)
    call('PEXPIRE', 'job:' .. id, retention)
    if idem and call('GET', 'idem:' .. idem) == id then
        call('PEXPIRE', 'idem:' .. idem, retention)
    end
    if watch then
        -- Ties may go on changing the record.
        call('PUBLISH', 'millrace:ended', is_tied and id or rare().notice(id, state))
    end
    if is_tied then
        ties().close(id, from, state, retention)
    end
end

-- Whether the claim with this fence, made in the epoch `claimed`, still holds
-- the record. Returns state, fence, kind, idem, watch, pulled and ties as a list, or nil and
-- the answer. After a Redis loss the claim itself may be what was lost: then the
-- record is missing or older than the claim (its fence is lower), and is brought
-- to where the claim had left it. wins: also when a newer claim holds the record,
-- or an older one has failed it.
local function hold(id, fence, claimed, born, wins)
    local key = 'job:' .. id
    local r = call('HMGET', key, 'state', 'fence', 'kind', 'idem', 'watch', 'pulled', 'ties')
    local state = r[1]
    if state == 'cancelled' then
        return nil, 'cancelled'
    end
    if r[2] == fence then
        return r
    end
    local is_newer = (tonumber(r[2]) or 0) > tonumber(fence)
    if state == 'completed' or state == 'failed' and (is_newer or not wins) then
        return nil, 'stale'
    end
    if claimed == ARGV[1] then
        return nil, state and 'stale' or 'gone'
    end
    if is_newer and not wins then
        return nil, 'stale'
    end
    local b = cjson.decode(born)
    if not state then
        rare().recreate(id, b, 'in-progress', RUNNING + b.started)
    else
        if state == 'unconfirmed' then
            count_in(id, r[3], call('HGET', key, 'created'), r[4], r[7])
        elseif state == 'failed' then
            call('HINCRBY', 'count', 'failed:' .. r[3], -1)
            if r[7] then
                sets().revive(id)
            end
        end
        rare().input_drop(id)
        call('HSET', key, 'state', 'in-progress', 'attempt', b.attempt, 'input', 0)
        place(id, r[3], RUNNING + b.started, r[7])
    end
    call('HSET', key, 'fence', fence, 'owner', b.owner, 'copy', b.copy, 'started', b.started, 'lease', 0)
    return call('HMGET', key, 'state', 'fence', 'kind', 'idem', 'watch', 'pulled', 'ties')
end
