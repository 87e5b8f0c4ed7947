-- Asks Gatehouse about a request. Only a 2xx sets txn.gatehouse, without which haproxy.cfg refuses the request.
local identity = { "Remote-User", "Remote-User-Id", "Remote-Groups", "X-Token-Expires" }

core.register_action("gatehouse", { "http-req" }, function(txn)
    local sent = txn.http:req_get_headers()
    -- Of the time-outs, that of the listen section in haproxy.cfg comes first.
    local answer = core.httpclient():get{
        url = "http://127.0.0.1:8403/verify" .. (txn:get_var("txn.needs") or ""),
        headers = {
            ["authorization"] = sent["authorization"], -- all: Gatehouse refuses two
            ["x-forwarded-method"] = { txn.f:method() },
            ["x-forwarded-uri"] = { txn.f:pathq() },
            ["x-forwarded-for"] = { txn.f:src() },
            ["x-request-id"] = sent["x-request-id"],
        },
    }

    if answer.status == 401 or answer.status == 403 then
        local reply = txn:reply{ status = answer.status, body = answer.body }
        for _, name in ipairs{ "www-authenticate", "content-type", "cache-control" } do
            for _, value in pairs(answer.headers[name] or {}) do
                reply:add_header(name, value)
            end
        end
        txn:done(reply)
    elseif answer.status >= 200 and answer.status < 300 then
        for _, name in ipairs(identity) do
            local value = answer.headers[name:lower()]
            txn.http:req_set_header(name, value and value[0] or "")
        end
        txn:set_var("txn.gatehouse", "allowed")
    end
end)
