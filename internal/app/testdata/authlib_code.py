# A login by discovery, code and PKCE with Authlib: ARGV is URL, client_id, client_secret, the way in which the client
# proves itself, and the redirect URI. It prints a line of JSON after each step, and reads a line before the next.
import json
import sys

import requests
from authlib.common.security import generate_token
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import JsonWebKey, jwt
from authlib.oidc.core import CodeIDToken

url, client_id, secret, way, redirect_uri = sys.argv[1:]
server = requests.get(url + "/.well-known/openid-configuration").json()
session = OAuth2Session(client_id, secret or None, token_endpoint_auth_method=way, redirect_uri=redirect_uri,
                        scope="openid profile", code_challenge_method="S256")
verifier, nonce = generate_token(48), generate_token(16)


def say(**what):
    print(json.dumps(what), flush=True)
    return sys.stdin.readline().strip()


def identity(tokens, expected):
    keys = JsonWebKey.import_key_set(requests.get(server["jwks_uri"]).json())
    claims = jwt.decode(tokens["id_token"], keys, claims_cls=CodeIDToken, claims_params={
        "client_id": client_id, "nonce": expected, "access_token": tokens["access_token"],
    }, claims_options={"iss": {"essential": True, "value": server["issuer"]}})
    claims.validate(leeway=5)
    return claims


address, _ = session.create_authorization_url(server["authorization_endpoint"], code_verifier=verifier, nonce=nonce)
back = say(authorize=address)
first = session.fetch_token(server["token_endpoint"], authorization_response=back, code_verifier=verifier)
claims = identity(first, nonce)
second = session.refresh_token(server["token_endpoint"], refresh_token=first["refresh_token"])
again = identity(second, None)
say(name=claims["name"], nonce=claims["nonce"] == nonce, refreshed=again["sub"] == claims["sub"],
    userinfo=session.get(server["userinfo_endpoint"]).json()["name"])
asked = session.get(server["userinfo_endpoint"]).status_code
try:
    session.refresh_token(server["token_endpoint"], refresh_token=second["refresh_token"])
    say(refresh="let in", userinfo=asked)
except OAuthError as refused:
    say(refresh=refused.error, userinfo=asked)
