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

	"gatehouse.example/internal/password"
)

// UserRecord is an account as it is carried from one system to another.
type UserRecord struct {
	Username     string
	PasswordHash string // of any form that [password.Hasher.Adopt] takes
	Disabled     bool
	Roles        []string
	CreatedAt    time.Time // zero: the time of the import

	MustChangePassword bool
	PasswordExpiresAt  *time.Time

	Email         string // "": none
	EmailVerified bool
	VerifyUntil   *time.Time // as that of [User]
}

// ImportLine is a line of a file of accounts.
type ImportLine struct {
	Number int // in the file, from 1
	UserRecord
	Problem string // why the line could not be read as a record; empty if it could
}

// BadLine is a line that was refused, and the reason. It does not quote the line, which may have a
// password hash.
type BadLine struct {
	Line   int    `json:"line"`
	Reason string `json:"reason"`
}

// ImportOptions say what an import does with bad lines.
type ImportOptions struct {
	Continue bool          // import the good lines even if there are bad ones
	Report   func(BadLine) // gets each bad line; lines whose name is taken come last
}

// ImportCount is how many lines were good and how many were bad.
type ImportCount struct {
	Imported, Refused int
	// Dear is how many lines have hashes that take so long to compare that others may notice
	// ([password.Costs.OutlastWaiting]). Lines whose names are taken count too.
	Dear int
}

// ImportedUser is an account that an import stores.
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

	Email         Email // its VerifiedAt is not looked at
	EmailVerified bool
	VerifyUntil   *time.Time
}

// TransferStore imports and exports accounts.
type TransferStore interface {
	// PasswordKeys returns the keys of PASSWORD_PEPPER on record, the oldest first.
	PasswordKeys(ctx context.Context) ([]password.KeyRecord, error)
	// ListRoles returns all roles by name.
	ListRoles(ctx context.Context) ([]Role, error)
	// ImportUsers stores many new users with their roles, and returns how many. If it fails, it
	// stores none. Errors: [ErrRoleNotFound], [ErrTooManyRights], [ErrUsernameTaken] if the name is
	// that of a user who was deleted meanwhile. It is that, or [ErrAddressTaken], too if somebody
	// has verified meanwhile an address that is that of a line.
	ImportUsers(ctx context.Context, e Event, i Import) (int, error)
	// ExportUsers calls each with every user, in the order of registration, as they all were at one
	// moment. It holds one user at a time. It ends at the first error of each, and returns it.
	ExportUsers(ctx context.Context, each func(UserRecord) error) error
}

// Import is the input of [TransferStore].ImportUsers.
type Import struct {
	// Users is read once, and no user is kept in memory. An error in the sequence ends the import,
	// and is returned.
	Users iter.Seq2[ImportedUser, error]
	// Keys are recorded if a hash was made under them.
	Keys []password.KeyRecord
	// Skipped is called after all of Users were read, for each user who was left out because the
	// name or the verified address was taken, in the order of the lines. It is that of the line
	// first or, if first is the line itself, that of an account that was there before.
	Skipped func(line, first int, field string)
	// Keep is called last. If it returns an error, nothing is stored, and the import returns that
	// error.
	Keep func() error
}

// Transfer imports and exports accounts with their password hashes. Only an operator may.
type Transfer struct {
	store  TransferStore
	hasher *password.Hasher
	ring   *password.KeyRing
	audit  *Audit
}

// NewTransfer makes a Transfer that accepts hashes under the keys of a ring.
func NewTransfer(
	store TransferStore, hasher *password.Hasher, ring *password.KeyRing, audit *Audit,
) *Transfer {
	return &Transfer{store, hasher, ring, audit}
}

