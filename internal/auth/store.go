package auth

import (
	"context"
	"iter"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// Store keeps the users. Its duties:
//
//   - Every method is atomic, and what it has returned without an error is durable.
//   - Times are the database's, so that replicas with different clocks agree.
//   - An error of the connection, a time-out and an unknown outcome are ErrUnavailable; a context that the
//     caller ended is the context's error. Neither is ever a success or a "not found".
//   - It keeps and returns password hashes as they are, and never logs them.
//   - A method that takes an Event keeps it if it does what it is for, and in the same transaction: of a change and the
//     event that tells of it there are both or neither. If it changes nothing because all is as wanted, it keeps it too.
type Store interface {
	KeyStore

	// InsertUser stores a new, enabled user with a password and roles. ErrUsernameTaken if there is or was one with that key, also if it
	// came into being an instant ago; ErrRoleNotFound.
	InsertUser(ctx context.Context, e Event, id uuid.UUID, username Username, pw StoredPassword, roles ...string) (User, error)

	// UserByID reads what is committed now, never a cache. ErrUserNotFound.
	UserByID(ctx context.Context, id uuid.UUID) (User, error)
	// UserByKey is UserByID by the username's key. ErrUserNotFound.
	UserByKey(ctx context.Context, key string) (User, error)
	// CredentialsByKey is UserByKey with the password hash, for a login. ErrUserNotFound.
	CredentialsByKey(ctx context.Context, key string) (Credentials, error)
	// FindUsers returns at most limit users whom the filter names, with a Prefix of the key, in the order of their keys' bytes,
	// from the first key after the given one.
	FindUsers(ctx context.Context, filter UserFilter, after string, limit int) ([]User, error)
	// DeleteUser removes all that is stored of a user, and keeps the name from others. ErrUserNotFound, ErrLastAdmin.
	DeleteUser(ctx context.Context, e Event, id uuid.UUID) error

	// ImportUsers stores many new users with their roles, and tells how many. However it fails, none is stored.
	// ErrRoleNotFound, ErrTooManyRights, ErrUsernameTaken if it was that of a user who was deleted meanwhile.
	ImportUsers(ctx context.Context, e Event, i Import) (int, error)
	// ExportUsers gives every user to each, in the order of their ids, as they all were at one moment, and holds one at a
	// time. An error of each ends it, and is its error.
	ExportUsers(ctx context.Context, each func(UserRecord) error) error

	// DisableUser disables a user, raises the token version and ends the user's sessions, unless the user is disabled
	// already: then nothing changes. ErrUserNotFound, also if unlessChanged is given and not the user's UpdatedAt;
	// ErrLastAdmin.
	DisableUser(ctx context.Context, e Event, key string, unlessChanged *time.Time) (User, error)
	// EnableUser undoes DisableUser, but leaves the token version. ErrUserNotFound as there.
	EnableUser(ctx context.Context, e Event, key string, unlessChanged *time.Time) (User, error)

	// By returns the store for changes that a user makes. DisableUser, EnableUser, RequirePasswordChange, DeleteUser, SetRole, DeleteRole, GrantRole
	// and RevokeRole are ErrInvalidToken there unless the user is enabled and has this token version at the time of the
	// change: whatever takes an admin's rights is not undone by what he had sent off before.
	By(actor User) Store

	// RoleByName finds a role. ErrRoleNotFound.
	RoleByName(ctx context.Context, name string) (Role, error)
	// ListRoles returns all roles by name.
	ListRoles(ctx context.Context) ([]Role, error)
	// SetRole stores a role with these permissions if the condition holds, and tells whether it is new. If it had others,
	// it raises its version and the token versions of those who have it. ErrChanged, ErrRoleBuiltIn, ErrTooManyRights.
	SetRole(ctx context.Context, e Event, name string, permissions []Permission, when Condition) (isNew bool, err error)
	// DeleteRole removes a role, also from users, whose token versions it raises. ErrRoleNotFound, ErrChanged,
	// ErrRoleBuiltIn.
	DeleteRole(ctx context.Context, e Event, name string, when Condition) error
	// GrantRole gives a user a role and raises the token version, unless the user has it. ErrUserNotFound,
	// ErrRoleNotFound, ErrTooManyRights.
	GrantRole(ctx context.Context, e Event, userID uuid.UUID, role string) error
	// RevokeRole takes a role and raises the token version, unless the user has it not. ErrUserNotFound, ErrLastAdmin.
	RevokeRole(ctx context.Context, e Event, userID uuid.UUID, role string) error

	// SetPassword replaces the password, raises the token version and ends the user's sessions. ErrUserNotFound.
	SetPassword(ctx context.Context, e Event, key string, pw StoredPassword) (User, error)
	// RequirePasswordChange has a user change the password, raises the token version and ends the user's sessions.
	// ErrUserNotFound as DisableUser.
	RequirePasswordChange(ctx context.Context, e Event, key string, unlessChanged *time.Time) (User, error)
	// ReplacePassword is SetPassword, for good, of a user who has not changed meanwhile and whose password has not expired.
	// ErrUserNotFound.
	ReplacePassword(ctx context.Context, e Event, user User, passwordHash string) (User, error)
	// RehashPassword replaces a hash by another one of the same password, if it is still oldHash; else it
	// changes nothing, since whoever was first knew better.
	RehashPassword(ctx context.Context, id uuid.UUID, oldHash, newHash string) error

	// StartSession stores a session and ends those that its user then has too many of. ErrUserNotFound if the user is
	// disabled or has another token version than in the session's User, or if the client is disabled.
	StartSession(ctx context.Context, e Event, session NewSession) error
	// SessionByID reads what is committed now, never a cache. ErrSessionNotFound.
	SessionByID(ctx context.Context, id uuid.UUID) (SessionState, error)
	// RotateSession moves the counter of a live session on from the given number, and its idle expiry. It tells whether
	// it did: of many callers with one number, one does.
	RotateSession(ctx context.Context, e Event, id uuid.UUID, counter int64, idle time.Duration) (bool, error)
	// EndSession ends a session of a user and revokes its tokens. It tells whether there was one to end.
	EndSession(ctx context.Context, e Event, userID, id uuid.UUID, reason string) (bool, error)
	// EndSessions is EndSession of all of a user's but one. It tells how many.
	EndSessions(ctx context.Context, e Event, userID, keep uuid.UUID, reason string) (int64, error)
	// ListSessions returns at most limit live sessions of a user, the newest first, from the first before the given id.
	ListSessions(ctx context.Context, userID, before uuid.UUID, limit int) ([]Session, error)
	// ChangePassword is SetPassword for a user who has not changed meanwhile, and who keeps one session that is not over: it
	// moves on as by RotateSession. ErrUserNotFound, ErrSessionNotFound.
	ChangePassword(ctx context.Context, e Event, user User, sessionID uuid.UUID, passwordHash string, idle time.Duration) (SessionState, error)

	// InsertClient stores a new, enabled client, and tells when. ErrClientIDTaken.
	InsertClient(ctx context.Context, e Event, client StoredClient) (time.Time, error)
	// ClientByID reads what is committed now, never a cache. ErrClientNotFound.
	ClientByID(ctx context.Context, id string) (StoredClient, error)
	// ListClients returns all clients by id.
	ListClients(ctx context.Context) ([]OAuthClient, error)
	// DisableClient disables a client, raises its token version and ends its sessions. ErrClientNotFound.
	DisableClient(ctx context.Context, e Event, id string) error
	// EnableClient undoes DisableClient; sessions stay ended. ErrClientNotFound.
	EnableClient(ctx context.Context, e Event, id string) error
	// RotateClientSecret gives a confidential client another secret, beside the one that it has, and ends an older one.
	// ErrClientNotFound.
	RotateClientSecret(ctx context.Context, e Event, id string, digest SecretDigest) error
	// RetireClientSecret ends the older one of a confidential client's secrets, if there are two. ErrClientNotFound.
	RetireClientSecret(ctx context.Context, e Event, id string) error

	// GrantClientRole gives a client a role and raises its token version, unless it has it. ErrClientNotFound, ErrRoleNotFound,
	// ErrTooManyRights.
	GrantClientRole(ctx context.Context, e Event, id, role string) error
	// RevokeClientRole takes a role and raises the token version, unless the client has it not. ErrClientNotFound.
	RevokeClientRole(ctx context.Context, e Event, id, role string) error

	// RecordPasswordKey puts a key on record, unless its id is there already (whatever its check value).
	RecordPasswordKey(ctx context.Context, key password.KeyRecord) error
	// PasswordKeys returns the keys on record, the oldest first.
	PasswordKeys(ctx context.Context) ([]password.KeyRecord, error)
	// PasswordKeyUsers counts the hashes that were made under each key on record.
	PasswordKeyUsers(ctx context.Context) (map[string]int64, error)
	// RetirePasswordKey takes a key off the record. ErrPasswordKeyInUse, ErrPasswordKeyNotFound.
	RetirePasswordKey(ctx context.Context, e Event, id string) error

	// RecordEvent keeps an event by itself: that of something refused.
	RecordEvent(ctx context.Context, e Event) error
	// FindEvents returns at most limit events that the filter names, the newest first, from the first before a position.
	FindEvents(ctx context.Context, filter EventFilter, before EventPosition, limit int) ([]RecordedEvent, error)
	// PruneEvents drops the months of events that ended longer ago, and returns their names.
	PruneEvents(ctx context.Context, e Event, olderThan time.Duration) ([]string, error)
}

// Import is what Store.ImportUsers is to do.
type Import struct {
	// Users are read once, and none is kept in memory. An error in the sequence ends the import, and is its error.
	Users iter.Seq2[ImportedUser, error]
	// Keys are put on record, those under which a hash was made.
	Keys []password.KeyRecord
	// Skipped is told, after all of Users were read, which were left out because their name's key was taken: by the user of
	// an earlier line, which is first, or, where first is the line itself, by one that was there before. Their order is that
	// of the lines.
	Skipped func(line, first int)
	// Keep is asked last. If it has an error, nothing is stored, and that is the import's error.
	Keep func() error
}
