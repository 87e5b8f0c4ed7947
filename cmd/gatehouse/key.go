package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"gatehouse.example/internal/app"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/token"
)

type keyCommand struct {
	List   keyList   `cmd:"" help:"List the keys that sign access tokens and ID tokens, and what each waits for."`
	Rotate keyRotate `cmd:"" help:"Replace the key that signs access tokens, or those that sign ID tokens. No token is refused: the new key is published, then it signs, then the old key is retired. Run it again if it was interrupted."`
	Retire keyRetire `cmd:"" help:"End a key whose tokens have all expired, or that has not signed yet."`
	Revoke keyRevoke `cmd:"" help:"Refuse all tokens that a key signed, at once. This is for a key that has leaked."`
	Rewrap keyRewrap `cmd:"" help:"Encrypt the private keys, and the secrets of authenticator apps, under the first key of SECRET_KEY, so that the others can be taken off the list."`
	Reset  keyReset  `cmd:"" help:"Begin anew with another SECRET_KEY, after the old one was lost or has leaked. All signing keys are revoked, and new ones are made under the new secret. Everybody has to log in anew."`
}

type keyLine struct {
	Key         string          `json:"key"`
	Use         auth.KeyUse     `json:"use"`
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
		Key: k.ID, Use: k.Use, Algorithm: k.Algorithm, State: k.State, CreatedAt: k.CreatedAt, ActivatedAt: k.ActivatedAt,
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
		keys, err := admin.Keys.List(ctx)
		if err != nil {
			return err
		}
		return printLines(t, c.JSON, []string{"KEY", "USE", "ALGORITHM", "STATE", ""}, keys, lineOfKey, func(l keyLine) []string {
			return []string{l.Key, string(l.Use), string(l.Algorithm), string(l.State), l.note()}
		})
	})
}

// secretSettings are for commands that need the private keys.
type secretSettings struct {
	adminSettings  `embed:""`
	config.Secrets `embed:""`
}

// keySettings are for commands that make keys.
type keySettings struct {
	secretSettings `embed:""`
	Algorithm      token.Algorithm `env:"ALGORITHM" default:"ES256" enum:"HS256,ES256,EdDSA,RS256" help:"Algorithm of a new key of access tokens, where one is made: HS256, ES256, EdDSA or RS256."`
}

func (s keySettings) withKeys(ctx context.Context, do func(*auth.Keys, *auth.KeyPolicy) error) error {
	return s.withKeysOf(ctx, s.Algorithm, do)
}

// withKeysOf does something with a policy whose new keys are of an algorithm.
func (s secretSettings) withKeysOf(ctx context.Context, a token.Algorithm, do func(*auth.Keys, *auth.KeyPolicy) error) error {
	return s.with(ctx, func(admin *app.Admin) error {
		policy, err := admin.KeyPolicy(ctx, s.Secrets, a)
		if err != nil {
			return err
		}
		return do(admin.Keys, policy)
	})
}

type keyRotate struct {
	keySettings `embed:""`
	Use         auth.KeyUse `default:"access" enum:"access,id" help:"Which keys: access, or id. There is a key of ID tokens for each algorithm, and all of them are replaced."`
	Wait        bool        `default:"true" negatable:"" help:"Wait until the rotation is over. With --no-wait, the replicas finish it."`
}

// Run rotates. It says on standard error what it does and what it waits for.
func (c *keyRotate) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.withKeys(ctx, func(keys *auth.Keys, policy *auth.KeyPolicy) error {
		last := ""
		tell := func(step auth.RotationStep) {
			if line := wordsOf(step); line != last {
				fmt.Fprintln(t.err, line)
				last = line
			}
		}
		wait, err := keys.Rotate(ctx, by, policy, auth.RingsFor(c.Use), c.Wait, tell)
		if wait != nil {
			fmt.Fprintf(t.err, "the replicas go on by themselves: %s until %s\n", wait.Why, wait.At.UTC().Format(time.RFC3339))
		}
		return err
	})
}