// Import makes accounts from lines, in one transaction. An error in the sequence ends it, and
// nothing is imported. The passwords cannot be seen. So the policy applies to them only when their
// owners next change them. If a hash needs a password key that is not on record, the key is
// recorded, if the ring holds it. Errors: [ErrBadLines]; [ErrRoleNotFound] or [ErrTooManyRights] if
// a role has changed meanwhile, so that what was said of the lines is no longer true.
func (t *Transfer) Import(
	ctx context.Context, by Actor, lines iter.Seq2[ImportLine, error], o ImportOptions,
) (count ImportCount, err error) {
	e := newEvent(ctx, by, ActionImportUsers, uuid.Nil, "")
	defer t.audit.told(ctx, &e, &err)
	if err := by.operates(); err != nil {
		return ImportCount{}, err
	}
	recorded, err := t.store.PasswordKeys(ctx)
	if err != nil {
		return ImportCount{}, err
	}
	keys, err := usableKeys(recorded, t.ring.Records())
	if err != nil {
		return ImportCount{}, err
	}
	roles, err := t.permissionsByRole(ctx)
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
			user, err := t.importedUser(line, keys, roles)
			if _, bad := errors.AsType[InputError](err); bad {
				refuse(line.Number, err.Error())
				continue
			}
			if password.CostsOf(user.PasswordHash).OutlastWaiting() {
				count.Dear++
			}
			if !yield(user, err) {
				return
			}
		}
	}
	count.Imported, err = t.store.ImportUsers(ctx, e, Import{
		Users: good, Keys: t.ring.Records(),
		Skipped: func(line, first int, field string) { refuse(line, taken(line, first, field)) },
		Keep: func() error {
			if count.Refused > 0 && !o.Continue {
				return ErrBadLines
			}
			return nil
		},
	})
	return count, err
}

func taken(line, first int, field string) string {
	if first == line {
		return field + ": is taken"
	}
	return fmt.Sprintf("%s: is that of line %d", field, first)
}

// importedUser reports everything that is wrong with a line. Errors: [InputError].
func (t *Transfer) importedUser(
	line ImportLine, keys map[string]bool, roles map[string][]Permission,
) (ImportedUser, error) {
	if line.Problem != "" {
		return ImportedUser{}, InputError{{"line", line.Problem}}
	}
	var wrong InputError
	name, err := newUsername(line.Username)
	if err != nil {
		wrong = append(wrong, FieldError{"username", err.Error()})
	}
	hash, err := t.adoptHash(line.PasswordHash, keys)
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
		wrong = append(
			wrong,
			FieldError{"password_expires_at", "must not be there without must_change_password"},
		)
	case expires != nil && !storable(*expires):
		wrong = append(wrong, FieldError{"password_expires_at", badYear})
	}
	address, err := newEmail(line.Email)
	switch {
	case err != nil:
		wrong = append(wrong, FieldError{"email", err.Error()})
	case line.EmailVerified && line.Email == "":
		wrong = append(wrong, FieldError{"email_verified", "must not be there without email"})
	}
	switch until := line.VerifyUntil; {
	case until == nil:
	case line.Email == "" || line.EmailVerified:
		wrong = append(wrong,
			FieldError{"verify_until", "must not be there without an email that is not verified"})
	case !storable(*until):
		wrong = append(wrong, FieldError{"verify_until", badYear})
	}
	if wrong != nil {
		return ImportedUser{}, wrong
	}
	return ImportedUser{
		line.Number, uuid.New(), name, hash, line.Disabled, held, line.CreatedAt,
		line.MustChangePassword, line.PasswordExpiresAt, address, line.EmailVerified,
		line.VerifyUntil,
	}, nil
}

// checkImportedRoles names no role in its errors. In a file whose columns are mixed up, it may be a
// password.
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

func (t *Transfer) permissionsByRole(ctx context.Context) (map[string][]Permission, error) {
	roles, err := t.store.ListRoles(ctx)
	byName := make(map[string][]Permission, len(roles))
	for _, r := range roles {
		byName[r.Name] = r.Permissions
	}
	return byName, err
}

const badYear = "must be of a year from 1970 to 9999"

// storable is false for years that RFC 3339 cannot write.
func storable(at time.Time) bool { return 1970 <= at.UTC().Year() && at.UTC().Year() <= 9999 }

func (t *Transfer) adoptHash(hash string, keys map[string]bool) (string, error) {
	stored, keyID, err := t.hasher.Adopt(hash)
	if err != nil {
		return "", err
	}
	if keyID != "" && !keys[keyID] {
		return "",
			fmt.Errorf(
				"needs the password key %q, which is neither on record nor in PASSWORD_PEPPER",
				keyID,
			)
	}
	return stored, nil
}

// usableKeys returns the keys under which hashes can be stored.
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

// Export calls each with every account, in the order of registration, as they all were at one
// moment. It holds one account at a time. It ends at the first error of each. The audit log records
// the export before the first account is given away.
func (t *Transfer) Export(ctx context.Context, by Actor, each func(UserRecord) error) error {
	if err := by.operates(); err != nil {
		return err
	}
	if err := t.audit.record(ctx, newEvent(ctx, by, ActionExportUsers, uuid.Nil, "")); err != nil {
		return err
	}
	return t.store.ExportUsers(ctx, each)
}
