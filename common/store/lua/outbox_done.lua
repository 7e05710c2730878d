#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- outbox_done(epoch, id, until): the entry that was taken with this reservation
-- has been published. Another reservation is another entry: it stays.
if call('ZSCORE', 'outbox', ARGV[2]) == ARGV[3] then
    rare().outbox_drop(ARGV[2])
end
return 'ok'
