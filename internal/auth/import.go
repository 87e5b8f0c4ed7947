package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// UserRecord is an account as it is carried from one system to another.
type UserRecord struct {
	Username     string
	PasswordHash string // of any form that password.Hasher.Adopt takes
	Disabled     bool
	Roles        []string
	CreatedAt    time.Time // zero: when it is imported

	MustChangePassword bool
	PasswordExpiresAt  *time.Time
}

// ImportLine is a line of a file of accounts.
type ImportLine struct {
	Number int // in the file, from 1
	UserRecord
	Problem string // why the line could not be read as a record; empty if it could
}

// BadLine is a line that was refused, and why: without what it says, since that may be a password hash.
type BadLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// ImportOptions are how an import takes bad lines.
type ImportOptions struct {
	Continue bool          // import the good lines although there are bad ones
	Report   func(BadLine) // gets each bad line, those with a name that is taken last
}

// ImportCount is how many lines were good and how many bad.
type ImportCount struct{ Imported, Refused int }

// ImportedUser is an account that is to be stored by an import.
type ImportedUser struct {
	Line         int
	ID           uuid.UUID
	Username     Username
	PasswordHash string
	Disabled     bool
	Roles        []string  // each once
	CreatedAt    time.Time // zero: now

	MustChangePassword bool
	PasswordExpiresAt  *time.Time
}

// ErrBadLines: there was a bad line, and so nothing was imported.
var ErrBadLines = errors.New("nothing was imported")

// Import makes accounts of lines, in one transaction. An error in the sequence ends it with nothing imported. Passwords
// cannot be looked at, so only their owners' next change holds them to the policy. A hash that needs a password key which
// is not on record has it put there, if the ring holds the key. ErrBadLines; ErrRoleNotFound or ErrTooManyRights if a role
// has changed meanwhile, so that what was said of the lines is no longer true.
func (s *Service) Import(ctx context.Context, ring *password.KeyRing, lines iter.Seq2[ImportLine, error], o ImportOptions) (count ImportCount, err error) {
	e := newEvent(ctx, ActionImportUsers, uuid.Nil, "")
	defer s.told(ctx, &e, &err)
	recorded, err := s.store.PasswordKeys(ctx)
	if err != nil {
		return ImportCount{}, err
	}
	keys, err := usableKeys(recorded, ring.Records())
	if err != nil {
		return ImportCount{}, err
	}
	roles, err := s.permissionsByRole(ctx)
	if err != nil {
		return ImportCount{}, err
	}
	refuse := func(line int, reason string) {
		count.Refused++
		o.Report(BadLine{line, reason})
	}
	good := func(yield func(ImportedUser, error) bool) {
		for line, err := range lines {
			if err != nil {
				yield(ImportedUser{}, err)
				return
			}
			user, err := s.importedUser(line, keys, roles)
			if _, bad := errors.AsType[InputError](err); bad {
				refuse(line.Number, err.Error())
				continue
			}
			if !yield(user, err) {
				return
			}
		}
	}
	count.Imported, err = s.store.ImportUsers(ctx, e, Import{
		Users: good, Keys: ring.Records(),
		Skipped: func(line, first int) { refuse(line, nameTaken(line, first)) },
		Keep: func() error {
			if count.Refused > 0 && !o.Continue {
				return ErrBadLines
			}
			return nil
		},
	})
	return count, err
}

func nameTaken(line, first int) string {
	if first == line {
		return "username: is taken"
	}
	return fmt.Sprintf("username: is that of line %d", first)
}

// importedUser tells all that is wrong with a line as an InputError.
func (s *Service) importedUser(line ImportLine, keys map[string]bool, roles map[string][]Permission) (ImportedUser, error) {
	if line.Problem != "" {
		return ImportedUser{}, InputError{{"line", line.Problem}}
	}
	var wrong InputError
	name, err := newUsername(line.Username)
	if err != nil {
		wrong = append(wrong, FieldError{"username", err.Error()})
	}
	hash, err := s.adoptHash(line.PasswordHash, keys)
	if err != nil {
		wrong = append(wrong, FieldError{"password_hash", err.Error()})
	}
	held := slices.Compact(slices.Sorted(slices.Values(line.Roles)))
	if err := checkImportedRoles(held, roles); err != nil {
		wrong = append(wrong, FieldError{"roles", err.Error()})
	}
	if !line.CreatedAt.IsZero() && !storable(line.CreatedAt) {
		wrong = append(wrong, FieldError{"created_at", badYear})
	}
	switch expires := line.PasswordExpiresAt; {
	case expires != nil && !line.MustChangePassword:
		wrong = append(wrong, FieldError{"password_expires_at", "must not be there without must_change_password"})
	case expires != nil && !storable(*expires):
		wrong = append(wrong, FieldError{"password_expires_at", badYear})
	}
	if wrong != nil {
		return ImportedUser{}, wrong
	}
	id, err := uuid.NewV7()
	if err != nil {
		return ImportedUser{}, fmt.Errorf("user id: %w", err)
	}
	return ImportedUser{line.Number, id, name, hash, line.Disabled, held, line.CreatedAt, line.MustChangePassword, line.PasswordExpiresAt}, nil
}

// checkImportedRoles names no role: in a file whose columns are mixed up, it may be a password.
func checkImportedRoles(held []string, known map[string][]Permission) error {
	var permissions []Permission
	for _, name := range held {
		permitted, ok := known[name]
		if !ok {
			return ErrRoleNotFound
		}
		permissions = append(permissions, permitted...)
	}
	if !fitIntoToken(held, slices.Compact(slices.Sorted(slices.Values(permissions)))) {
		return ErrTooManyRights
	}
	return nil
}

func (s *Service) permissionsByRole(ctx context.Context) (map[string][]Permission, error) {
	roles, err := s.store.ListRoles(ctx)
	byName := make(map[string][]Permission, len(roles))
	for _, r := range roles {
		byName[r.Name] = r.Permissions
	}
	return byName, err
}

const badYear = "must be of a year from 1970 to 9999"

// storable is false for years that RFC 3339 has not.
func storable(at time.Time) bool { return 1970 <= at.UTC().Year() && at.UTC().Year() <= 9999 }

func (s *Service) adoptHash(hash string, keys map[string]bool) (string, error) {
	stored, keyID, err := s.hasher.Adopt(hash)
	if err != nil {
		return "", err
	}
	if keyID != "" && !keys[keyID] {
		return "", fmt.Errorf("needs the password key %q, which is neither on record nor in PASSWORD_PEPPER", keyID)
	}
	return stored, nil
}

// usableKeys are those under which hashes can be stored.
func usableKeys(recorded, held []password.KeyRecord) (map[string]bool, error) {
	checks, usable := make(map[string][]byte), make(map[string]bool)
	for _, k := range recorded {
		checks[k.ID], usable[k.ID] = k.Check, true
	}
	for _, k := range held {
		if check, ok := checks[k.ID]; ok && !bytes.Equal(check, k.Check) {
			return nil, errOtherKey(k.ID)
		}
		usable[k.ID] = true
	}
	return usable, nil
}

// Export gives every account to each, in the order of registration, as they all were at one moment. It holds no more
// than one at a time. An error of each ends it. The audit log tells of it before the first account is given away.
func (s *Service) Export(ctx context.Context, each func(UserRecord) error) error {
	if err := s.store.RecordEvent(ctx, newEvent(ctx, ActionExportUsers, uuid.Nil, "")); err != nil {
		return err
	}
	return s.store.ExportUsers(ctx, each)
}
