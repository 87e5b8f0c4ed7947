# A login, a refresh, introspection and revocation with Authlib: ARGV is URL, client_id, client_secret and the way in which
# the client proves itself (RFC 7591 §2).
import json
import os
import sys

from authlib.integrations.requests_client import OAuth2Session

url, client_id, secret, way = sys.argv[1:]
session = OAuth2Session(client_id, secret, token_endpoint_auth_method=way)
first = session.fetch_token(url + "/token", grant_type="password", username="alice", password=os.environ["TEST_PASSWORD"])
second = session.refresh_token(url + "/token", refresh_token=first["refresh_token"])
me = session.get(url + "/users/me")


def introspect(token):
    return session.introspect_token(url + "/introspect", token=token, token_type_hint="access_token").json()


live = introspect(second["access_token"])
revoked = session.revoke_token(url + "/revoke", token=second["refresh_token"], token_type_hint="refresh_token")
print(json.dumps({
    "status": me.status_code, "refreshed": first["refresh_token"] != second["refresh_token"], "access_token": second["access_token"],
    "live": live, "revoked": revoked.status_code, "then": introspect(second["access_token"]),
}))
