package auth

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"

	"gatehouse.example/internal/outcome"
	"gatehouse.example/internal/password"
)

// Check makes sure that this process holds every key on record. The error names the missing key.
func (p *Peppers) Check(ctx context.Context) error {
	recorded, err := p.store.PasswordKeys(ctx)
	if err != nil {
		return err
	}
	return checkPasswordKeys(recorded, p.ring.Records())
}

// Claim makes sure that this process holds every key on record, and then records the key that it
// hashes with. Call it before the first login, since users behind a missing key could not log in.
// The error names the missing key, and then nothing is recorded: another process, with the right
// keys, would lack the new one.
func (p *Peppers) Claim(ctx context.Context) error { return p.claim(ctx, true) }

// Prove is [Peppers.Claim] for a command. The command must not bring a key that the replicas lack,
// since none of them would start again. It may bring the very first key, when nothing runs yet.
func (p *Peppers) Prove(ctx context.Context) error { return p.claim(ctx, false) }

func (p *Peppers) claim(ctx context.Context, mayBring bool) error {
	recorded, err := p.store.PasswordKeys(ctx)
	if err != nil {
		return err
	}
	if err := checkPasswordKeys(recorded, p.ring.Records()); err != nil {
		return err
	}
	switch {
	case hasKey(recorded, p.Current()):
		return nil
	case !mayBring && len(recorded) > 0:
		return fmt.Errorf(
			"PASSWORD_PEPPER begins with the key %q, which no replica hashes with; give it the value that the replicas have",
			p.Current(),
		)
	}
	if err := p.store.RecordPasswordKey(ctx, p.ring.Current()); err != nil {
		return err
	}
	return p.Check(ctx) // another process may have brought a key at the same time
}

func hasKey(keys []password.KeyRecord, id string) bool {
	return slices.ContainsFunc(keys, func(k password.KeyRecord) bool { return k.ID == id })
}

// checkPasswordKeys returns nil if every recorded key is held.
func checkPasswordKeys(recorded, held []password.KeyRecord) error {
	checks := make(map[string][]byte, len(held))
	for _, k := range held {
		checks[k.ID] = k.Check
	}
	for _, k := range recorded {
		switch check, ok := checks[k.ID]; {
		case !ok:
			return fmt.Errorf("PASSWORD_PEPPER lacks the key %q, which is on record: add it, or, if no replica hashes with it, run "+
				"`gatehouse pepper retire %s`", k.ID, k.ID)
		case !bytes.Equal(check, k.Check):
			return errOtherKey(k.ID)
		}
	}
	return nil
}

func errOtherKey(id string) error {
	return fmt.Errorf(
		"PASSWORD_PEPPER has another key %q than the one on record; give it the value that the stored passwords were hashed with",
		id,
	)
}

// PepperStore stores the record of the keys of PASSWORD_PEPPER that stored passwords need.
type PepperStore interface {
	// RecordPasswordKey puts a key on record, unless its id is there already (whatever its check
	// value).
	RecordPasswordKey(ctx context.Context, key password.KeyRecord) error
	// PasswordKeys returns the keys on record, the oldest first.
	PasswordKeys(ctx context.Context) ([]password.KeyRecord, error)
	// PasswordKeyUsers counts the hashes that were made under each key on record.
	PasswordKeyUsers(ctx context.Context) (map[string]int64, error)
	// RetirePasswordKey takes a key off the record. Errors: [ErrPasswordKeyInUse],
	// [ErrPasswordKeyNotFound].
	RetirePasswordKey(ctx context.Context, e Event, id string) error
}

// Peppers manages the keys of PASSWORD_PEPPER. This process has a ring of them, and the database a
// record.
type Peppers struct {
	store PepperStore
	ring  *password.KeyRing
	audit *Audit
}

// NewPeppers makes Peppers.
func NewPeppers(store PepperStore, ring *password.KeyRing, audit *Audit) *Peppers {
	return &Peppers{store, ring, audit}
}

// Current names the key that this process hashes with.
func (p *Peppers) Current() string { return p.ring.Current().ID }

// Users counts the stored hashes under each key on record.
func (p *Peppers) Users(ctx context.Context) (map[string]int64, error) {
	return p.store.PasswordKeyUsers(ctx)
}

// Retire takes a key off the record. After that, PASSWORD_PEPPER need not hold it any more. Errors:
// [ErrPasswordKeyInUse], [ErrPasswordKeyNotFound].
//
// A replica that hashes with a retired key can store no password. No record says whether a replica
// does, and a key that is new has no hashes to show it. This process's ring proves that none does
// if it is that of the replicas: then it holds the key, and begins with another key that is on
// record. Otherwise sure is asked. Its error ends the retirement.
func (p *Peppers) Retire(ctx context.Context, by Actor, id string, sure func() error) (err error) {
	e := newEvent(ctx, by, ActionRetirePepper, uuid.Nil, id)
	defer p.audit.told(ctx, &e, &err)
	if err := by.operates(); err != nil {
		return err
	}
	if id == p.Current() {
		return outcome.Detail(ErrPasswordKeyInUse, "new passwords are hashed with it")
	}
	recorded, err := p.store.PasswordKeys(ctx)
	if err != nil {
		return err
	}
	known := hasKey(recorded, p.Current()) && hasKey(p.ring.Records(), id)
	if hasKey(recorded, id) && !known {
		if err := sure(); err != nil {
			return err
		}
	}
	return p.store.RetirePasswordKey(ctx, e, id)
}
