package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"gatehouse.example/internal/token"
)

// ActorKind says what sort of actor somebody is.
type ActorKind string

// Kinds of actors.
const (
	ActorAnonymous ActorKind = "anonymous" // has not proved who it is
	ActorUser      ActorKind = "user"
	ActorClient    ActorKind = "client"   // an OAuth client that acts for itself
	ActorOperator  ActorKind = "operator" // at the command line, with the password of the database
	ActorService   ActorKind = "service"  // a replica, by itself
)

// ActorKinds are the kinds of actors that have no account.
func ActorKinds() []ActorKind {
	return []ActorKind{ActorAnonymous, ActorClient, ActorOperator, ActorService}
}

// Actor is who acts. The zero Actor is anonymous and may do nothing.
//
// An Actor is a snapshot. The rights and the token version of a user or a client are those of the
// moment when they were read. A store that makes changes one after the other checks that the
// version is still the same ([Rule]).
type Actor struct {
	Kind        ActorKind // "" is ActorAnonymous
	ID          uuid.UUID // of the user, or the one that stands for the client
	Name        string    // of an operator: the system's user name; else empty
	Version     int64     // the token version of the user or client
	Roles       []string
	Permissions []Permission
}

// Operator is the actor who runs the command line. An operator may do everything, since the
// password of the database gives as much power anyway.
func Operator(name string) Actor { return Actor{Kind: ActorOperator, Name: name} }

// Replica is the actor for what the service does by itself.
func Replica() Actor { return Actor{Kind: ActorService} }

// As returns the user as an actor, with the rights of this User.
func (u User) As() Actor {
	return Actor{
		Kind: ActorUser, ID: u.ID, Version: u.TokenVersion, Roles: u.Roles,
		Permissions: u.Permissions,
	}
}

// May reports whether the actor has a permission, by its name or by the * of its resource.
func (a Actor) May(p Permission) bool {
	switch a.Kind {
	case ActorOperator:
		return true
	case ActorUser, ActorClient:
		return token.ScopeHas(scopeOf(a.Permissions), string(p))
	}
	return false
}

// operates returns nil for an operator. Errors: [ErrForbidden] for all others.
func (a Actor) operates() error {
	if a.Kind != ActorOperator {
		return fmt.Errorf("%w: an operator's", ErrForbidden)
	}
	return nil
}

func (a Actor) has(role string) bool { return slices.Contains(a.Roles, role) }

// Origin is where a request came from. It travels in the context, for three users: the audit log
// records it, mails say it, and the password lane shares its threads by address. It says nothing
// about who acts.
type Origin struct {
	RequestID string
	Address   string
	UserAgent string
	// Language is what the caller reads, as Accept-Language has it (RFC 9110 §12.5.4). It is for
	// the mails that the request causes, and is recorded nowhere else.
	Language string
}

type originKey struct{}

// WithOrigin returns a context whose operations come from an origin.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

func originOf(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}
