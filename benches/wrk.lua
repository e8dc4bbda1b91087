-- What wrk cannot do by its options: other credentials in each request, uploads, pauses, and counts that are exact.
-- wrk … -s wrk.lua URL -- CREDENTIALS POSITION REPEAT UPLOAD PAUSE
--   CREDENTIALS  a file with a value of `Authorization` on each line, or "-"
--   POSITION     the byte of the file to begin at; how far it was read is in the output
--   REPEAT       "repeat" begins anew at the end of the file, "once" stops there and says so
--   UPLOAD       how many bytes each request has as its body
--   PAUSE        how many milliseconds a connection waits before it asks again, on average

local thread

function setup(made)
    thread = made
end

function init(arguments)
    local path, start, upload = arguments[1], tonumber(arguments[2]), tonumber(arguments[4])
    local pause = tonumber(arguments[5])
    position, exhausted = start, false
    if upload > 0 then
        wrk.method, wrk.body = "POST", string.rep("x", upload)
    end
    if pause > 0 then
        -- From nothing to twice as long, or all connections would soon ask in the same moment.
        function delay()
            return math.random(0, 2 * pause)
        end
    end
    if path == "-" then
        return
    end

    local file = assert(io.open(path, "rb"))
    file:seek("set", position)
    local head = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nAuthorization: "
    -- A global, and only now: wrk asks for each request anew when there is one, which costs it a third of its speed.
    function request()
        local line = file:read("*l")
        if not line then
            exhausted = arguments[3] == "once"
            file:seek("set", 0)
            position = 0
            line = file:read("*l")
        end
        position = position + #line + 1
        return head .. line .. "\r\n\r\n"
    end
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '\n{"requests": %d, "bytes": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d, ' ..
        '"position": %d, "exhausted": %s, "p50": %d, "p99": %d}\n',
        summary.requests, summary.bytes, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
        thread:get("position"), tostring(thread:get("exhausted")), latency:percentile(50), latency:percentile(99)))
end
