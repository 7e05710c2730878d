-- SPDX-License-Identifier: Apache-2.0
-- rare.lua: put behind lib.lua where a script uses it. What most calls do not need: inputs
-- kept for another run, the outbox, records that were lost, what those are told who wait
-- for an end. rare() makes the functions when they are asked for.
rare = function()
    local t = {}
    rare = function()
        return t
    end

    -- Takes n bytes from the sum of kept inputs; a sum of none is 0, whatever it was.
    local function kept_less(n)
        if call('EXISTS', 'kept') == 0 then
            call('DEL', 'kept:bytes')
        elseif n > 0 then
            call('DECRBY', 'kept:bytes', n)
        end
    end

    -- Forgets up to count inputs that have expired: an expiry runs no script.
    function t.kept_trim(now, count)
        local gone = call('ZRANGEBYSCORE', 'kept', '-inf', now, 'LIMIT', 0, count)
        local bytes = 0
        for _, entry in ipairs(gone) do
            bytes = bytes + string.match(entry, '%d+$')
            call('ZREM', 'kept', entry)
        end
        if #gone > 0 then
            kept_less(bytes)
        end
    end

    -- Takes up to count jobs whose record has expired out of the list, from where the last call had come to; none
    -- that is younger than the retention can be among them. Returns whether it pays to go on at once.
    function t.jobs_trim(now, retention, count)
        local from = tonumber(call('GET', 'jobs:round')) or 0
        local entries = call('ZRANGE', 'jobs', from, from + count - 1, 'WITHSCORES')
        local gone, is_over = {}, #entries < 2 * count
        for i = 1, #entries, 2 do
            if tonumber(entries[i + 1]) > now - retention then
                is_over = true
                break
            end
            if call('EXISTS', 'job:' .. entries[i]) == 0 then
                gone[#gone + 1] = entries[i]
            end
        end
        if #gone > 0 then
            call('ZREM', 'jobs', unpack(gone))
        end
        if is_over then
            call('DEL', 'jobs:round')
        else
            call('SET', 'jobs:round', from + count - #gone)
        end
        return not is_over and #gone > count / 2
    end

    -- No input any more, or elsewhere from now on: forgets in:ID and what it counted for.
    function t.input_drop(id)
        local bytes = call('STRLEN', 'in:' .. id)
        call('DEL', 'in:' .. id)
        if bytes > 0 and call('ZREM', 'kept', id .. '|' .. bytes) == 1 then
            kept_less(bytes)
        end
    end

    -- Keeps the message of a failed job for a retry by a person, if all that is kept
    -- stays within bound. Returns 1 when it is kept, else 0: what `input` says.
    function t.input_keep(id, packed, now, retention, bound)
        t.input_drop(id)
        t.kept_trim(now, 100)
        if (tonumber(call('GET', 'kept:bytes')) or 0) + #packed > tonumber(bound) then
            return 0
        end
        call('SET', 'in:' .. id, packed, 'PX', retention)
        if call('ZADD', 'kept', now + retention, id .. '|' .. #packed) == 1 then
            call('INCRBY', 'kept:bytes', #packed)
        end
        return 1
    end

    -- Makes a lost record again, counted, in this state, with its score in ix:. A mark (pulled) survives.
    -- Returns its `ties`.
    function t.recreate(id, b, state, score)
        local key = 'job:' .. id
        call('HSET', key, 'state', state, 'kind', b.kind, 'created', b.created, 'max', b.max,
             'attempt', b.attempt, 'errors', b.errors or 0)
        if b.deadline > 0 then
            call('HSET', key, 'deadline', b.deadline)
        end
        if b.idem ~= '' then
            call('HSET', key, 'idem', b.idem, 'digest', b.digest)
            call('SET', 'idem:' .. b.idem, id, 'NX')
        end
        call('PERSIST', key)
        call('HINCRBY', 'count', 'accepted:' .. b.kind, 1)
        call('ZADD', 'jobs', math.min(b.created, (clock())), id) -- anybody may have written it
        local is_tied = (b.parent or b.refs or b.group) and ties().tie_again(id, b)
        place(id, b.kind, score, is_tied)
        return is_tied
    end

    -- Puts a packed message into the outbox; the caller has written ob:ID.
    function t.outbox_add(id, now)
        call('ZADD', 'outbox', now, id)
        call('INCRBY', 'outbox:bytes', call('STRLEN', 'ob:' .. id))
    end

    function t.outbox_drop(id)
        local bytes = call('STRLEN', 'ob:' .. id)
        call('DEL', 'ob:' .. id)
        call('ZREM', 'outbox', id)
        if call('EXISTS', 'outbox') == 0 then
            call('DEL', 'outbox:bytes')
        else
            call('DECRBY', 'outbox:bytes', bytes)
        end
    end

    -- A failed job is pending again, with this packed message in the outbox, to be taken from `at` on;
    -- of the failed attempt its number and its fence are left. A person wants it to run: the deadline is forgotten.
    function t.run_again(id, kind, idem, is_tied, packed, now, at)
        local key = 'job:' .. id
        t.outbox_drop(id)
        call('SET', 'ob:' .. id, packed)
        t.input_drop(id)
        t.outbox_add(id, at)
        call('HSET', key, 'state', 'pending', 'errors', 0, 'losses', 0, 'queued', now, 'input', 0)
        call('HDEL', key, 'finished', 'owner', 'lease', 'started', 'away', 'progress', 'code', 'detail', 'next',
             'deadline')
        call('PERSIST', key)
        if idem and call('GET', 'idem:' .. idem) == id then
            call('PERSIST', 'idem:' .. idem)
        end
        call('HINCRBY', 'count', 'failed:' .. kind, -1)
        place(id, kind, now, is_tied)
        if is_tied then
            ties().next_round(id)
        end
    end

    -- What is published of a job that has just ended, so that nobody has to ask again: the id, a newline, and
    -- packed the epoch, the record, and the result if it is short.
    function t.notice(id, state)
        local key = 'job:' .. id
        local what = {ARGV[1], call('HGETALL', key)}
        if state == 'completed' then
            local r = call('HMGET', key, 'blob', 'out', 'bytes')
            what[3] = not r[1] and (r[2] or tonumber(r[3]) <= 4096 and call('GET', 'out:' .. id)) or nil
        end
        return id .. '\n' .. cmsgpack.pack(what)
    end

    return t
end
