-- SPDX-License-Identifier: Apache-2.0
-- set.lua: put behind group.lua wherever that is. The groups that clients make of
-- jobs of any kind: docs/protocol.md calls them groups, their jobs members. Here
-- they are sets, so that nobody takes them for what group.lua has, a product that
-- falls into tiles; a parent of tiles may be a member of a set, a tile is not.
-- sets() makes the functions when they are asked for.
--
-- Each script that moves a member moves it in its set as well: the same guards hold, so that
-- a replay counts nothing twice, and an end is appended once.
--
-- Keys
--   job:ID         also group, the set; again: a person has retried it after the set was cancelled
--   set:ID         hash: name, created; closed and cancelled, by when; accepted completed failed
--                  cancelled-jobs, what is counted; last, the position of the last end;
--                  remade: lost once and made again by a member, so that nobody knows whether it
--                  was closed: it takes members, and has ended whenever none is live;
--                  watch, await: 1: publish the next end, or that it has ended
--   set-live:ID    zset of the members that have not ended, with the scores of ix:KIND
--   set-coming:ID  zset of those whose submit is under way, by when it must be over
--   set-ends:ID    stream of the members in the order in which they ended, POSITION-0 id ID;
--                  of more than a million the first are forgotten
--
-- Positions ascend, also over a loss of data: in each epoch they begin beyond any that was
-- given before, as there are fewer ends than microseconds since the set was made.
--
-- TTL of set: and set-ends: (the others are empty, or of short life): none while members are
-- live; else the retention of a closed set, and of an open one a day at least since somebody
-- last came for it.
sets = function()
    local ENDS_MAX, OPEN_MS, COMING_MS = 1000000, 86400000, 60000
    local t = {}
    sets = function()
        return t
    end

    -- Its time is read when members end, so that must be one.
    local function is_id(text)
        local digit = '[0-9a-f]'
        return type(text) == 'string' and #text == 36 and
            string.find(text, '^' .. string.rep(digit, 8) .. '%-' .. string.rep(digit, 4) .. '%-[0-9a-f-]+$') == 1
    end

    -- Whether no member is live, or may be soon. Of a set that is closed: whether it has ended.
    local function is_empty(set)
        return call('ZCARD', 'set-live:' .. set) == 0 and
            call('ZCOUNT', 'set-coming:' .. set, '(' .. string.format('%.0f', (clock())), '+inf') == 0
    end

    -- Keeps it for so long (ms); not shorter than it is kept anyway.
    local function keep(set, ms)
        call('PEXPIRE', 'set:' .. set, ms, 'GT')
        call('PEXPIRE', 'set-ends:' .. set, ms, 'GT')
    end

    -- It has no live members: keeps it for a while yet.
    local function let_go(set, is_closed, retention)
        local ms = is_closed and retention or math.max(retention, OPEN_MS)
        call('PEXPIRE', 'set:' .. set, ms)
        call('PEXPIRE', 'set-ends:' .. set, ms)
    end

    -- Somebody came for it: while it is open it is kept for him.
    function t.touch(set, retention)
        if call('HEXISTS', 'set:' .. set, 'closed') == 0 then
            keep(set, math.max(retention, OPEN_MS))
        end
    end

    local function remake(set)
        call('HSET', 'set:' .. set, 'name', '', 'created', (clock()), 'remade', 1)
    end

    function t.state(set)
        local s = call('HMGET', 'set:' .. set, 'created', 'closed', 'remade')
        if (s[2] or s[3]) and is_empty(set) then
            return 'ended'
        end
        return s[1] and (s[2] and 'closed' or 'open')
    end

    -- Makes it, open, under this name; again is the same.
    function t.make(set, name, retention)
        call('HSETNX', 'set:' .. set, 'created', (clock()))
        call('HSET', 'set:' .. set, 'name', name)
        call('HDEL', 'set:' .. set, 'remade')
        if is_empty(set) then
            let_go(set, false, retention)
        end
    end

    -- ---- members ------------------------------------------------------------

    -- A submit begins. Answers why it may not; nil when it may.
    function t.refuses(set)
        local s = call('HMGET', 'set:' .. set, 'created', 'closed')
        return not s[1] and 'no-group' or s[2] and 'closed' or nil
    end

    -- It has begun: the set has not ended before it is over.
    function t.expect(set, id, now)
        call('HSET', 'job:' .. id, 'ties', 1, 'group', set)
        call('ZREMRANGEBYSCORE', 'set-coming:' .. set, '-inf', now) -- those that came to nothing
        call('ZADD', 'set-coming:' .. set, now + COMING_MS, id)
        call('PEXPIRE', 'set-coming:' .. set, COMING_MS)
        keep(set, 2 * COMING_MS)
    end

    -- A member counts from now on.
    function t.count_in(id)
        local set = call('HGET', 'job:' .. id, 'group')
        if set then
            call('HINCRBY', 'set:' .. set, 'accepted', 1)
            call('ZREM', 'set-coming:' .. set, id)
        end
    end

    -- The same of a record that was lost. Anybody may have written the message. Returns its `ties`.
    function t.count_again(id, set)
        if not is_id(set) then
            return
        end
        call('HSET', 'job:' .. id, 'ties', 1, 'group', set)
        if call('EXISTS', 'set:' .. set) == 0 then
            remake(set)
        end
        t.count_in(id)
        return '1'
    end

    -- A live member has this score in ix: from now on.
    function t.place(id, score)
        local set = call('HGET', 'job:' .. id, 'group')
        if set and call('ZADD', 'set-live:' .. set, score, id) == 1 then
            if call('EXISTS', 'set:' .. set) == 0 then
                remake(set)
            end
            call('PERSIST', 'set:' .. set)
            call('PERSIST', 'set-ends:' .. set)
        end
    end

    -- A failed member lives again. A set that was forgotten before it has never counted it.
    function t.revive(id, is_by_person)
        local set = call('HGET', 'job:' .. id, 'group')
        if set then
            if call('HINCRBY', 'set:' .. set, 'failed', -1) < 0 then
                call('HINCRBY', 'set:' .. set, 'failed', 1)
                call('HINCRBY', 'set:' .. set, 'accepted', 1)
            end
            if is_by_person and call('HEXISTS', 'set:' .. set, 'cancelled') == 1 then
                call('HSET', 'job:' .. id, 'again', 1)
            end
        end
    end

    -- Whether it has to end because its set was cancelled.
    function t.is_cancelled(set, is_again)
        return not is_again and call('HEXISTS', 'set:' .. set, 'cancelled') == 1
    end

    -- Tells who waits for the next end, or for the last.
    local function tell(set, watch, await, has_ended)
        if watch or await and has_ended then
            call('HDEL', 'set:' .. set, 'watch', 'await')
            call('PUBLISH', 'millrace:group', set)
        end
    end

    -- A member has ended.
    function t.ended(set, id, from, state, retention)
        local key, live = 'set:' .. set, 'set-live:' .. set
        if from == 'unconfirmed' then
            t.count_in(id)
        else
            call('ZREM', live, id)
        end
        local s = call('HMGET', key, 'last', 'watch', 'await', 'closed', 'remade', 'created')
        if not s[6] then
            remake(set)
        end
        local born_us = (tonumber(string.sub(set, 1, 8) .. string.sub(set, 10, 13), 16) + 1) * 1000
        local position = string.format('%.0f', math.max(tonumber(s[1]) or 0, ARGV[1] - born_us) + 1)
        call('HINCRBY', key, state == 'cancelled' and 'cancelled-jobs' or state, 1)
        call('HSET', key, 'last', position)
        call('XADD', 'set-ends:' .. set, 'MAXLEN', '~', ENDS_MAX, position .. '-0', 'id', id)
        local is_last = call('ZCARD', live) == 0
        if is_last then
            let_go(set, s[4], retention)
        end
        tell(set, s[2], s[3], is_last and (s[4] or s[5]) and is_empty(set))
    end

    -- ---- the set as a whole -------------------------------------------------------

    -- No further members; cancelled: those that are live end as well, when they are met. `made`: it was so in an
    -- older epoch, and is made again where it was lost.
    function t.close(set, is_cancelled, retention, made)
        local key, now = 'set:' .. set, (clock())
        if call('HEXISTS', key, 'created') == 0 then
            if not made then
                return false
            end
            t.make(set, '', retention)
        end
        call('HSETNX', key, 'closed', now)
        call('HDEL', key, 'remade')
        if is_cancelled then
            call('HSETNX', key, 'cancelled', now)
        end
        if call('ZCARD', 'set-live:' .. set) == 0 then
            let_go(set, true, retention)
        end
        local s = call('HMGET', key, 'watch', 'await')
        tell(set, s[1], s[2], s[1] or s[2] and is_empty(set))
        return true
    end

    -- What clients see of it: state, name, created, accepted, pending, in-progress, retrying, completed, failed,
    -- cancelled, ends; behind `answer`.
    function t.view(set, answer, retention)
        local s = call('HMGET', 'set:' .. set, 'name', 'created', 'accepted', 'completed', 'failed', 'cancelled-jobs')
        local live = 'set-live:' .. set
        t.touch(set, retention)
        for _, value in ipairs({
            t.state(set), s[1], s[2], s[3] or '0', call('ZCOUNT', live, '-inf', '(' .. RUNNING),
            call('ZCOUNT', live, RUNNING, '(' .. WAITING), call('ZCOUNT', live, WAITING, '+inf'), s[4] or '0',
            s[5] or '0', s[6] or '0', call('XLEN', 'set-ends:' .. set),
        }) do
            answer[#answer + 1] = value
        end
        return answer
    end

    return t
end
