#!lua flags=allow-oom
-- SPDX-License-Identifier: Apache-2.0
-- leave(epoch, name): a worker says goodbye.
call('ZREM', 'workers', ARGV[2])
call('DEL', 'worker:' .. ARGV[2])
return 'ok'
