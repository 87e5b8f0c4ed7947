package auth

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/uuid"

	"gatehouse/internal/password"
)

// ClaimPasswordKeys puts the key that this process hashes with on record, and makes sure that it holds every
// key on record: with one missing, or with another in its place, the users behind it could not log in. It is
// to be called before the first login; its error names the key.
func ClaimPasswordKeys(ctx context.Context, store Store, ring *password.KeyRing) error {
	if err := store.RecordPasswordKey(ctx, ring.Current()); err != nil {
		return err
	}
	recorded, err := store.PasswordKeys(ctx)
	if err != nil {
		return err
	}
	return checkPasswordKeys(recorded, ring.Records())
}

func checkPasswordKeys(recorded, held []password.KeyRecord) error {
	checks := make(map[string][]byte, len(held))
	for _, k := range held {
		checks[k.ID] = k.Check
	}
	for _, k := range recorded {
		switch check, ok := checks[k.ID]; {
		case !ok:
			return fmt.Errorf("PASSWORD_PEPPER lacks the key %q, which is on record for stored passwords", k.ID)
		case !bytes.Equal(check, k.Check):
			return errOtherKey(k.ID)
		}
	}
	return nil
}

func errOtherKey(id string) error {
	return fmt.Errorf("PASSWORD_PEPPER has another key %q than the one on record for stored passwords", id)
}

// PasswordKeyUsers counts the stored hashes under each key on record.
func (s *Service) PasswordKeyUsers(ctx context.Context) (map[string]int64, error) {
	return s.store.PasswordKeyUsers(ctx)
}

// RetirePasswordKey takes a key off the record, after which PASSWORD_PEPPER need not hold it any more. The key
// that ring hashes with is in use even before its first hash. ErrPasswordKeyInUse, ErrPasswordKeyNotFound.
func (s *Service) RetirePasswordKey(ctx context.Context, ring *password.KeyRing, id string) (err error) {
	e := newEvent(ctx, ActionRetirePepper, uuid.Nil, id)
	defer s.told(ctx, &e, &err)
	if id == ring.Current().ID {
		return fmt.Errorf("%w: new passwords are hashed with it", ErrPasswordKeyInUse)
	}
	return s.store.RetirePasswordKey(ctx, e, id)
}
