-- SPDX-License-Identifier: Apache-2.0
-- group.lua: put behind rare.lua wherever that is. What some jobs are tied to: the
-- blobs that are their input, members they fell into, the parent whose member
-- they are. ties() makes the functions when they are asked for: most jobs have
-- no ties, and should not pay for them.
--
-- A group: the parent stays in-progress without an owner. Its message comes back
-- again and again (deferred each time), and each such visit runs `split`, which
-- makes what is missing: members whose records were lost, the first time all of
-- them. No more are open at a time than the fleet can take soon; when one ends
-- the next is let go. The script that settles a member counts it in its parent,
-- and ends the parent with the last one, or with the first that failed for good.
-- A member whose parent has ended is cancelled when it is claimed or renewed.
--
-- Keys. Members have numbers from 0.
--   job:PARENT   also total (of the members), done (those with a result), layout (split's)
--   job:MEMBER   also parent, member (its number); remade: the record was lost once, so that
--                a missing parent may come back as well
--   group:PARENT hash: total, round (how often a person has retried it), next (all members
--                below were let go in this round), window (how many may be open), type and
--                bytes of the result, verified (the members' checks as one: the largest
--                bound, all unchecked), bound and unchecked (what it says),
--                front and back: the members' packed message but for id, created and number
--   sealed:PARENT  hash number -> fence of the result that counts
--   open:PARENT  set of the numbers that were let go in this round and have no result yet
--   blob:NAME    zset of the jobs that need this input, by when they no longer do; +inf
--                while they have not ended. It lasts as long as its last entry
--   job:ID       also blobs, the names of its inputs with blanks between
--
-- A member's id is that of its parent's time, round and number: whoever makes it
-- again makes the same. sealed: and group: have a TTL while there is no live
-- parent that has been split.
ties = function()
    local t = {}
    ties = function()
        return t
    end

    -- ---- blobs ----------------------------------------------------------------

    -- The names in a message's refs, nil without. Anybody may have written them.
    local function blob_names(refs)
        local is_json, value = pcall(cjson.decode, refs)
        local names = {}
        if is_json and type(value) == 'table' and type(value.blobs) == 'table' then
            for _, name in ipairs(value.blobs) do
                if type(name) == 'string' and string.match(name, '^[0-9a-z-]+$') then
                    names[#names + 1] = name
                end
            end
        end
        return #names > 0 and table.concat(names, ' ') or nil
    end

    -- The job needs its blobs until then (ms); nil: no longer.
    function t.need_blobs(id, till)
        for name in string.gmatch(call('HGET', 'job:' .. id, 'blobs') or '', '%S+') do
            local key = 'blob:' .. name
            if till then
                call('ZREMRANGEBYSCORE', key, '-inf', (clock())) -- a blob in use may outlive many
                call('ZADD', key, till, id)
            else
                call('ZREM', key, id)
            end
            local last = call('ZRANGE', key, -1, -1, 'WITHSCORES')[2]
            if last == 'inf' then
                call('PERSIST', key)
            elseif last then
                call('PEXPIREAT', key, last)
            end
        end
    end

    -- Notes what the job's message says of blobs, beside those of another message of it. Returns its `ties`.
    function t.tie_blobs(id, refs, till)
        local names = blob_names(refs)
        if names then
            local all = call('HGET', 'job:' .. id, 'blobs') or ''
            for name in string.gmatch(names, '%S+') do
                if not string.find(' ' .. all .. ' ', ' ' .. name .. ' ', 1, true) then
                    all = all == '' and name or all .. ' ' .. name
                end
            end
            call('HSET', 'job:' .. id, 'ties', 1, 'blobs', all)
            t.need_blobs(id, till)
            return '1'
        end
    end

    -- The same for a record made again from what its message says.
    function t.tie_again(id, born)
        local is_tied = born.refs and t.tie_blobs(id, born.refs, '+inf')
        if born.parent then
            call('HSET', 'job:' .. id, 'ties', 1, 'parent', born.parent, 'member', born.member, 'remade', 1)
            is_tied = '1'
        end
        return born.group and sets().count_again(id, born.group) or is_tied
    end

    -- What an end means for ties; a failed job needs its blobs while its message is kept for a retry.
    function t.close(id, from, state, retention)
        local r = call('HMGET', 'job:' .. id, 'input', 'total', 'group')
        t.need_blobs(id, state == 'failed' and r[1] == '1' and clock() + retention or nil)
        if r[2] then
            call('DEL', 'open:' .. id)
            call('PEXPIRE', 'group:' .. id, retention)
            call('PEXPIRE', 'sealed:' .. id, retention)
            if state ~= 'failed' then
                rare().input_drop(id)
            end
        end
        if r[3] then
            sets().ended(r[3], id, from, state, retention)
        end
    end

    -- ---- members ---------------------------------------------------------------

    local function id_of(parent, round, number)
        local hash = redis.sha1hex(parent .. ':' .. round .. ':' .. number)
        return string.sub(parent, 1, 14) .. '8' .. string.sub(hash, 1, 3) .. '-a' .. string.sub(hash, 4, 6) .. '-' ..
            string.sub(hash, 7, 18)
    end
    t.id_of = id_of

    -- Whether nobody waits for this member any more: its parent has ended, has a result of it, or was retried since;
    -- or it belongs to a set that was cancelled.
    function t.is_over(id)
        local m = call('HMGET', 'job:' .. id, 'parent', 'member', 'remade', 'group', 'again')
        local parent = m[1]
        if m[4] and sets().is_cancelled(m[4], m[5]) then
            return true
        end
        local state = parent and call('HGET', 'job:' .. parent, 'state')
        if not parent or is_end(state) then
            return parent
        end
        if not state then
            return not m[3]
        end
        local g = call('HMGET', 'group:' .. parent, 'total', 'round')
        return g[1] and (call('HEXISTS', 'sealed:' .. parent, m[2]) == 1 or id_of(parent, g[2], m[2]) ~= id)
    end

    -- Whether a group of so many has a member of this number: a message may say any.
    function t.has_number(total, number)
        return tonumber(number) >= 0 and tonumber(number) < total
    end

    -- Ends a member that is over.
    function t.cancel(id, retention)
        local r = call('HMGET', 'job:' .. id, 'state', 'kind', 'idem', 'watch')
        call('HSET', 'job:' .. id, 'state', 'cancelled', 'finished', (clock()), 'input', 0)
        rare().input_drop(id)
        close(id, r[2], r[1], 'cancelled', retention, r[3], r[4], true)
    end

    -- Makes a member, pending, and its outbox entry. One that was cancelled begins anew: its parent lives. Of one
    -- that is pending only the message is made again.
    function t.make(parent, number)
        local p = call('HMGET', 'job:' .. parent, 'kind', 'max', 'blobs')
        local g = call('HMGET', 'group:' .. parent, 'round', 'front', 'back')
        local id, kind, now = id_of(parent, g[1], number), p[1], (clock())
        local key = 'job:' .. id
        local old = call('HMGET', key, 'state', 'fence')
        local is_pending = old[1] == 'pending'
        if old[1] and not is_pending then
            call('DEL', key)
            call('HINCRBY', 'count', old[1] .. ':' .. kind, -1)
            call('HINCRBY', 'count', 'accepted:' .. kind, -1)
        end
        call('HSET', key, 'state', 'pending', 'kind', kind, 'created', now, 'max', p[2], 'ties', 1, 'parent', parent,
             'member', number)
        if old[2] then
            call('HSET', key, 'fence', old[2])
        end
        if p[3] then
            call('HSET', key, 'blobs', p[3])
        end
        place(id, kind, now, false)
        if not is_pending then
            count_in(id, kind, now, nil, true)
        end
        if call('EXISTS', 'ob:' .. id) == 1 then
            rare().outbox_drop(id)
        end
        call('SET', 'ob:' .. id, '{"id":"' .. id .. '","created":' .. string.format('%.0f', now) .. ',"member":' ..
             number .. g[2] .. number .. g[3])
        rare().outbox_add(id, now)
    end

    -- Lets members go while fewer are open than may be.
    function t.release(parent)
        local g = call('HMGET', 'group:' .. parent, 'total', 'next', 'window', 'round')
        local total, following, window = tonumber(g[1]), tonumber(g[2]), tonumber(g[3])
        local open, is_new = call('SCARD', 'open:' .. parent), false
        if open >= window or following >= total then
            return
        end
        while open < window and following < total do
            if call('HEXISTS', 'sealed:' .. parent, following) == 0 then
                call('SADD', 'open:' .. parent, following)
                open = open + 1
                if call('HEXISTS', 'job:' .. id_of(parent, g[4], following), 'state') == 0 then
                    t.make(parent, following)
                    is_new = true
                end
            end
            following = following + 1
        end
        call('HSET', 'group:' .. parent, 'next', following)
        if is_new then
            call('PUBLISH', 'millrace:outbox', '')
        end
    end

    -- The member has a result. Returns 1 when this is the one that counts.
    function t.seal(parent, number, fence)
        call('SREM', 'open:' .. parent, number)
        return call('HSETNX', 'sealed:' .. parent, number, fence)
    end

    -- The check of a group: the largest bound of its members, and what none of them checked.
    function t.verify(parent, verified)
        local g = call('HMGET', 'group:' .. parent, 'verified', 'bound', 'unchecked')
        local is_json, value = pcall(cjson.decode, verified)
        local is_table = is_json and type(value) == 'table'
        local bound, unchecked = is_table and tonumber(value.bound) or 0, is_table and tonumber(value.unchecked) or 0
        local text = verified
        if g[1] and bound < tonumber(g[2]) then
            text, bound = g[1], g[2]
        end
        unchecked = unchecked + (tonumber(g[3]) or 0)
        text = string.gsub(text, ',"unchecked":%d+', '')
        if unchecked > 0 then
            text = string.gsub(text, '}$', string.format(',"unchecked":%.0f}', unchecked))
        end
        call('HSET', 'group:' .. parent, 'verified', text, 'bound', bound, 'unchecked', unchecked)
    end

    -- ---- the parent ---------------------------------------------------------------

    -- Writes how far it is; completes it when that is all, it is in-progress and has not ended by anything else.
    -- Returns whether it has.
    function t.progress(parent, retention)
        local g = call('HMGET', 'group:' .. parent, 'total', 'type', 'bytes', 'verified')
        local p = call('HMGET', 'job:' .. parent, 'state', 'kind', 'idem', 'watch')
        local key, done, total = 'job:' .. parent, call('HLEN', 'sealed:' .. parent), tonumber(g[1])
        call('HSET', key, 'done', done, 'progress', string.format('%.4g', done / total))
        if done < total or p[1] ~= 'in-progress' then
            return false
        end
        call('HSET', key, 'state', 'completed', 'finished', (clock()), 'type', g[2], 'bytes', g[3], 'input', 0)
        if g[4] then
            call('HSET', key, 'verified', g[4])
        end
        call('HDEL', key, 'owner', 'lease')
        close(parent, p[2], p[1], 'completed', retention, p[3], p[4], true)
        return true
    end

    -- Fails it by one of its members, unless it has ended.
    function t.fail(parent, number, code, detail, retention, kept_max)
        local key, now = 'job:' .. parent, (clock())
        local p = call('HMGET', key, 'state', 'kind', 'idem', 'watch')
        local packed = call('GET', 'in:' .. parent)
        if not p[1] or is_end(p[1]) then
            return
        end
        call('HSET', key, 'state', 'failed', 'finished', now, 'code', code, 'detail',
             'member ' .. number .. ' failed: ' .. detail, 'input',
             packed and rare().input_keep(parent, packed, now, retention, kept_max) or 0)
        call('HDEL', key, 'owner', 'lease')
        close(parent, p[2], p[1], 'failed', retention, p[3], p[4], true)
    end

    -- A job has completed by its own finish. A member counts in its parent, and the next one is let go; of a
    -- parent that is not known yet, `split` will count it, but only if the store has lost what it knew: else no
    -- split has made this member.
    function t.completed(id, fence, verified, retention)
        local m = call('HMGET', 'job:' .. id, 'parent', 'member', 'total', 'remade')
        local parent, number = m[1], m[2]
        if m[3] then -- done in one piece after all
            call('HDEL', 'job:' .. id, 'total', 'layout', 'done')
        end
        local total = parent and tonumber(call('HGET', 'group:' .. parent, 'total'))
        if not parent or total and not t.has_number(total, number) or not total and not m[4] then
            return
        end
        local is_new = t.seal(parent, number, fence) == 1
        local state = call('HGET', 'job:' .. parent, 'state')
        if verified ~= '' and (is_new or call('HGET', 'sealed:' .. parent, number) == fence) then
            t.verify(parent, verified)
        end
        if not total or not state or is_end(state) then
            call('PEXPIRE', 'group:' .. parent, retention)
            call('PEXPIRE', 'sealed:' .. parent, retention)
        elseif is_new and not t.progress(parent, retention) and state == 'in-progress' then
            t.release(parent)
        end
    end

    -- A member has failed for good, and with it its parent, unless there is a result of it, or it is of an older round.
    function t.member_failed(id, code, detail, retention, kept_max)
        local m = call('HMGET', 'job:' .. id, 'parent', 'member')
        local g = m[1] and call('HMGET', 'group:' .. m[1], 'total', 'round')
        if g and g[1] and id_of(m[1], g[2], m[2]) == id and call('HEXISTS', 'sealed:' .. m[1], m[2]) == 0 then
            t.fail(m[1], m[2], code, detail, retention, kept_max)
        end
    end

    -- A person has retried the parent: what has a result keeps it.
    function t.next_round(id)
        t.need_blobs(id, '+inf')
        sets().revive(id, true)
        if call('HEXISTS', 'group:' .. id, 'total') == 1 then
            call('PERSIST', 'group:' .. id)
            call('PERSIST', 'sealed:' .. id)
            call('HINCRBY', 'group:' .. id, 'round', 1)
            call('HSET', 'group:' .. id, 'next', 0)
        end
    end

    -- Fences of the results of all members, in order; nil when they are not all known.
    function t.fences(parent)
        local total = tonumber(call('HGET', 'job:' .. parent, 'total'))
        local fences = {}
        if not total or call('HLEN', 'sealed:' .. parent) < total then
            return nil
        end
        for first = 0, total - 1, 1000 do
            local numbers = {}
            for number = first, math.min(first + 999, total - 1) do
                numbers[#numbers + 1] = number
            end
            for _, fence in ipairs(call('HMGET', 'sealed:' .. parent, unpack(numbers))) do
                fences[#fences + 1] = fence
            end
        end
        return fences
    end

    return t
end
