package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/app"
	"gatehouse/internal/auth"
	"gatehouse/internal/config"
	"gatehouse/internal/token"
)

type keyCommand struct {
	List   keyList   `cmd:"" help:"List the keys that sign access tokens, with what each waits for."`
	Rotate keyRotate `cmd:"" help:"Have a new key sign, without a refused token: publish it, wait, activate it, wait, retire the one before. Run it again after an interruption."`
	Retire keyRetire `cmd:"" help:"End a key whose tokens are dead, or that has not signed yet."`
	Revoke keyRevoke `cmd:"" help:"Refuse all tokens that a key signed, at once: for a key that leaked."`
	Rewrap keyRewrap `cmd:"" help:"Encrypt the private keys under the first key of SECRET_KEY, so that the others may go."`
}

type keyLine struct {
	Key         string          `json:"key"`
	Algorithm   token.Algorithm `json:"algorithm"`
	State       auth.KeyState   `json:"state"`
	CreatedAt   time.Time       `json:"created_at"`
	ActivatedAt *time.Time      `json:"activated_at"`
	RetiringAt  *time.Time      `json:"retiring_at"`
	EndedAt     *time.Time      `json:"ended_at"`
	MaySign     *time.Time      `json:"may_sign_at,omitempty"`   // of the next key
	MayRetire   *time.Time      `json:"may_retire_at,omitempty"` // of a retiring one
}

func lineOfKey(k auth.SigningKey) keyLine {
	line := keyLine{
		Key: k.ID, Algorithm: k.Algorithm, State: k.State, CreatedAt: k.CreatedAt, ActivatedAt: k.ActivatedAt,
		RetiringAt: k.RetiringAt, EndedAt: k.EndedAt,
	}
	switch k.State {
	case auth.KeyNext:
		line.MaySign = new(k.MaySign())
	case auth.KeyRetiring:
		line.MayRetire = new(k.MayRetire())
	}
	return line
}

// note says what a key waits for.
func (l keyLine) note() string {
	switch {
	case l.MaySign != nil:
		return "may sign from " + timeOr(l.MaySign, "")
	case l.MayRetire != nil:
		return "may be retired from " + timeOr(l.MayRetire, "")
	case l.EndedAt != nil:
		return "since " + timeOr(l.EndedAt, "")
	}
	return "since " + timeOr(l.ActivatedAt, "")
}

type keyList struct {
	adminSettings `embed:""`
	JSON          bool `help:"Print JSON, one line for each key."`
}

// Run lists all keys, the oldest first.
func (c *keyList) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		keys, err := admin.SigningKeys(ctx)
		if err != nil {
			return err
		}
		return printLines(t, c.JSON, []string{"KEY", "ALGORITHM", "STATE", ""}, keys, lineOfKey, func(l keyLine) []string {
			return []string{l.Key, string(l.Algorithm), string(l.State), l.note()}
		})
	})
}

// keySettings are for commands that make keys.
type keySettings struct {
	adminSettings  `embed:""`
	config.Secrets `embed:""`
	Algorithm      token.Algorithm `env:"ALGORITHM" default:"ES256" enum:"HS256,ES256,EdDSA,RS256" help:"Of the new key: HS256, ES256, EdDSA or RS256."`
}

func (s keySettings) withKeys(ctx context.Context, do func(*auth.Service) error) error {
	return s.with(ctx, func(admin *app.Admin) error {
		keys, err := admin.Keys(s.Secrets, s.Algorithm)
		if err != nil {
			return err
		}
		return do(keys)
	})
}

type keyRotate struct {
	keySettings `embed:""`
	Wait        bool `default:"true" negatable:"" help:"Wait until it is done. The service goes on with a rotation by itself too."`
}

// lookAgain is how often a rotation that waits looks whether a replica has done the step.
const lookAgain = 2 * time.Second

