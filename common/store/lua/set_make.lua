#!lua
-- SPDX-License-Identifier: Apache-2.0
-- set_make(epoch, set, name, retention): a group of a client's jobs, open. Again is the
-- same. Answers ok and what set.lua's view lists. Refuses when memory is full.
sets().make(ARGV[2], ARGV[3], ARGV[4])
return sets().view(ARGV[2], {'ok'}, ARGV[4])
