-- http-request lua.verify URL: asks Gatehouse at URL about the request, and answers it unless it is allowed. Whatever
-- is not a plain yes or no is a 503.

local identity = {"remote-user", "remote-user-id", "remote-groups", "x-token-expires"}

local function answer(txn, status, name, value)
    local reply = txn:reply{status = status}
    reply:add_header(name, value)
    txn:done(reply)
end

core.register_action("verify", {"http-req"}, function(txn, url)
    local sent = txn.http:req_get_headers()
    local ask = {["x-forwarded-for"] = {txn.f:src()}}
    for _, name in ipairs({"authorization", "x-request-id"}) do
        for _, value in pairs(sent[name] or {}) do
            ask[name] = ask[name] or {}
            table.insert(ask[name], value)
        end
    end
    local response = core.httpclient():get{url = url, headers = ask, timeout = 5000}
    local got = response.headers or {}
    if response.status == 204 then
        for _, name in ipairs(identity) do
            txn.http:req_set_header(name, got[name] and got[name][0] or "")
        end
    elseif response.status == 401 and got["www-authenticate"] then
        answer(txn, 401, "www-authenticate", got["www-authenticate"][0])
    else
        answer(txn, 503, "retry-after", "5")
    end
end, 1)
