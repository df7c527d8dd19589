-- A charge request for wrk, unique each time: nothing is answered from memory, and no EV asks twice.
-- wrk … -- PREFIX [strict]: PREFIX is this run's own; `strict` looks at every status, and counts those that are not 202.
local threads = {}

function setup(thread)
   thread:set("number", #threads)
   table.insert(threads, thread)
end

function init(args)
   local id = string.format("%s-%02d-", args[1] or "run", number)
   local body = '{"ev_id":"' .. id .. '%09d","request_id":"' .. id .. '%09d"}'
   local head = "POST " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"]
      .. "\r\nContent-Type: application/json\r\nContent-Length: " .. #string.format(body, 0, 0) .. "\r\n\r\n"
   template, count, strange = head .. body, 0, 0
   if args[2] == "strict" then
      response = function(status)
         if status ~= 202 then strange = strange + 1 end
      end
   end
end

function request()
   count = count + 1
   return string.format(template, count, count)
end

function done(summary, latency)
   local strange = 0
   for _, thread in ipairs(threads) do
      strange = strange + (thread:get("strange") or 0)
   end
   local failed = summary.errors
   io.write(string.format(
      'BENCH {"answered": %d, "duration_s": %.6f, "p50_ms": %.3f, "p99_ms": %.3f, "max_ms": %.3f, '
      .. '"refused": %d, "broken": %d, "timeouts": %d, "strange": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
      latency.max / 1e3, failed.status, failed.connect + failed.read + failed.write, failed.timeout, strange))
end
