-- SPDX-License-Identifier: Apache-2.0
-- wrk -s wrk.lua URL -- matrix|hash: one and the same submit, again and again;
-- at the end one JSON line.

local requests = {
  matrix = function()
    wrk.method = "POST"
    wrk.path = "/matrix_multiplication"
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"A":[[1,2],[3,4]],"B":[[5,6],[7,8]]}'
  end,
  hash = function()
    wrk.method = "PUT"
    wrk.path = "/enqueue?iterations=1"
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("x", 16384)
  end,
}

function init(args)
  requests[args[1]]()
  local text = wrk.format()
  request = function() return text end
end

function done(summary, latency)
  local e = summary.errors
  print(string.format(
    '{"jobs":%d,"seconds":%.6f,"per_second":%.1f,"p50_ms":%.3f,"p99_ms":%.3f,"refused":%d,"broken":%d}',
    summary.requests, summary.duration / 1e6, summary.requests / (summary.duration / 1e6),
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