// Run rotates. What it waits for is told on standard error.
func (c *keyRotate) Run(ctx context.Context, t terminal) error {
	return c.withKeys(ctx, func(s *auth.Service) error {
		r := rotation{service: s, t: t}
		if err := r.begin(ctx, c.Algorithm); err != nil {
			return err
		}
		for {
			wait, err := r.step(ctx)
			if err != nil || r.done {
				return err
			}
			if wait != nil && !c.Wait {
				_, err := fmt.Fprintf(t.err, "the service goes on by itself when it is safe: %v\n", wait)
				return err
			}
			if err := r.pause(ctx, wait); err != nil {
				return err
			}
		}
	})
}

// rotation goes from one safe step to the next. All that it knows is in the database, so that it can be ended at any point
// and begun again, beside replicas that do the same.
type rotation struct {
	service *auth.Service
	t       terminal
	told    string
	done    bool
}

// begin makes the next key, unless a rotation is under way.
func (r *rotation) begin(ctx context.Context, algorithm token.Algorithm) error {
	keys, err := r.service.SigningKeys(ctx)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.State == auth.KeyNext || k.State == auth.KeyRetiring {
			r.tell(fmt.Sprintf("going on with the rotation under way: %s is %s", k.ID, k.State))
			return nil
		}
	}
	err = r.service.AddSigningKey(ctx, algorithm)
	if errors.Is(err, auth.ErrKeyPending) { // a replica was first
		return nil
	}
	return err
}

// step does what is safe now, or tells what it waits for.
func (r *rotation) step(ctx context.Context) (wait *auth.TooEarlyError, err error) {
	keys, err := r.service.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	r.done = true
	for _, k := range keys {
		early, waits := k.Early(time.Now()) // an attempt for each look would fill the audit log
		switch {
		case waits:
			r.done = false
			return early, nil
		case k.State == auth.KeyNext:
			r.done = false
			err = r.service.ActivateSigningKey(ctx)
			r.tellDone(err, k.ID+" signs")
		case k.State == auth.KeyRetiring:
			r.done = false
			err = r.service.RetireSigningKey(ctx, k.ID)
			r.tellDone(err, k.ID+" is retired")
		default:
			continue
		}
		if early, ok := errors.AsType[*auth.TooEarlyError](err); ok { // by the clock of the database
			return early, nil
		}
		if errors.Is(err, auth.ErrKeyNotFound) { // a replica was first
			err = nil
		}
		return nil, err
	}
	return nil, nil
}

func (r *rotation) pause(ctx context.Context, wait *auth.TooEarlyError) error {
	if wait == nil {
		return nil
	}
	r.tell(fmt.Sprintf("waiting until %s: %s", wait.At.UTC().Format(time.TimeOnly), wait.Why))
	timer := time.NewTimer(min(wait.Wait, lookAgain))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *rotation) tellDone(err error, what string) {
	if err == nil {
		r.tell(what)
	}
}

// tell says each thing once.
func (r *rotation) tell(line string) {
	if line != r.told {
		fmt.Fprintln(r.t.err, line)
		r.told = line
	}
}

type keyRetire struct {
	adminSettings `embed:""`
	Key           string `arg:"" help:"Id of the key, as key list shows it."`
}

// Run retires a key if that is safe.
func (c *keyRetire) Run(ctx context.Context, t terminal) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.RetireSigningKey(ctx, c.Key); err != nil {
			return err
		}
		_, err := fmt.Fprintln(t.out, "retired", c.Key)
		return err
	})
}

type keyRevoke struct {
	keySettings `embed:""`
	Key         string `arg:"" help:"Id of the key, as key list shows it."`
	Force       bool   `required:"" help:"Everybody whose token the key signed has to refresh it or log in."`
}

// Run revokes a key.
func (c *keyRevoke) Run(ctx context.Context, t terminal) error {
	return c.withKeys(ctx, func(s *auth.Service) error {
		if err := s.RevokeSigningKey(ctx, c.Key); err != nil {
			return err
		}
		_, err := fmt.Fprintln(t.out, "revoked", c.Key)
		return err
	})
}

type keyRewrap struct {
	keySettings `embed:""`
}

// Run encrypts the private keys anew.
func (c *keyRewrap) Run(ctx context.Context, t terminal) error {
	return c.withKeys(ctx, func(s *auth.Service) error {
		n, err := s.RewrapSigningKeys(ctx)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(t.out, "%d keys are encrypted anew\n", n)
		return err
	})
}
