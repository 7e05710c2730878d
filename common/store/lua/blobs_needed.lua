#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- blobs_needed(epoch, grace, name...): ok and those of the names that a record
-- needs. Whatever its name, a blob is needed by jobs whose input it is and that have
-- not ended, or may be retried; a result also as long as the record of its job, or of
-- its job's parent, is there. In an epoch that is younger than grace (ms) all are: jobs
-- may not be known yet.
local answer = {'ok'}
local _, us = clock()
local is_young = us - ARGV[1] < ARGV[2] * 1000
for i = 3, #ARGV do
    local name = ARGV[i]
    local is_result = #name > 36
    if is_young or call('EXISTS', 'blob:' .. name) == 1 or
        is_result and call('EXISTS', 'job:' .. string.sub(name, 1, 36)) == 1 then
        answer[#answer + 1] = name
    end
end
return answer
