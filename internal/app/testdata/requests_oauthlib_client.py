# A login, a refresh and a request with requests-oauthlib: ARGV is URL, client_id, client_secret and "basic" or "form". A
# public client has no secret.
import json
import os
import sys

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the test's service has no TLS

from oauthlib.oauth2 import LegacyApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

url, client_id, secret, way = sys.argv[1:]
session = OAuth2Session(client=LegacyApplicationClient(client_id=client_id))
if way == "basic":
    login = {"auth": HTTPBasicAuth(client_id, secret)}
    refresh = login
else:
    login = {"include_client_id": True, "client_secret": secret or None}
    refresh = {"client_id": client_id}
    if secret:
        refresh["client_secret"] = secret
first = session.fetch_token(url + "/token", username="alice", password=os.environ["TEST_PASSWORD"], **login)
second = session.refresh_token(url + "/token", refresh_token=first["refresh_token"], **refresh)
me = session.get(url + "/users/me")
print(json.dumps({
    "status": me.status_code, "refreshed": first["refresh_token"] != second["refresh_token"], "access_token": second["access_token"],
}))
