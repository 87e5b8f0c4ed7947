-- Asks Gatehouse about a request. Only a 2xx sets txn.gatehouse, without which haproxy.cfg refuses the request.
local identity = { "Remote-User", "Remote-User-Id", "Remote-Groups", "X-Token-Expires" }

core.register_action("gatehouse", { "http-req" }, function(txn)
    local sent = txn.http:req_get_headers()
    -- Of the time-outs, that of the listen section in haproxy.cfg comes first.
    local answer = core.httpclient():get{
        url = "http://127.0.0.1:8403/verify" .. (txn:get_var("txn.needs") or ""),
        headers = {
            ["authorization"] = sent["authorization"], -- all: Gatehouse refuses two
            ["cookie"] = sent["cookie"],
            ["accept"] = sent["accept"],
            ["x-forwarded-method"] = { txn.f:method() },
            ["x-forwarded-proto"] = { txn:get_var("txn.proto") or "http" },
            ["x-forwarded-host"] = sent["host"],
            ["x-forwarded-uri"] = { txn.f:pathq() },
            ["x-forwarded-for"] = { txn.f:src() },
            ["x-request-id"] = sent["x-request-id"],
        },
    }

    if answer.status == 302 or answer.status == 401 or answer.status == 403 then
        local reply = txn:reply{ status = answer.status, body = answer.body }
        for _, name in ipairs{ "www-authenticate", "content-type", "cache-control", "location" } do
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

-- The cookies of Gatehouse, which no app must get.
local ours = {
    ["__Host-gatehouse"] = true, ["__Secure-gatehouse"] = true, ["gatehouse"] = true,
    ["__Secure-gatehouse-verify"] = true, ["gatehouse-verify"] = true,
}

-- Sets txn.cookies to the cookies for the app. After an error there is none, and so no cookie.
core.register_action("cookies_for_app", { "http-req" }, function(txn)
    local kept = {}
    for _, line in pairs(txn.http:req_get_headers()["cookie"] or {}) do
        for cookie in line:gmatch("[^;]+") do
            cookie = cookie:gsub("^%s+", "")
            if not ours[cookie:match("^([^=]-)%s*=") or ""] then
                kept[#kept + 1] = cookie
            end
        end
    end
    txn:set_var("txn.cookies", table.concat(kept, "; "))
end)
