#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- stats(epoch): ok and one JSON text, all of one moment.
local now = clock()
local states = {'accepted', 'pending', 'in-progress', 'retrying', 'completed', 'failed', 'cancelled'}
local kinds, jobs, hist, workers = {}, {}, {}, {}
local counts = call('HGETALL', 'count')
for i = 1, #counts, 2 do
    local state, kind = string.match(counts[i], '^([^:]*):(.*)$')
    kinds[kind] = kinds[kind] or {}
    kinds[kind][state] = tonumber(counts[i + 1])
end
for _, state in ipairs(states) do
    jobs[state] = 0
end
for kind, k in pairs(kinds) do
    local index = 'ix:' .. kind
    k.pending = call('ZCOUNT', index, 0, '(' .. RUNNING)
    k['in-progress'] = call('ZCOUNT', index, RUNNING, '(' .. WAITING)
    k.retrying = call('ZCOUNT', index, WAITING, '+inf')
    for _, state in ipairs(states) do
        k[state] = k[state] or 0
        jobs[state] = jobs[state] + k[state]
    end
    local oldest = tonumber(call('ZRANGE', index, 0, 0, 'WITHSCORES')[2])
    k.oldest_ms = oldest and oldest < RUNNING and math.max(0, now - oldest) or 0
end
local fields = call('HGETALL', 'hist')
for i = 1, #fields, 2 do
    local name, bucket = string.match(fields[i], '^(.*)|([^|]*)$')
    hist[name] = hist[name] or {}
    hist[name][bucket] = tonumber(fields[i + 1])
end
for _, name in ipairs(call('ZRANGE', 'workers', 0, -1)) do
    workers[#workers + 1] = call('GET', 'worker:' .. name) or nil
end
return {'ok', '{"epoch":' .. ARGV[1] .. ',"jobs":' .. cjson.encode(jobs) .. ',"kinds":' .. cjson.encode(kinds) ..
    ',"outbox":{"count":' .. call('ZCARD', 'outbox') .. ',"bytes":' .. (call('GET', 'outbox:bytes') or '0') ..
    '},"workers":[' .. table.concat(workers, ',') .. '],"histograms":' .. cjson.encode(hist) .. '}'}
