import sys

import jwt  # PyJWT, with cryptography
from base64 import urlsafe_b64encode
from urllib.request import urlopen
from uuid import UUID

GATEHOUSE, ISSUER, AUDIENCE = sys.argv[1], "http://localhost:8000", "gatehouse"
ALGORITHMS = ["ES256", "EdDSA", "RS256"]  # never HS256: anybody has the public keys
keys = jwt.PyJWKClient(GATEHOUSE + "/.well-known/jwks.json")  # keeps them for five minutes


def verified(raw, typ, **claims):
    if jwt.get_unverified_header(raw).get("typ") != typ:
        raise jwt.InvalidTokenError("not of type " + typ)
    key = keys.get_signing_key_from_jwt(raw).key
    return jwt.decode(raw, key, ALGORITHMS, issuer=ISSUER, leeway=5, **claims)


def revocations():  # a service keeps them, and asks anew each second
    raw = urlopen(GATEHOUSE + "/revocations.jwt", timeout=5).read().decode()
    return verified(raw, "revocations+jwt", options={"require": ["iat", "exp", "iss"]})


def user(raw, revoked):
    token = verified(raw, "at+jwt", audience=AUDIENCE, options={"require": ["exp", "iat", "iss", "aud", "sub"]})
    short = lambda name: urlsafe_b64encode(UUID(token[name]).bytes).rstrip(b"=").decode()
    ended = short("sid") in revoked["sessions"] or token["iat"] < revoked.get("issued_before", 0)
    if ended or token["ver"] < revoked["users"].get(short("sub"), 0):
        raise jwt.InvalidTokenError("revoked")
    return token["username"]


print(user(sys.argv[2], revocations()))
