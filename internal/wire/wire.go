// Package wire owns how users, roles, sessions, events and personal data are written as JSON. The
// HTTP interface and the command line write the same.
package wire

import (
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
)

// User is a user.
type User struct {
	ID        uuid.UUID `json:"id"`
	Username  string    `json:"username"`
	Disabled  bool      `json:"disabled"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"created_at"`
	// These two are there where there is something to tell.
	MustChangePassword bool       `json:"must_change_password,omitzero"`
	PasswordExpiresAt  *time.Time `json:"password_expires_at,omitzero"`
	// These two are there where the account has an address.
	Email         string `json:"email,omitzero"`
	EmailVerified *bool  `json:"email_verified,omitzero"`
	// Factors are there where there is something to tell, for whoever manages users and for the
	// user alone.
	Factors *Factors `json:"factors,omitzero"`
}

// Factors are what a user proves at a login.
type Factors struct {
	TOTP          bool `json:"totp"` // an authenticator app
	Passkeys      int  `json:"passkeys"`
	RecoveryCodes int  `json:"recovery_codes"` // that were not used yet
	Demanded      bool `json:"demanded"`       // by a role
	Passwordless  bool `json:"passwordless"`
}

func factorsOf(u auth.User) Factors {
	return Factors{
		TOTP: u.Factors.TOTP, Passkeys: u.Factors.Passkeys,
		RecoveryCodes: u.Factors.RecoveryCodes, Demanded: u.FactorDemanded,
		Passwordless: u.Passwordless,
	}
}

// WithoutFactors is the form of a user for whoever may not know how the user logs in.
func WithoutFactors(u auth.User) User {
	user := UserOf(u)
	user.Factors = nil
	return user
}

// UserOf is the form of a user.
func UserOf(u auth.User) User {
	user := User{
		ID: u.ID, Username: u.Username.Given, Disabled: u.Disabled(), Roles: u.Roles,
		CreatedAt: u.CreatedAt.UTC(), MustChangePassword: u.MustChangePassword,
		PasswordExpiresAt: utc(u.PasswordExpiresAt), Email: u.Email.Given,
	}
	if factors := factorsOf(u); factors != (Factors{}) {
		user.Factors = &factors
	}
	if u.Email.Given != "" {
		verified := u.Email.Verified()
		user.EmailVerified = &verified
	}
	return user
}

// Account is a user as operators see it: each member is always there.
type Account struct {
	User
	DisabledAt         *time.Time `json:"disabled_at"`
	TokenVersion       int64      `json:"token_version"`
	UpdatedAt          time.Time  `json:"updated_at"`
	MustChangePassword bool       `json:"must_change_password"`
	PasswordExpiresAt  *time.Time `json:"password_expires_at"`
	Email              *string    `json:"email"`
	EmailVerified      bool       `json:"email_verified"`
	Factors            Factors    `json:"factors"`
	InitialSecret      string     `json:"initial_secret,omitempty"` // once, when it is made
}

// AccountOf is the form of a user for operators.
func AccountOf(u auth.User) Account {
	return Account{
		User: UserOf(u), DisabledAt: utc(u.DisabledAt), TokenVersion: u.TokenVersion, UpdatedAt: u.UpdatedAt.UTC(),
		MustChangePassword: u.MustChangePassword, PasswordExpiresAt: utc(u.PasswordExpiresAt),
		Email: orNull(u.Email.Given), EmailVerified: u.Email.Verified(),
		Factors: factorsOf(u),
	}
}

// Role is a role.
type Role struct {
	Name        string            `json:"name"`
	Permissions []auth.Permission `json:"permissions"`
	Factor      bool              `json:"factor"` // whoever has it must have a second factor
	CreatedAt   time.Time         `json:"created_at"`
	UpdatedAt   time.Time         `json:"updated_at"`
}

// RoleOf is the form of a role.
func RoleOf(r auth.Role) Role {
	return Role{r.Name, r.Permissions, r.Factor, r.CreatedAt.UTC(), r.UpdatedAt.UTC()}
}

// Session is a session.
type Session struct {
	ID            uuid.UUID `json:"id"`
	Current       *bool     `json:"current,omitempty"` // whether it is that of who asks: nil for operators
	CreatedAt     time.Time `json:"created_at"`
	LastUsedAt    time.Time `json:"last_used_at"`
	ExpiresAt     time.Time `json:"expires_at"` // if it is not refreshed
	ClientAddress string    `json:"client_address"`
	UserAgent     string    `json:"user_agent"`
	Client        *App      `json:"client"` // null: the client that is built in
	Browser       bool      `json:"browser"`
	// Parent is the session of the browser through which an app was started; null: none.
	Parent *uuid.UUID `json:"parent"`
}

// App is a client, as it is named to users.
type App struct {
	ID    string `json:"id"`
	Title string `json:"title"`
}

// SessionOf is the form of a session.
func SessionOf(s auth.Session) Session {
	return Session{
		ID: s.ID, CreatedAt: s.CreatedAt.UTC(), LastUsedAt: s.LastUsedAt.UTC(), ExpiresAt: s.IdleExpiresAt.UTC(),
		ClientAddress: s.Caller.Address, UserAgent: s.Caller.UserAgent,
		Client: appOf(s.Caller.Client), Browser: s.Browser, Parent: orNull(s.Parent),
	}
}

func appOf(c auth.Client) *App {
	if c.ID == "" {
		return nil
	}
	return &App{c.ID, c.Title}
}

// Event is an event of the audit log.
type Event struct {
	ID            int64       `json:"id"`
	At            time.Time   `json:"at"`
	Action        auth.Action `json:"action"`
	Outcome       string      `json:"outcome"`
	Actor         Actor       `json:"actor"`
	User          *Subject    `json:"user"`
	Target        string      `json:"target"`
	RequestID     string      `json:"request_id"`
	ClientAddress string      `json:"client_address"`
	UserAgent     string      `json:"user_agent"`
	Count         int64       `json:"count"`
}

// Actor is who has caused an event.
type Actor struct {
	Kind     auth.ActorKind `json:"kind"`
	User     *Subject       `json:"user"`
	Operator *string        `json:"operator"` // the name of the system's user
}

// Subject is a user of an event, by the name of now. The name is null if the user is gone.
type Subject struct {
	ID       uuid.UUID `json:"id"`
	Username *string   `json:"username"`
}

// EventOf is the form of an event.
func EventOf(e auth.RecordedEvent) Event {
	return Event{
		ID: e.ID, At: e.At.UTC(), Action: e.Action, Outcome: e.Outcome,
		Actor: actorOf(e), User: subjectOf(e.UserID, e.UserName),
		Target: e.Target, RequestID: e.RequestID, ClientAddress: e.Address, UserAgent: e.UserAgent, Count: e.Count,
	}
}

func actorOf(e auth.RecordedEvent) Actor {
	actor := Actor{Kind: e.By.Kind, User: subjectOf(e.By.ID, e.ActorName)}
	if e.By.Name != "" {
		actor.Operator = &e.By.Name
	}
	return actor
}

func subjectOf(id uuid.UUID, name string) *Subject {
	switch {
	case id == uuid.Nil:
		return nil
	case name == "":
		return &Subject{ID: id}
	}
	return &Subject{id, &name}
}

func orNull[T comparable](v T) *T {
	var unset T
	if v == unset {
		return nil
	}
	return &v
}

func utc(at *time.Time) *time.Time {
	if at == nil {
		return nil
	}
	moved := at.UTC()
	return &moved
}
