"""The service that FastAPI's tutorial ends with (OAuth2 with a password, bcrypt, and bearer tokens that are JWTs), written
anew: the same libraries, the same way of each request, users in a dictionary. Gatehouse is measured against it.
"""

from datetime import datetime, timedelta
from typing import Optional

from fastapi import Depends, FastAPI, HTTPException, status
from fastapi.security import OAuth2PasswordBearer, OAuth2PasswordRequestForm
from jose import JWTError, jwt
from passlib.context import CryptContext
from pydantic import BaseModel

SECRET_KEY = "the secret key of the bench with 32 bytes or more"
ALGORITHM = "HS256"
LIFETIME = timedelta(minutes=30)

app = FastAPI()
bearer = OAuth2PasswordBearer(tokenUrl="token")
passwords = CryptContext(schemes=["bcrypt"], deprecated="auto")


class User(BaseModel):
    username: str
    email: Optional[str] = None
    full_name: Optional[str] = None
    disabled: Optional[bool] = None


class StoredUser(User):
    hashed_password: str


class Token(BaseModel):
    access_token: str
    token_type: str


# The password is "secret", at cost 12.
USERS = {
    "johndoe": {
        "username": "johndoe",
        "full_name": "John Doe",
        "email": "johndoe@example.com",
        "hashed_password": "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "disabled": False,
    }
}


def find(username):
    return StoredUser(**USERS[username]) if username in USERS else None


def refusal(detail):
    return HTTPException(status.HTTP_401_UNAUTHORIZED, detail, {"WWW-Authenticate": "Bearer"})


async def current_user(token: str = Depends(bearer)):
    try:
        username = jwt.decode(token, SECRET_KEY, algorithms=[ALGORITHM]).get("sub")
    except JWTError:
        raise refusal("Could not validate credentials")
    user = find(username)
    if user is None:
        raise refusal("Could not validate credentials")
    return user


async def active_user(user: User = Depends(current_user)):
    if user.disabled:
        raise HTTPException(status.HTTP_400_BAD_REQUEST, "Inactive user")
    return user


@app.post("/token", response_model=Token)
async def login(form: OAuth2PasswordRequestForm = Depends()):
    user = find(form.username)
    if user is None or not passwords.verify(form.password, user.hashed_password):
        raise refusal("Incorrect username or password")
    claims = {"sub": user.username, "exp": datetime.utcnow() + LIFETIME}
    return {"access_token": jwt.encode(claims, SECRET_KEY, algorithm=ALGORITHM), "token_type": "bearer"}


@app.get("/users/me", response_model=User)
async def read_me(user: User = Depends(active_user)):
    return user
