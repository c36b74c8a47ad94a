-- One POST, over and over, and the result as one line of JSON.
--   wrk ... -s request.lua URL -- BODY_FILE "Header: value" ...
-- No function is called for a request: wrk formats it once. Times in the answer are microseconds.

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method = "POST"
   wrk.body = file:read("*a")
   file:close()
   for number = 2, #arguments do
      local name, value = arguments[number]:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency, requests)
   local failed = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "slowest": %d, "statuses": %d, '
         .. '"connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      failed.status, failed.connect, failed.read, failed.write, failed.timeout))
end
