"""The look at a token in FastAPI's OAuth2 tutorial, of each token among the arguments."""
import json
import os
import sys

import jwt
from jwt.exceptions import InvalidTokenError

SECRET_KEY = os.environ["SECRET_KEY"]
ALGORITHM = "HS256"


def current_user(token):
    try:
        payload = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM])
    except InvalidTokenError:
        return None
    return payload.get("sub")


print(json.dumps([current_user(token) for token in sys.argv[1:]]))
