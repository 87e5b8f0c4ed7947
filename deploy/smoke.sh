#!/usr/bin/env bash
# Tries docker-compose.yml out: what the stack promises about replicas that die or drain, about
# accounts that are disabled, about restarts and about forged headers. It has a project, a port, a
# network and secrets of its own and leaves nothing behind but the image. Needs Linux, where
# containers' addresses can be reached from the host; curl.
set -euo pipefail
cd "$(dirname "$0")/.."

export COMPOSE_PROJECT_NAME=gatehouse-smoke
export GATEHOUSE_IMAGE=gatehouse:smoke
export PORT=${SMOKE_PORT:-18000}
export MAIL_PORT=${SMOKE_MAIL_PORT:-18025}
export EDGE_NET=${SMOKE_EDGE_NET:-172.16.249}
SECRETS_DIR=$(mktemp -d)
export SECRETS_DIR
url=http://127.0.0.1:$PORT
password='correct horse battery staple'

step() { printf '== %s\n' "$*"; }

fail() {
    printf 'smoke: %s\n' "$*" >&2
    exit 1
}

cleanup() {
    local status=$?
    if [ "$status" -ne 0 ]; then docker compose logs --no-color --tail 50 >&2 || true; fi
    docker compose down --volumes --remove-orphans >/dev/null 2>&1 || true
    rm -rf "$SECRETS_DIR"
    exit "$status"
}
trap cleanup EXIT

up() { docker compose up --detach --wait; }

# expect STATUS WHAT CURL-ARGUMENT...: sends one request and prints the body of the answer.
expect() {
    local want=$1 what=$2 got body=$SECRETS_DIR/body
    shift 2
    got=$(curl --silent --output "$body" --write-out '%{http_code}' --max-time 15 "$@") || true
    if [ "$got" != "$want" ]; then fail "$what: status $got instead of $want: $(cat "$body" 2>/dev/null)"; fi
    cat "$body"
}

register() {
    expect 201 "register $1" "$url/users" --json "{\"username\":\"$1\",\"password\":\"$password\"}" >/dev/null
}

login() { # STATUS NAME [BASE]
    expect "$1" "login of $2" "${3:-$url}/token" --data-urlencode "username=$2" --data-urlencode "password=$password"
}

# token_of NAME: logs in and prints the access token.
token_of() { login 200 "$1" | sed -E 's/.*"access_token":"([^"]+)".*/\1/'; }

me() { # STATUS TOKEN [BASE]
    expect "$1" "GET /users/me at ${3:-$url}" "${3:-$url}/users/me" --header "Authorization: Bearer $2"
}

# mailed ADDRESS: waits for the mail to it, and prints the code in that.
mailed() {
    local id='' mails=http://127.0.0.1:$MAIL_PORT/api/v1 tries=0
    until [ -n "$id" ]; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then fail "no mail to $1"; fi
        id=$(expect 200 'the mails' --get "$mails/search" --data-urlencode "query=to:$1" | sed -nE 's/.*"messages":\[\{"ID":"([^"]+)".*/\1/p')
        [ -n "$id" ] || sleep 0.5
    done
    expect 200 'the mail' "$mails/message/$id" | sed -nE 's/.*\\n([0-9A-Z]{4}-[0-9A-Z]{4})\\r.*/\1/p'
}

replicas() { docker compose ps --quiet gatehouse; }

address_of() {
    docker inspect --format "{{(index .NetworkSettings.Networks \"${COMPOSE_PROJECT_NAME}_edge\").IPAddress}}" "$1"
}

# every_replica COMMAND...: runs it with the base URL of each replica as its last argument.
every_replica() {
    local id
    for id in $(replicas); do "$@" "http://$(address_of "$id"):8000" >/dev/null; done
}

# anonymous BASE: sends a request with the headers that only HAProxy may set.
anonymous() {
    expect 401 'call without token' "$1/users/me" --header 'X-Forwarded-For: 203.0.113.66' \
        --header 'Forwarded: for=203.0.113.66' --header 'X-Request-Id: forged'
}

# survives COMMAND...: ends one of the replicas with COMMAND. While it does, and for 200 calls at
# least, none may fail.
survives() {
    local victim calls=0 ending
    victim=$(replicas | sed -n 1p) # head would end before docker has printed all, and fail it
    "$@" "$victim" >/dev/null &
    ending=$!
    while [ "$calls" -lt 200 ] || kill -0 "$ending" 2>/dev/null; do
        me 200 "$token" >/dev/null
        calls=$((calls + 1))
    done
    wait "$ending" || fail "$* failed"
    if [ "$(docker inspect --format '{{.State.Running}}' "$victim")" = true ]; then fail "$* ended no replica"; fi
    echo "$calls calls"
    up
}

