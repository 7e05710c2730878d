#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- blobs_needed(epoch, grace, name...): ok and those of the names that a record
-- needs. An input is needed by jobs that have not ended, or may be retried; a
-- result as long as the record of its job, or of its job's parent, is there. In an epoch
-- that is younger than grace (ms) all are: jobs may not be known yet.
local answer = {'ok'}
local _, us = clock()
local is_young = us - ARGV[1] < ARGV[2] * 1000
for i = 3, #ARGV do
    local name = ARGV[i]
    local key = #name == 36 and 'blob:' .. name or 'job:' .. string.sub(name, 1, 36)
    if is_young or call('EXISTS', key) == 1 then
        answer[#answer + 1] = name
    end
end
return answer
