package auth

import (
	"fmt"
	"slices"
	"strings"
)

// managesClient keeps those who manage clients from giving an app more than they have. A client
// gets tokens of its users, wherever its redirect URIs lead, and tokens of its own. So an actor
// without all of Gatehouse's permissions manages only clients whose scope is bounded to what the
// actor has, and whose roles the actor has. Clients that rule accounts or have Gatehouse's own
// permissions in their scope are for those with all of Gatehouse's permissions. So are clients that
// are told of logouts by http, which is for this machine alone: other services here may take what
// is sent to them without asking who it is of. Errors: [ErrBeyondRights].
func managesClient(by Actor, c Client) error {
	if by.May(everything) {
		return nil
	}
	words := strings.Fields(c.Scope)
	switch {
	case len(words) == 0: // as first-party clients are
		return fmt.Errorf("%w: a client without a scope", ErrBeyondRights)
	case slices.ContainsFunc(words, isOwn):
		return fmt.Errorf("%w: a client with permissions of Gatehouse", ErrBeyondRights)
	case strings.HasPrefix(c.BackchannelLogoutURI, "http:"):
		return fmt.Errorf("%w: a back-channel logout URI on this machine", ErrBeyondRights)
	case c.RequiredRole != "" && !by.has(c.RequiredRole):
		return fmt.Errorf("%w: the required role", ErrBeyondRights)
	}
	for _, role := range c.Roles {
		if !by.has(role) {
			return fmt.Errorf("%w: a role of the client", ErrBeyondRights)
		}
	}
	given := slices.Clone(c.Permissions)
	for _, word := range words {
		given = append(given, Permission(word))
	}
	return mayGive(by, given)
}

// mayAddClient is the rule for a new client. Errors: [ErrRoleNotFound], [ErrBeyondRights].
func mayAddClient(by Actor, n Client) Rule {
	return Judged(func(seen Sight) error {
		if seen.Role.Name != n.RequiredRole {
			return ErrRoleNotFound
		}
		return managesClient(by, n)
	})
}

// mayChangeClient is the rule for a change of a client. Errors: [ErrClientNotFound],
// [ErrBeyondRights]; [ErrChanged] if asSeen is given and returns false.
func mayChangeClient(by Actor, asSeen func(Client) bool) Rule {
	return Judged(func(seen Sight) error {
		if seen.Client.ID == "" {
			return ErrClientNotFound
		}
		if err := managesClient(by, seen.Client); err != nil {
			return err
		}
		if asSeen != nil && !asSeen(seen.Client) {
			return fmt.Errorf("%w: client", ErrChanged)
		}
		return nil
	})
}

// maySetClient is mayChangeClient, and also wants the role that the client will require to exist.
// It adds [ErrRoleNotFound].
func maySetClient(by Actor, change ClientChange, asSeen func(Client) bool) Rule {
	return Judged(func(seen Sight) error {
		if err := mayChangeClient(by, asSeen).Judge(seen); err != nil {
			return err
		}
		if seen.Role.Name != change.role() {
			return ErrRoleNotFound
		}
		return nil
	})
}

// mayGiveRoleToClient is the rule for giving a client a role of its own, and for taking it. Errors:
// [ErrClientNotFound], [ErrRoleNotFound], [ErrBeyondRights].
func mayGiveRoleToClient(by Actor) Rule {
	return Judged(func(seen Sight) error {
		if err := mayChangeClient(by, nil).Judge(seen); err != nil {
			return err
		}
		return mayGiveRole(by).Judge(seen)
	})
}