func wordsOf(step auth.RotationStep) string {
	switch step.Kind {
	case auth.RotationGoesOn:
		return fmt.Sprintf("going on with the rotation under way: %s is %s", step.Key.ID, step.Key.State)
	case auth.RotationActivated:
		return step.Key.ID + " signs"
	case auth.RotationRetired:
		return step.Key.ID + " is retired"
	}
	return fmt.Sprintf("waiting until %s: %s", step.Wait.At.UTC().Format(time.TimeOnly), step.Wait.Why)
}

// endedKeyLine is a key that was ended.
type endedKeyLine struct {
	Key string `json:"key"`
}

type keyRetire struct {
	adminSettings `embed:""`
	JSON          bool   `help:"Print JSON."`
	Key           string `arg:"" help:"Id of the key, as key list shows it."`
}

// Run retires a key if that is safe.
func (c *keyRetire) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		if err := admin.Keys.Retire(ctx, by, c.Key); err != nil {
			return err
		}
		return printDone(t, c.JSON, "key retired", c.Key, endedKeyLine{c.Key})
	})
}

type keyRevoke struct {
	keySettings `embed:""`
	JSON        bool   `help:"Print JSON."`
	Key         string `arg:"" help:"Id of the key, as key list shows it."`
	Force       bool   `required:"" help:"Say that you mean it: everybody whose access token the key signed has to refresh it, or to log in."`
}

// Run revokes a key.
func (c *keyRevoke) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.withKeys(ctx, func(keys *auth.Keys, policy *auth.KeyPolicy) error {
		if err := keys.Revoke(ctx, by, policy, c.Key); err != nil {
			return err
		}
		return printDone(t, c.JSON, "key revoked", c.Key, endedKeyLine{c.Key})
	})
}

type keyRewrap struct {
	secretSettings    `embed:""`
	config.OldSecrets `embed:""`
	JSON              bool `help:"Print JSON."`
}

// rewrappedLine is how much was encrypted anew.
type rewrappedLine struct {
	Keys int `json:"keys_encrypted"`
	Apps int `json:"apps_encrypted"`
}

// Run encrypts the private keys and the secrets of authenticator apps anew.
func (c *keyRewrap) Run(ctx context.Context, t terminal, by auth.Actor) error {
	old, err := c.OldSecrets.Keychain()
	if err != nil {
		return err
	}
	return c.withKeysOf(ctx, token.ES256, func(keys *auth.Keys, policy *auth.KeyPolicy) error {
		done, err := keys.Rewrap(ctx, by, policy, old)
		if err != nil {
			return err
		}
		line := rewrappedLine{done.Keys, done.TOTP}
		text := fmt.Sprintf("%d signing keys, %d authenticator apps", line.Keys, line.Apps)
		return printDone(t, c.JSON, "encrypted anew", text, line)
	})
}

type keyReset struct {
	keySettings  `embed:""`
	confirmation `embed:""`
	JSON         bool `help:"Print JSON."`
}

// resetLine has the ids of the secrets with which all replicas must be restarted.
type resetLine struct {
	SecretKeys []string `json:"secret_keys"`
}

// Run revokes all keys, and makes new ones.
func (c *keyReset) Run(ctx context.Context, t terminal, by auth.Actor) error {
	return c.with(ctx, func(admin *app.Admin) error {
		policy, err := admin.NewKeyPolicy(c.Secrets, c.Algorithm)
		if err != nil {
			return err
		}
		question := "Revoke all signing keys, and have everybody log in anew? All replicas must be restarted with this SECRET_KEY."
		if err := c.confirm(ctx, t, question); err != nil {
			return err
		}
		if err := admin.Keys.Reset(ctx, by, policy); err != nil {
			return err
		}
		ids := policy.SecretIDs()
		return printDone(t, c.JSON, "all keys are revoked; restart all replicas with the SECRET_KEY", strings.Join(ids, ", "), resetLine{ids})
	})
}
