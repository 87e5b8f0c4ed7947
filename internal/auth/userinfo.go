package auth

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// UserInfo is what an app is told of its user (OpenID Connect Core §5.3.2).
type UserInfo struct {
	Subject uuid.UUID
	Disclosure
}

// UserInfo returns what the app of an access token may know of its user. Errors: [ErrInvalidToken];
// [ErrForbidden] if the app did not log in by OpenID Connect.
func (a *Access) UserInfo(ctx context.Context, access token.Access) (UserInfo, error) {
	if access.IsClient() {
		return UserInfo{}, errNoUser
	}
	state, err := liveSession(ctx, a.store, access)
	if err != nil {
		return UserInfo{}, err
	}
	if !slices.Contains(strings.Fields(state.OpenID), ScopeOpenID) {
		return UserInfo{}, fmt.Errorf("%w: the login was without the scope openid", ErrForbidden)
	}
	told := disclosed(state.User, state.OpenID, state.Claims, inUserInfo)
	return UserInfo{Subject: state.User.ID, Disclosure: told}, nil
}
