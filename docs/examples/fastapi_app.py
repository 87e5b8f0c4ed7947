"""An app of FastAPI. Its API takes Gatehouse's access tokens, and people log in at Gatehouse."""
import json
import os
import secrets
import time
from base64 import b64encode, urlsafe_b64encode
from hashlib import sha256
from html import escape
from threading import Thread
from urllib.parse import urlencode
from urllib.request import Request, urlopen
from uuid import UUID

import jwt  # PyJWT, with cryptography
from fastapi import Cookie, Depends, FastAPI, Header, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse

GATEHOUSE, AUDIENCE = "http://localhost:8000", "gatehouse"  # ISSUER and AUDIENCE of Gatehouse
APP, CLIENT, SECRET = "http://localhost:9000", "board", os.environ["CLIENT_SECRET"]
ALGORITHMS = ["ES256", "EdDSA", "RS256"]  # never HS256: anybody has the public keys
app = FastAPI()
keys = jwt.PyJWKClient(GATEHOUSE + "/.well-known/jwks.json")  # keeps them for five minutes
revoked = {"exp": 0}


def verified(raw, typ, **claims):
    if jwt.get_unverified_header(raw).get("typ") != typ:
        raise jwt.InvalidTokenError("not of type " + typ)
    key = keys.get_signing_key_from_jwt(raw).key
    return jwt.decode(raw, key, ALGORITHMS, issuer=GATEHOUSE, leeway=5, **claims)


def follow():
    """Keeps what Gatehouse has revoked, by the signed feed."""
    global revoked
    while True:
        try:
            raw = urlopen(GATEHOUSE + "/revocations.jwt", timeout=5).read().decode()
            revoked = verified(raw, "revocations+jwt", options={"require": ["exp", "iss"]})
        except (OSError, jwt.PyJWTError) as error:
            print("no revocations:", error)
        time.sleep(1)


Thread(target=follow, daemon=True).start()


def user(authorization: str = Header(""), access_token: str = Cookie("")):
    """The user of a request, by a bearer token or by the cookie of the login."""
    if time.time() > revoked["exp"]:
        raise HTTPException(503, "nobody knows what was revoked")
    try:
        raw = authorization.removeprefix("Bearer ") or access_token
        token = verified(raw, "at+jwt", audience=AUDIENCE, options={"require": ["exp", "iat", "iss", "aud", "sub"]})
        short = lambda name: urlsafe_b64encode(UUID(token[name]).bytes).rstrip(b"=").decode()
        ended = short("sid") in revoked["sessions"] or token["iat"] < revoked.get("issued_before", 0)
        if ended or token["ver"] < revoked["users"].get(short("sub"), 0):
            raise jwt.InvalidTokenError("revoked")
    except (jwt.PyJWTError, KeyError):
        raise HTTPException(401, "log in", {"WWW-Authenticate": "Bearer"})
    return token["username"]


@app.get("/", response_class=HTMLResponse)
def home(name=Depends(user)):
    return f"<p>Hello, {escape(name)}.<form method=post action=/logout><button>Log out</button></form>"


@app.get("/login")
def login():
    verifier = secrets.token_urlsafe(48)  # ties the code to this browser
    challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {"response_type": "code", "client_id": CLIENT, "redirect_uri": APP + "/callback", "scope": "openid",
             "code_challenge": challenge, "code_challenge_method": "S256"}
    return kept(RedirectResponse(GATEHOUSE + "/authorize?" + urlencode(query)), verifier=verifier)


@app.get("/callback")
def callback(code: str = "", iss: str = "", verifier: str = Cookie("")):
    if iss != GATEHOUSE:  # a code of another issuer is not for Gatehouse (RFC 9207)
        raise HTTPException(403, "the answer is not from Gatehouse")
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": APP + "/callback", "code_verifier": verifier}
    basic = b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
    try:
        answer = urlopen(Request(GATEHOUSE + "/token", urlencode(form).encode(), {"Authorization": "Basic " + basic}))
    except OSError:
        raise HTTPException(403, "the login has failed")
    tokens = json.load(answer)
    return kept(RedirectResponse("/"), access_token=tokens["access_token"], id_token=tokens["id_token"])


@app.post("/logout")
def logout(id_token: str = Cookie("")):
    query = {"id_token_hint": id_token, "post_logout_redirect_uri": APP + "/login"}
    return kept(RedirectResponse(GATEHOUSE + "/end-session?" + urlencode(query), 303), access_token="", id_token="")


def kept(response, **cookies):
    for name, value in cookies.items():
        response.set_cookie(name, value, httponly=True, samesite="lax")  # and secure=True, where the app has TLS
    return response