step 'build'
docker compose build
size=$(docker image inspect --format '{{.Size}}' "$GATEHOUSE_IMAGE")
# A dependency that comes by accident would show here. The formats of passkeys brought 1.3 MB, most
# of it the table of a curve that nobody uses here.
if [ "$size" -gt 33000000 ]; then fail "the image has $size bytes; 33 MB are allowed"; fi

step 'up'
if grep -qs '^up:' Makefile; then make up; else deploy/secrets.sh && up; fi
if [ "$(replicas | wc -l)" -ne 3 ]; then fail 'there are not three replicas'; fi

step 'register and log in through HAProxy'
register alice
register bob
token=$(token_of alice)
me 200 "$token" | grep -q '"username":"alice"' || fail 'the token is not for alice'

step 'a token counts at every replica'
every_replica me 200 "$token"

step 'a killed replica costs no call'
survives docker kill

step 'a stopped replica costs no call'
survives docker stop

step 'a forged client address or request id is not believed, through HAProxy or past it'
anonymous "$url" >/dev/null
every_replica anonymous
log=$(docker compose logs --no-color gatehouse)
if grep -qE '203\.0\.113\.66|forged' <<<"$log"; then fail 'a forged header reached the access log'; fi
if grep -qF "\"client\":\"$EDGE_NET.2\"" <<<"$log"; then fail "HAProxy's address stands for its clients'"; fi

step 'a disabled account is refused at every replica'
docker compose exec -T gatehouse /gatehouse user disable alice
every_replica me 401 "$token"
every_replica login 401 alice
me 401 "$token" >/dev/null

step 'the audit log tells of it, and the service cannot take it back'
docker compose exec -T gatehouse /gatehouse audit --user alice --action user.disable | grep -Eq ' user.disable +success +1 +alice +operator(:[^ ]+)? ' ||
    fail 'the audit log has no disabling'
sql() { docker compose exec -T postgres psql --quiet --no-psqlrc --username "$1" --dbname gatehouse --command "$2" 2>&1; }
sql gatehouse_service 'SELECT count(*) FROM audit_events' >/dev/null || fail 'the service cannot read the audit log'
if sql gatehouse_service 'DELETE FROM audit_events'; then fail 'the service can delete from the audit log'; fi
docker compose run --rm migrate audit prune --older-than 365d | grep -q 'months dropped: none' || fail 'the owner cannot prune'

step 'a mail reaches Mailpit, which shows it to this machine'
docker compose exec -T gatehouse /gatehouse mail test alice@example.org | grep '^reply *250 ' >/dev/null || fail 'the relay has no mail'
expect 200 'the mails' "http://127.0.0.1:$MAIL_PORT/api/v1/messages" | grep -q '"Address":"alice@example.org"' || fail 'Mailpit has no mail'

step 'who registers with an address is mailed a code, proves the address, and logs in by it'
registered=$(expect 201 'register carol' "$url/users" --json "{\"username\":\"carol\",\"password\":\"$password\",\"email\":\"carol@example.org\"}")
challenge=$(sed -nE 's/.*"challenge":"([^"]+)".*/\1/p' <<<"$registered")
code=$(mailed carol@example.org)
expect 204 'the code' "$url/email/verify" --json "{\"challenge\":\"$challenge\",\"code\":\"$code\",\"password\":\"$password\"}" >/dev/null
login 200 carol@example.org >/dev/null

step 'accounts outlive the stack'
docker compose down
up
me 200 "$(token_of bob)" | grep -q '"username":"bob"' || fail 'bob is somebody else'
login 401 alice >/dev/null

step 'without replicas, a 503 that says so, and no token in a log'
docker compose stop gatehouse
expect 503 'a link of a mail without replicas' "$url/password/reset/smoke-token" >/dev/null
log=$(docker compose logs --no-color haproxy)
grep -qF '"GET /password/reset/* HTTP/' <<<"$log" || fail 'HAProxy logged no 503'
if grep -qF smoke-token <<<"$log"; then fail 'HAProxy logged the token of a link'; fi
expect 503 'call without replicas' "$url/users/me" --header "Authorization: Bearer $token" | grep -q '"status":503' ||
    fail 'the 503 is no problem document'

step "passed; the image has $size bytes"
