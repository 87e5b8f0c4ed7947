package db

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"gatehouse.example/db/internal/sqlcgen"
	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/backchannel"
	"gatehouse.example/internal/dbtest"
	"gatehouse.example/internal/passkey"
	"gatehouse.example/internal/password"
	"gatehouse.example/internal/ratelimit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func open(t *testing.T, o Options) *DB {
	t.Helper()
	if o.StatementTimeout == 0 {
		o.StatementTimeout = time.Minute
	}
	d, err := Open(context.Background(), o)
	must(t, err)
	t.Cleanup(d.Close)
	return d
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// plainHash has the form of an imported bcrypt hash, which needs no password key.
var plainHash = "$2a$04$" + strings.Repeat("x", 53)

var plain = auth.StoredPassword{Hash: plainHash}

func anAccount(name, key string) auth.StoredAccount {
	return auth.StoredAccount{
		ID: uuid.Must(uuid.NewV7()), Username: auth.Username{Given: name, Key: key}, Password: plain,
	}
}

func (d *DB) mustInsert(t *testing.T, name string) auth.User {
	t.Helper()
	user, err := d.InsertUser(t.Context(), anEvent(), auth.Freely(), anAccount(name, strings.ToLower(name)))
	must(t, err)
	return user
}

// calls are all the methods of the store, each on a user who is there.
func calls(d *DB, u auth.User) map[string]func(context.Context) error {
	return map[string]func(context.Context) error{
		"InsertUser": func(ctx context.Context) error {
			_, err := d.InsertUser(ctx, anEvent(), auth.Freely(), anAccount("New", "new"))
			return err
		},
		"InsertUser of a stranger": func(ctx context.Context) error {
			a := anAccount("Newé", "newé")
			a.Username.Skeleton = "newé"
			_, err := d.InsertUser(ctx, anEvent(), auth.Freely(), a)
			return err
		},
		"UsernameOfLogin": func(ctx context.Context) error {
			_, _, err := d.UsernameOfLogin(ctx, "alice@example.org", "alice@example.org")
			return err
		},
		"WaitingJobs": func(ctx context.Context) error {
			_, err := d.WaitingJobs(ctx, []string{backchannel.Queue, "another"})
			return err
		},
		"MakeSkeletons": func(ctx context.Context) error { _, err := d.MakeSkeletons(ctx, 3); return err },
		"SigningKeys":   func(ctx context.Context) error { _, err := d.SigningKeys(ctx, true); return err },
		"ChangeSigningKeys": func(ctx context.Context) error {
			return d.ChangeSigningKeys(ctx, anEvent(), func(time.Time, []auth.SigningKey) (auth.KeyChange, error) {
				return auth.KeyChange{Keys: []auth.SigningKey{aKey("k", auth.KeyNext)}, Action: auth.ActionAddKey, Target: "k"}, nil
			})
		},
		"RaiseTokenLifetime": func(ctx context.Context) error { return d.RaiseTokenLifetime(ctx, time.Hour) },
		"UserByID":           func(ctx context.Context) error { _, err := d.UserByID(ctx, u.ID); return err },
		"UserByKey":          func(ctx context.Context) error { _, err := d.UserByKey(ctx, u.Username.Key); return err },
		"CredentialsByKey":   func(ctx context.Context) error { _, err := d.CredentialsByKey(ctx, u.Username.Key); return err },
		"ImportUsers": func(ctx context.Context) error {
			_, err := d.ImportUsers(ctx, anEvent(), importOf("imported"))
			return err
		},
		"ExportUsers": func(ctx context.Context) error {
			return d.ExportUsers(ctx, func(auth.UserRecord) error { return nil })
		},
		"DisableUser": func(ctx context.Context) error {
			_, err := d.DisableUser(ctx, anEvent(), auth.Freely(), u.Username.Key, nil)
			return err
		},
		"EnableUser": func(ctx context.Context) error {
			_, err := d.EnableUser(ctx, anEvent(), auth.Freely(), u.Username.Key, nil)
			return err
		},
		"SetPassword": func(ctx context.Context) error {
			_, err := d.SetPassword(ctx, anEvent(), auth.Freely(), u.Username.Key, plain)
			return err
		},
		"ResetFactors": func(ctx context.Context) error {
			_, err := d.ResetFactors(ctx, anEvent(), auth.Freely(), u.Username.Key)
			return err
		},
		"SealedTOTPs": func(ctx context.Context) error { _, err := d.SealedTOTPs(ctx, uuid.Nil, 1); return err },
		"ResealTOTPs": func(ctx context.Context) error {
			one := []auth.SealedTOTP{{UserID: u.ID, Sealed: make([]byte, 32)}}
			_, err := d.ResealTOTPs(ctx, anEvent(), one, one)
			return err
		},
		"RoleByName": func(ctx context.Context) error { _, err := d.RoleByName(ctx, "admin"); return err },
		"ListRoles":  func(ctx context.Context) error { _, err := d.ListRoles(ctx); return err },
		"SetRole": func(ctx context.Context) error {
			_, err := d.SetRole(ctx, anEvent(), auth.Freely(), "clerk", auth.RoleEdit{}, auth.Condition{})
			return err
		},
		"DeleteRole": func(ctx context.Context) error {
			return d.DeleteRole(ctx, anEvent(), auth.Freely(), "spare", auth.Condition{})
		},
		"GrantRole":  func(ctx context.Context) error { return d.GrantRole(ctx, anEvent(), auth.Freely(), u.ID, "reader") },
		"RevokeRole": func(ctx context.Context) error { return d.RevokeRole(ctx, anEvent(), auth.Freely(), u.ID, "writer") },
		"FindUsers": func(ctx context.Context) error {
			var errs []error
			for _, filter := range []auth.UserFilter{{}, {Prefix: u.Username.Key}, {Disabled: new(bool)}, {Role: "reader"}, {Role: "reader", Disabled: new(bool)},
				{Email: "alice@example.org"}} {
				_, err := d.FindUsers(ctx, filter, "", 1)
				errs = append(errs, err)
			}
			return errors.Join(errs...)
		},
		"DeleteUser": func(ctx context.Context) error { return d.DeleteUser(ctx, anEvent(), auth.Freely(), u.ID) },
		"StartSession": func(ctx context.Context) error {
			_, err := d.StartSession(ctx, anEvent(), auth.NewSession{
				ID: uuid.Must(uuid.NewV7()), User: u, Salt: make([]byte, 16),
				Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: 9},
			})
			return err
		},
		"SessionByID": func(ctx context.Context) error { _, err := d.SessionByID(ctx, u.ID); return err },
		"RenewBrowserSession": func(ctx context.Context) error {
			_, err := d.RenewBrowserSession(ctx, anEvent(), auth.NewSession{
				ID: u.ID, User: u, Browser: true, Methods: []string{"pwd"},
				Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour},
			}, 0)
			return err
		},
		"NoteSessionUse":  func(ctx context.Context) error { return d.NoteSessionUse(ctx, u.ID) },
		"NoteSessionUses": func(ctx context.Context) error { _, err := d.NoteSessionUses(ctx, []uuid.UUID{u.ID}); return err },
		"RedeemCode":      func(ctx context.Context) error { return d.redeemCode(ctx, u) },
		"PruneCodes":      func(ctx context.Context) error { _, err := d.PruneCodes(ctx, time.Hour, 500); return err },
		"ConsentTo":       func(ctx context.Context) error { _, err := d.ConsentTo(ctx, u.ID, "client1"); return err },
		"PutConsent": func(ctx context.Context) error {
			return d.PutConsent(ctx, anEvent(), u.ID, "client1", []string{"openid"})
		},
		"ListConsents": func(ctx context.Context) error {
			_, err := d.ListConsents(ctx, auth.Reach{UserID: u.ID, AllClients: true}, 9)
			return err
		},
		"WithdrawConsent": func(ctx context.Context) error {
			_, err := d.WithdrawConsent(ctx, anEvent(), u.ID, "client1", "logout")
			return err
		},
		"PersonalRecords": func(ctx context.Context) error {
			_, err := d.PersonalRecords(ctx, anEvent(), u.ID, 100)
			return err
		},
		"RotateSession": func(ctx context.Context) error {
			_, err := d.RotateSession(ctx, anEvent(), u.ID, 0, netip.MustParsePrefix("192.0.2.0/24"), time.Hour)
			return err
		},
		"RepeatSession": func(ctx context.Context) error {
			_, err := d.RepeatSession(ctx, anEvent(), u.ID, 0, true)
			return err
		},
		"ListLogins": func(ctx context.Context) error {
			_, err := d.ListLogins(ctx, auth.Reach{UserID: u.ID, AllClients: true}, uuid.Max, 1)
			return err
		},
		"ListSessions": func(ctx context.Context) error {
			_, err := d.ListSessions(ctx, auth.Reach{UserID: u.ID, AllClients: true}, uuid.Max, 1)
			return err
		},
		"EndSession": func(ctx context.Context) error {
			_, err := d.EndSession(ctx, anEvent(), u.ID, uuid.New(), "logout")
			return err
		},
		"Settle":    func(ctx context.Context) error { return d.Settle(ctx) },
		"RevokeAll": func(ctx context.Context) error { _, err := d.RevokeAll(ctx, anEvent(), time.Now()); return err },
		"EndSessions": func(ctx context.Context) error {
			_, err := d.EndSessions(ctx, anEvent(), auth.Freely(), auth.Reach{UserID: u.ID, AllClients: true}, u.ID, "logout")
			return err
		},
		"ChangePassword": func(ctx context.Context) error {
			_, err := d.ChangePassword(ctx, anEvent(), changeOf(u, u.ID))
			return err
		},
		"EnableUser by another": func(ctx context.Context) error {
			e := anEvent()
			e.By = u.As()
			_, err := d.EnableUser(ctx, e, auth.Judged(func(auth.Sight) error { return nil }), u.Username.Key, nil)
			if errors.Is(err, auth.ErrInvalidToken) { // another of the methods has changed the user
				return nil
			}
			return err
		},
		"RequirePasswordChange": func(ctx context.Context) error {
			_, err := d.RequirePasswordChange(ctx, anEvent(), auth.Freely(), u.Username.Key, nil)
			return err
		},
		"ReplacePassword": func(ctx context.Context) error { _, err := d.ReplacePassword(ctx, anEvent(), u, plainHash); return err },
		"RehashPassword":  func(ctx context.Context) error { return d.RehashPassword(ctx, u.ID, plainHash, plainHash) },
		"InsertClient": func(ctx context.Context) error {
			_, err := d.InsertClient(ctx, anEvent(), auth.Freely(), auth.StoredClient{Client: auth.Client{ID: "new", Title: "New"}}, 9)
			return err
		},
		"ClientByID":    func(ctx context.Context) error { _, err := d.ClientByID(ctx, "client1"); return err },
		"ListClients":   func(ctx context.Context) error { _, err := d.ListClients(ctx, "", 9); return err },
		"DisableClient": func(ctx context.Context) error { return d.DisableClient(ctx, anEvent(), auth.Freely(), "client1") },
		"EnableClient":  func(ctx context.Context) error { return d.EnableClient(ctx, anEvent(), auth.Freely(), "client1") },
		"RotateClientSecret": func(ctx context.Context) error {
			return d.RotateClientSecret(ctx, anEvent(), auth.Freely(), "client1", auth.SecretDigest{1})
		},
		"GrantClientRole": func(ctx context.Context) error {
			return d.GrantClientRole(ctx, anEvent(), auth.Freely(), "client1", "reader")
		},
		"RevokeClientRole": func(ctx context.Context) error {
			return d.RevokeClientRole(ctx, anEvent(), auth.Freely(), "client1", "writer")
		},
		"SetClient": func(ctx context.Context) error {
			_, err := d.SetClient(ctx, anEvent(), auth.Freely(), "client1", "", func(c auth.Client) (auth.Client, error) {
				c.Title += "!"
				return c, nil
			})
			return err
		},
		"RetireClientSecret": func(ctx context.Context) error { return d.RetireClientSecret(ctx, anEvent(), auth.Freely(), "client1") },
		"RecordPasswordKey": func(ctx context.Context) error {
			return d.RecordPasswordKey(ctx, password.KeyRecord{ID: "a", Check: make([]byte, 32)})
		},
		"PasswordCosts": func(ctx context.Context) error { _, err := d.PasswordCosts(ctx); return err },
		"RaisePasswordCosts": func(ctx context.Context) error {
			return d.RaisePasswordCosts(ctx, password.Costs{Bcrypt: 15, Argon2id: 9})
		},
		"SecretIDs": func(ctx context.Context) error { _, err := d.SecretIDs(ctx); return err },
		"RenewSecrets": func(ctx context.Context) error {
			return d.RenewSecrets(ctx, []string{strings.Repeat("0", 32)}, func([]string) error { return nil })
		},
		"PasswordKeys":      func(ctx context.Context) error { _, err := d.PasswordKeys(ctx); return err },
		"PasswordKeyUsers":  func(ctx context.Context) error { _, err := d.PasswordKeyUsers(ctx); return err },
		"RetirePasswordKey": func(ctx context.Context) error { return d.RetirePasswordKey(ctx, anEvent(), "a") },
		"TakeRates": func(ctx context.Context) error {
			_, _, err := d.TakeRates(ctx, []auth.Rate{{Limit: ratelimit.Limit{Burst: 1000, Interval: time.Minute}}}, true)
			return err
		},
		"SettleRates": func(ctx context.Context) error {
			return d.SettleRates(ctx, []auth.TakenRate{{State: time.Now()}}, true)
		},
		"GiveBackRates": func(ctx context.Context) error {
			return d.GiveBackRates(ctx, []auth.TakenRate{{State: time.Now()}})
		},
		"UsePasskey": d.proveFactors,
		"ResetRates": func(ctx context.Context) error {
			_, err := d.ResetRates(ctx, anEvent(), auth.Freely(), make([]ratelimit.Key, 2), ratelimit.Key{}, true)
			return err
		},
		"PruneRates":   func(ctx context.Context) error { _, err := d.PruneRates(ctx, 100); return err },
		"RecordEvent":  func(ctx context.Context) error { return d.RecordEvent(ctx, anEvent()) },
		"RecordByRule": func(ctx context.Context) error { return d.RecordByRule(ctx, anEvent(), auth.Freely()) },
		"RecordEvents": func(ctx context.Context) error { return d.RecordEvents(ctx, []auth.Event{anEvent()}) },
		"FindEvents": func(ctx context.Context) error {
			_, err := d.FindEvents(ctx, auth.EventFilter{}, auth.EventPosition{}, 1)
			return err
		},
		"PruneEvents": func(ctx context.Context) error {
			_, err := d.PruneEvents(ctx, anEvent(), auth.Prune{OlderThan: time.Hour})
			if err != nil && strings.Contains(err.Error(), "42501") { // what is there to take out, the owner alone may
				return nil
			}
			return err
		},
		"Growth":             func(ctx context.Context) error { _, err := d.Growth(ctx, time.Hour, time.Hour); return err },
		"Server":             func(ctx context.Context) error { _, err := d.Server(ctx, time.Now); return err },
		"AddEventPartitions": func(ctx context.Context) error { return d.AddEventPartitions(ctx) },
		"SchemaVersion":      func(ctx context.Context) error { _, err := d.SchemaVersion(ctx); return err },
		"SettleMail":         func(ctx context.Context) error { return d.sendMail(ctx, u) },
		"ResetPassword":      d.resetPassword,
		"AcceptInvitation":   d.acceptInvitation,
		"PruneInvitations": func(ctx context.Context) error {
			u, err := d.invite(ctx)
			if err != nil {
				return err
			}
			_, ageErr := d.pool.Exec(ctx, "UPDATE invitations SET created_at = now() - interval '1 year' WHERE user_id = $1", u.ID)
			_, err = d.PruneInvitations(ctx, anEvent(), 100*24*time.Hour, 500)
			return errors.Join(translate("age invitation", ageErr), err)
		},
		"UndoAddress": d.changeAddress,
		"HolderOfAddress": func(ctx context.Context) error {
			_, err := d.HolderOfAddress(ctx, "nobody@example.org")
			if errors.Is(err, auth.ErrUserNotFound) {
				return nil
			}
			return err
		},
		"AddressToProve": func(ctx context.Context) error { _, err := d.AddressToProve(ctx, u.ID); return err },
		"UserOfMail":     func(ctx context.Context) error { _, err := d.UserOfMail(ctx, uuid.New(), auth.MailVerify); return err },
		"PruneUnproved":  d.pruneUnproved,
		"MailsOfUser":    func(ctx context.Context) error { _, err := d.MailsOfUser(ctx, u.ID, 9); return err },
		"UserByLogin":    func(ctx context.Context) error { _, err := d.UserByLogin(ctx, u.Username.Key, ""); return err },
		"ExpireMails": func(ctx context.Context) error {
			e := anEvent()
			_, err := d.ExpireMails(ctx, auth.MailEnd{Outcome: auth.MailDead, Event: &e}, time.Hour, 500)
			return err
		},
		"ChangeFactors":  d.changeFactors,
		"FactorsOf":      func(ctx context.Context) error { _, err := d.FactorsOf(ctx, u.ID); return err },
		"PasskeysOf":     func(ctx context.Context) error { _, err := d.PasskeysOf(ctx, u.ID); return err },
		"ForgetDevices":  func(ctx context.Context) error { return d.ForgetDevices(ctx, anEvent(), u.ID, uuid.Nil) },
		"ClaimPasskeyRP": func(ctx context.Context) error { _, err := d.ClaimPasskeyRP(ctx, "id.test"); return err },
		"PasskeyRP":      func(ctx context.Context) error { _, err := d.PasskeyRP(ctx); return err },
		"PruneProofs":    func(ctx context.Context) error { _, err := d.PruneProofs(ctx, time.Hour, 500); return err },
		"PruneTrustedDevices": func(ctx context.Context) error {
			_, err := d.PruneTrustedDevices(ctx, 500)
			return err
		},
		"PruneMails":       func(ctx context.Context) error { _, err := d.PruneMails(ctx, time.Hour, 500); return err },
		"PruneChallenges":  func(ctx context.Context) error { _, err := d.PruneChallenges(ctx, time.Hour, 500); return err },
		"PruneRevocations": func(ctx context.Context) error { _, err := d.PruneRevocations(ctx, 25*time.Hour, 500); return err },
		"PruneSessions":    func(ctx context.Context) error { _, err := d.PruneSessions(ctx, 2400*time.Hour, 500); return err },
	}
}

// queueMail queues a mail with an event.
func (d *DB) queueMail(ctx context.Context, user uuid.UUID, kind auth.MailKind) (uuid.UUID, error) {
	e, id := anEvent(), uuid.New()
	e.UserID = user
	e.Mails = []auth.QueuedMail{{ID: id, Kind: kind, Sealed: make([]byte, 100), Lifetime: time.Hour}}
	return id, d.RecordEvent(ctx, e)
}

// sendMail sends a mail to a user at the second try.
func (d *DB) sendMail(ctx context.Context, u auth.User) error {
	id, err := d.queueMail(ctx, u.ID, auth.MailNewDevice)
	if err != nil {
		return err
	}
	_, beginErr := d.BeginMail(ctx, id)
	_, _, takeErr := d.TakeMailRates(ctx, id, []auth.Rate{{Limit: ratelimit.Limit{Burst: 1000, Interval: time.Minute}}})
	admitErr, failErr := d.AdmitMail(ctx, id, u.ID), d.FailMail(ctx, id, "451 later")
	_, err = d.SettleMail(ctx, id, auth.MailEnd{Outcome: auth.MailSent})
	return errors.Join(beginErr, takeErr, admitErr, failErr, err)
}

// pruneUnproved deletes a user of its own, whose time to prove the address is over.
func (d *DB) pruneUnproved(ctx context.Context) error {
	a := anAccount(uuid.NewString(), uuid.NewString())
	a.Email = auth.Email{Given: a.Username.Key + "@example.org", Key: a.Username.Key + "@example.org"}
	a.VerifyWithin = new(-time.Hour)
	_, insertErr := d.InsertUser(ctx, anEvent(), auth.Freely(), a)
	_, err := d.PruneUnproved(ctx, anEvent(), 500)
	return errors.Join(insertErr, err)
}

// changeFactors gives a user of its own all factors, calls the passkey another name, and takes them
// away.
func (d *DB) changeFactors(ctx context.Context) error {
	id, passkeyID := uuid.New(), uuid.New()
	u, err := d.InsertUser(ctx, anEvent(), auth.Freely(), auth.StoredAccount{
		ID: id, Username: auth.Username{Given: id.String(), Key: id.String()}, Password: plain,
	})
	if err != nil {
		return err
	}
	if _, err := d.ClaimPasskeyRP(ctx, "id.test"); err != nil {
		return err
	}
	key, challenge := uuid.New(), sha256.Sum256(id[:])
	for n, edit := range []auth.FactorEdit{
		{AddTOTP: &auth.StoredTOTP{Sealed: make([]byte, 48), Step: 1}, Codes: [][]byte{challenge[:]}},
		{AddPasskey: &auth.NewPasskey{
			ID: passkeyID, Name: "Key", Challenge: challenge[:], Lifetime: time.Hour, RPID: "id.test",
			Credential: passkey.Credential{ID: key[:], PublicKey: key[:]},
		}, EndOthers: true},
		{RemoveTOTP: true, Codes: [][]byte{}, EndOthers: true, ForgetDevices: true},
		{RemovePasskey: passkeyID, PasswordHash: plainHash, EndOthers: true, ForgetDevices: true},
	} {
		edit.Before = u
		after, err := d.ChangeFactors(ctx, anEvent(), edit)
		if err != nil {
			return fmt.Errorf("edit %d: %w", n, err)
		}
		if u = after.User; n == 1 {
			if err := d.RenamePasskey(ctx, anEvent(), id, passkeyID, "Another"); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeAddress gives a user of its own an address by a mail, takes it, and brings it back.
func (d *DB) changeAddress(ctx context.Context) error {
	id := uuid.New()
	u, err := d.InsertUser(ctx, anEvent(), auth.Freely(), auth.StoredAccount{
		ID: id, Username: auth.Username{Given: id.String(), Key: id.String()}, Password: plain,
	})
	if err != nil {
		return err
	}
	to := auth.Email{Given: id.String() + "@example.org", Key: id.String() + "@example.org"}
	askErr := d.AskForAddress(ctx, anEvent(), u, to)
	u.Email = to
	challenge := func(kind auth.MailKind, purpose auth.ChallengePurpose) (uuid.UUID, error) {
		mail, err := d.queueMail(ctx, id, kind)
		if err != nil {
			return uuid.Nil, err
		}
		_, err = d.PutChallenge(ctx, anEvent(), auth.NewChallenge{ID: mail, Purpose: purpose, User: u, Email: to})
		return mail, err
	}
	proof, proofErr := challenge(auth.MailVerify, auth.ChallengeVerify)
	if err := errors.Join(askErr, proofErr); err != nil {
		return err
	}
	if u, err = d.ProveAddress(ctx, anEvent(), anEvent(), auth.AddressProof{Challenge: proof, Before: u}); err != nil {
		return err
	}
	if u, err = d.RemoveAddress(ctx, anEvent(), u, uuid.Nil); err != nil {
		return err
	}
	undo, err := challenge(auth.MailAddressChanged, auth.ChallengeUndo)
	if err != nil {
		return err
	}
	_, err = d.UndoAddress(ctx, anEvent(), u, undo)
	return err
}

// resetPassword sets the password of a user of its own by a mail.
func (d *DB) resetPassword(ctx context.Context) error {
	id := uuid.New()
	u, err := d.InsertUser(ctx, anEvent(), auth.Freely(), auth.StoredAccount{
		ID: id, Username: auth.Username{Given: id.String(), Key: id.String()}, Password: plain,
	})
	if err != nil {
		return err
	}
	_, err = d.pool.Exec(ctx, "UPDATE users SET email = $2, email_key = $2, email_verified_at = now() WHERE id = $1", id, id.String()+"@example.org")
	if err != nil {
		return translate("set address", err)
	}
	mail, err := d.queueMail(ctx, uuid.Nil, auth.MailReset)
	if err != nil {
		return err
	}
	_, err = d.PutChallenge(ctx, anEvent(), auth.NewChallenge{
		ID: mail, Purpose: auth.ChallengeReset, User: u,
		Email: auth.Email{Given: id.String() + "@example.org", Key: id.String() + "@example.org"},
	})
	_, openErr := d.OpenChallenge(ctx, mail, auth.ChallengeReset)
	_, _, guessErr := d.GuessChallenge(ctx, mail, auth.ChallengeReset)
	backErr := d.TakeBackGuess(ctx, mail)
	_, resetErr := d.ResetPassword(ctx, anEvent(), mail, plainHash)
	return errors.Join(err, openErr, guessErr, backErr, resetErr)
}

// invite invites somebody.
func (d *DB) invite(ctx context.Context) (auth.User, error) {
	a := anAccount(uuid.NewString(), uuid.NewString())
	a.Email = auth.Email{Given: a.Username.Key + "@example.org", Key: a.Username.Key + "@example.org"}
	a.Password.MustChange, a.Password.GoodFor = true, new(time.Duration)
	if _, err := d.Invite(ctx, anEvent(), auth.Freely(), a); err != nil {
		return auth.User{}, err
	}
	return d.Invite(ctx, anEvent(), auth.Freely(), a)
}

// acceptInvitation accepts an invitation, with another name.
func (d *DB) acceptInvitation(ctx context.Context) error {
	u, err := d.invite(ctx)
	if err != nil {
		return err
	}
	mail, err := d.queueMail(ctx, u.ID, auth.MailInvite)
	if err != nil {
		return err
	}
	if _, err := d.PutChallenge(ctx, anEvent(), auth.NewChallenge{
		ID: mail, Purpose: auth.ChallengeInvite, User: u, Email: u.Email,
	}); err != nil {
		return err
	}
	name := uuid.NewString()
	_, err = d.AcceptInvitation(ctx, anEvent(), auth.Acceptance{
		Challenge: mail, Username: auth.Username{Given: name, Key: name}, Hash: plainHash,
	})
	return err
}

// proveFactors proves all factors of a user of its own, and trusts a device.
func (d *DB) proveFactors(ctx context.Context) error {
	id := uuid.New()
	u, err := d.InsertUser(ctx, anEvent(), auth.Freely(), auth.StoredAccount{
		ID: id, Username: auth.Username{Given: id.String(), Key: id.String()}, Password: plain,
	})
	if err != nil {
		return err
	}
	credential, code := []byte(rand.Text()), sha256.Sum256([]byte("code"))
	for sql, argument := range map[string]any{
		"INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ($1, $2, 0)": make([]byte, 48),
		"INSERT INTO recovery_codes (user_id, digest) VALUES ($1, $2)":             code[:],
		`INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
			VALUES ($1, $1, $2, $2, 'key', 0, $1, false, false, true, '{}')`: credential,
	} {
		if _, err := d.pool.Exec(ctx, sql, id, argument); err != nil {
			return translate("add factors", err)
		}
	}
	proof := func() auth.PendingProof {
		return auth.PendingProof{
			UserID: id, Version: u.TokenVersion, Lifetime: time.Hour,
			Digest: sha256.Sum256([]byte(rand.Text())),
		}
	}
	_, _, readErr := d.PendingLogin(ctx, id, auth.ProofDigest{})
	_, _, tryErr := d.TryFactorCode(ctx, proof(), 100)
	byTOTP, totpErr := d.UseTOTP(ctx, proof(), 1)
	byCode, codeErr := d.UseRecoveryCode(ctx, anEvent(), proof(), code[:])
	_, keysErr := d.PasskeysToProve(ctx, id)
	held, keyErr := d.PasskeyByCredential(ctx, credential)
	e := anEvent()
	byKey, useErr := d.UsePasskey(ctx, &e, auth.PasskeyUse{
		Passkey: held.ID, User: u, SignCount: 1, Redeems: []auth.ProofDigest{proof().Digest},
		Lifetime: time.Hour,
	})
	redeemed, redeemErr := d.RedeemProof(ctx, proof().Digest, time.Hour)
	trustErr := d.TrustDevice(ctx, anEvent(), auth.NewTrustedDevice{
		User: u, Device: id, Lifetime: time.Hour, Most: 20,
	})
	_, trustedErr := d.DeviceIsTrusted(ctx, id, id)
	err = errors.Join(
		readErr, tryErr, totpErr, codeErr, keysErr, keyErr, useErr, redeemErr, trustErr, trustedErr,
	)
	if err == nil && !(byTOTP && byCode && byKey && redeemed) {
		err = fmt.Errorf("used: %t, %t, %t, %t", byTOTP, byCode, byKey, redeemed)
	}
	return err
}

// redeemCode logs a user in in a browser, and an app through it.
func (d *DB) redeemCode(ctx context.Context, u auth.User) error {
	if now, err := d.UserByID(ctx, u.ID); err == nil {
		u = now
	}
	limits := auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: 9}
	browser, code := uuid.New(), auth.CodeDigest(sha256.Sum256([]byte(rand.Text())))
	_, err := d.StartSession(ctx, anEvent(), auth.NewSession{
		ID: browser, User: u, Salt: make([]byte, 16), Limits: limits, Browser: true, Methods: []string{"pwd"},
	})
	if err != nil {
		return err
	}
	client, err := d.ClientByID(ctx, "client0") // which nobody disables
	if err != nil {
		return err
	}
	app := auth.Caller{Client: client.Client}
	err = d.InsertCode(ctx, anEvent(), auth.NewCode{
		Digest: code, SessionID: browser, UserVersion: u.TokenVersion, ClientID: app.Client.ID,
		ClientVersion: client.TokenVersion, RedirectURI: "https://a.example/", Lifetime: time.Minute,
	})
	if err != nil {
		return err
	}
	proved := sha256.Sum256([]byte(rand.Text()))
	err = d.InsertProvedCode(ctx, anEvent(), auth.NewCode{
		Digest: proved, UserID: u.ID, UserVersion: u.TokenVersion, Methods: []string{"pwd"},
		Challenge: strings.Repeat("a", 43), Lifetime: time.Minute,
	})
	if err != nil {
		return err
	}
	_, err = d.RedeemCode(ctx, anEvent(), auth.RedeemableCode{
		Digest: proved, Challenge: strings.Repeat("a", 43),
		Session: auth.NewSession{ID: uuid.New(), Salt: make([]byte, 16), Limits: limits},
	})
	if err != nil {
		return err
	}
	redeemable := auth.RedeemableCode{
		Digest: code, RedirectURI: "https://a.example/", PerParent: 20,
		Session: auth.NewSession{ID: uuid.New(), Salt: make([]byte, 16), Caller: app, Limits: limits},
	}
	_, err = d.RedeemCode(ctx, anEvent(), redeemable)
	_, refusedErr := d.RefusedCode(ctx, redeemable)
	return errors.Join(err, refusedErr)
}

// A database that does not answer must never look like a user who does not exist.
func TestWithoutADatabaseEveryMethodIsUnavailable(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: "postgres://gatehouse:canary-secret@127.0.0.1:1/x?sslmode=disable&connect_timeout=1"})
	for name, call := range calls(d, auth.User{Username: auth.Username{Given: "a", Key: "a"}}) {
		err := call(t.Context())
		if !errors.Is(err, auth.ErrUnavailable) || errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary-secret") {
			t.Errorf("%s shows the password: %v", name, err)
		}
	}
}

func TestAnEndedContextIsTheCallersOwnDoing(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	u := d.mustInsert(t, "alice")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, call := range calls(d, u) {
		if err := call(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, auth.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWithADatabaseEveryMethodWorks(t *testing.T) {
	t.Parallel()
	everyMethodWorks(t, Options{URL: dbtest.New(t)})
}

// A transaction pooler gives each transaction another session: nothing may count on what an earlier
// one has left there.
func TestBehindATransactionPoolerEveryMethodWorks(t *testing.T) {
	t.Parallel()
	everyMethodWorks(t, Options{URL: dbtest.Pooler(t, dbtest.New(t)), Pooled: true})
}

func everyMethodWorks(t *testing.T, o Options) {
	t.Helper()
	d := open(t, o)
	u := d.mustInsert(t, "alice")
	_, err := d.pool.Exec(t.Context(), `
		INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		VALUES ($1, $1, decode(repeat('00', 16), 'hex'), now() + interval '1 h', now() + interval '1 h', '', '')`, u.ID)
	must(t, err)
	_, err = d.pool.Exec(t.Context(), "INSERT INTO clients (client_id, subject, name, secret_digest, grant_types) VALUES ('client1', gen_random_uuid(), 'Client', sha256('x'), '{}'), ('client0', gen_random_uuid(), 'App', NULL, '{}')")
	must(t, err)
	d.seedRoles(t)
	all := calls(d, u)
	for _, first := range []string{"ChangePassword", "RecordPasswordKey"} { // before the user changes; the one that is retired
		must(t, all[first](t.Context()))
	}
	u, err = d.UserByID(t.Context(), u.ID)
	must(t, err)
	all = calls(d, u)
	for _, last := range []string{"StartSession", "ChangePassword", "SetPassword", "DisableUser", "EnableUser", "GrantRole"} {
		must(t, all[last](t.Context()))
		delete(all, last)
	}
	u, err = d.UserByID(t.Context(), u.ID)
	must(t, err)
	must(t, calls(d, u)["ReplacePassword"](t.Context()))
	delete(all, "ReplacePassword")
	remove := all["DeleteUser"]
	delete(all, "DeleteUser")
	for name, call := range all {
		if err := call(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, remove(t.Context()))
}

// changeOf is a change of a user's password from a session.
func changeOf(u auth.User, session uuid.UUID) auth.PasswordChange {
	return auth.PasswordChange{
		SessionID: session, Before: auth.SessionState{User: u}, Salt: []byte("another salt: 16"), Hash: plainHash, Idle: time.Hour,
	}
}

// A session of a user who has changed since the password was read would give a banned user a way
// in.
func TestNoSessionStartsForAUserWhoHasChanged(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	before := d.mustInsert(t, "alice")
	_, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil)
	must(t, err)
	for _, when := range []string{"disabled", "enabled again"} {
		if err := calls(d, before)["StartSession"](t.Context()); !errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", when, err)
		}
		_, err := d.EnableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil)
		must(t, err)
	}
}

// A session that starts while its user's row is being waited for began with the password, or the
// account, that is no more. Its refresh token would give good access tokens all the same.
func TestNoSessionThatStartsMeanwhileOutlivesWhatEndsAll(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	d := open(t, Options{URL: databaseURL})
	login, watch := connectTo(t, databaseURL), connectTo(t, databaseURL)
	_, err := d.InsertClient(t.Context(), anEvent(), auth.Freely(), auth.StoredClient{Client: auth.Client{ID: "client1", Title: "Client"}}, 9)
	must(t, err)
	for _, name := range []string{"SetPassword", "RequirePasswordChange", "ReplacePassword", "ChangePassword", "DisableUser", "DisableClient", "ResetFactors"} {
		u := d.mustInsert(t, name)
		var client auth.Caller
		if name == "DisableClient" {
			client.Client.ID = "client1"
		}
		all, kept := calls(d, u), uuid.UUID{}
		all["ChangePassword"] = func(ctx context.Context) error {
			_, err := d.ChangePassword(ctx, anEvent(), changeOf(u, kept))
			return err
		}
		start := func(on *DB) uuid.UUID {
			session := auth.NewSession{
				ID: uuid.Must(uuid.NewV7()), User: u, Caller: client, Salt: make([]byte, 16),
				Limits: auth.SessionLimits{Idle: time.Hour, Absolute: time.Hour, PerUser: 9},
			}
			_, err := on.StartSession(t.Context(), anEvent(), session)
			must(t, err)
			return session.ID
		}
		kept = start(d)
		tx, err := login.Begin(t.Context())
		must(t, err)
		late := start(&DB{pool: d.pool, queries: d.queries.WithTx(tx)})
		outcome := make(chan error, 1)
		go func() { outcome <- all[name](t.Context()) }()
		asynctest.Await(t, name+" to wait", func() (waits bool) {
			must(t, watch.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_stat_activity
				WHERE wait_event_type = 'Lock' AND datname = current_database())`).Scan(&waits))
			return waits
		})
		must(t, tx.Commit(t.Context()))
		must(t, <-outcome)
		for id, ended := range map[uuid.UUID]bool{kept: name != "ChangePassword", late: true} {
			state, err := d.SessionByID(t.Context(), id)
			if err != nil || (state.EndedAt != nil) != ended {
				t.Errorf("%s: ended at %v, %v", name, state.EndedAt, err)
			}
		}
	}
}

var explainUsers = flag.Int("explain-users", 2000, "users in the database whose query plans are looked at; each has five sessions")

// At millions of rows, one query that reads a table whole is an outage.
func TestNoQueryReadsAGrowingTableWhole(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.Owner(t, dbtest.New(t)), StatementTimeout: time.Hour}) // VACUUM is not for others
	d.fill(t, *explainUsers)
	traced, seen := d.traced(t)
	var u auth.User
	must(t, d.pool.QueryRow(t.Context(), "SELECT id, username_key FROM users LIMIT 1").Scan(&u.ID, &u.Username.Key))
	all := calls(traced, u)
	all["follow"] = func(ctx context.Context) error {
		_, err := traced.queries.ListRevocations(ctx, 30)
		_, backErr := traced.queries.LookBack(ctx, sqlcgen.LookBackParams{ID: 1, At: time.Now()})
		return errors.Join(err, backErr, traced.queries.NotifyListeners(ctx, ""))
	}
	all["withdraw what was allowed"] = func(ctx context.Context) error {
		return errors.Join(all["PutConsent"](ctx), all["WithdrawConsent"](ctx))
	}
	all["put a key of ID tokens"] = func(ctx context.Context) error {
		return traced.queries.PutIDTokenKey(ctx, sqlcgen.PutIDTokenKeyParams{})
	}
	all["prune"] = func(ctx context.Context) error {
		_, err := traced.PruneEvents(ctx, anEvent(), auth.Prune{OlderThan: time.Hour, Refusals: true})
		_, byErr := traced.queries.BlankEventsBy(ctx, []uuid.UUID{u.ID})
		_, ofErr := traced.queries.BlankEventsOf(ctx, []uuid.UUID{u.ID})
		return errors.Join(err, byErr, ofErr)
	}
	explained := map[string]bool{}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(all))) { // so that what deletes comes after what needs it
		_ = all[name](t.Context()) // what it finds does not matter
		for _, s := range seen.take() {
			name := nameOf(s.sql)
			if explained[name] = true; mayReadWhole[name] {
				continue
			}
			for mode, plan := range d.plans(t, s) {
				if readsWhole(plan) {
					t.Errorf("%s, %s:\n%s", name, mode, strings.Join(plan, "\n"))
				}
			}
		}
	}
	for _, name := range queryNames(t) {
		if !explained[name] {
			t.Errorf("nobody has looked at the plan of %s", name)
		}
	}
}

// mayReadWhole are queries of tables with a handful of rows, and those that an operator asks for.
// UsernamesWithoutSkeleton reads an index that has those alone. What the owner prunes the audit log
// by reads all of it. The nameless ask for the version of the schema. FindEvents is looked at by
// TestEventsAreFoundByWhatIsRareInThem, and PersonalEvents has its conditions.
var mayReadWhole = map[string]bool{
	"": true, "InsertPasswordKey": true, "ListPasswordKeys": true, "DeletePasswordKey": true, "CountPasswordKeyUsers": true,
	"PasswordCosts": true, "RaisePasswordCost": true, "ListSecretKeys": true, "RenewSecretKeys": true, "ForgetSecretKeys": true,
	"ListSigningKeys": true, "PutIDTokenKey": true, "RaiseTokenLifetime": true, "ListRoles": true, "ListClients": true, "InsertClient": true, "FindEvents": true, "PersonalEvents": true, "ListEndedAuditPartitions": true,
	"RevokeAll": true, "EndAllSessions": true, // after a restore
	"UsernamesWithoutSkeleton": true,
	"InsertPasskey":            true, "ClaimPasskeyRP": true, "PasskeyRP": true, // the one row of passkey_rp, and one passkey
	"ListForgottenUsers": true, "BlankEventsBy": true, "BlankEventsOf": true, "DeleteRefusals": true,
}

// plans are what the server may choose between once it has prepared a statement: a plan for these
// arguments, and one for any.
func (d *DB) plans(t *testing.T, s statement) map[string][]string {
	t.Helper()
	return d.explain(t, "EXPLAIN", s)
}

func (d *DB) explain(t *testing.T, explain string, s statement) map[string][]string {
	t.Helper()
	conn, err := d.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	execute := explain + " EXECUTE looked_at"
	if len(s.args) > 0 {
		places := make([]string, len(s.args))
		for n := range places {
			places[n] = fmt.Sprintf("$%d", n+1)
		}
		execute += "(" + strings.Join(places, ", ") + ")"
	}
	_, err = conn.Exec(t.Context(), "PREPARE looked_at AS "+s.sql)
	must(t, err)
	plans := map[string][]string{}
	for _, mode := range []string{"force_custom_plan", "force_generic_plan"} {
		_, err = conn.Exec(t.Context(), "SET plan_cache_mode = "+mode)
		must(t, err)
		// A statement of this kind takes no parameters, so they become part of its text.
		rows, err := conn.Query(t.Context(), execute, append([]any{pgx.QueryExecModeSimpleProtocol}, asText(s.args)...)...)
		must(t, err)
		plans[mode], err = pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
	}
	_, err = conn.Exec(t.Context(), "DEALLOCATE looked_at; RESET plan_cache_mode")
	must(t, err)
	return plans
}

// asText writes lists of ids and optional numbers as PostgreSQL does, which pgx cannot do without
// their type.
func asText(args []any) []any {
	written := slices.Clone(args)
	for n, arg := range written {
		switch v := arg.(type) {
		case []uuid.UUID:
			written[n] = strings.NewReplacer("[", "{", "]", "}", " ", ",").Replace(fmt.Sprint(v))
		case *int32:
			if v != nil {
				written[n] = *v
			}
		}
	}
	return written
}

// readsWhole tells whether a plan goes through a table from its first row, or through an index from
// its first entry.
func readsWhole(plan []string) bool {
	for n, line := range plan {
		byIndex := strings.Contains(line, "Index Scan") || strings.Contains(line, "Index Only Scan")
		if strings.Contains(line, "Seq Scan") || byIndex && (n+1 == len(plan) || !strings.Contains(plan[n+1], "Index Cond")) {
			return true
		}
	}
	return false
}

// fill stores as many users, five sessions of each, one of which is over, as many revocations,
// twice as many limits, and roles.
func (d *DB) fill(t *testing.T, users int) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO users (id, username, username_key, password_hash, email, email_key, email_verified_at)
			SELECT gen_random_uuid(), 'user' || n, 'user' || n, '` + plainHash + `', n || '@a.example', n || '@a.example', now() FROM generate_series(1, $1::int) n`,
		`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, ended_at, end_reason, client_address, user_agent)
			SELECT gen_random_uuid(), u.id, decode(repeat('00', 16), 'hex'), at, at, CASE WHEN n = 1 THEN at - interval '30 days' END,
			       CASE WHEN n = 1 THEN 'logout' END, '', ''
			FROM users u, generate_series(1, 5) n, LATERAL (SELECT now() + random() * interval '30 days' AS at) s WHERE $1::int > 0`,
		`INSERT INTO clients (client_id, subject, name, secret_digest, grant_types)
			SELECT 'client' || n, gen_random_uuid(), 'Client', sha256('x'), '{password}' FROM generate_series(1, $1::int) n`,
		`INSERT INTO clients (client_id, subject, name, grant_types) SELECT 'client0', gen_random_uuid(), 'App', '{}' WHERE $1::int > 0`,
		`UPDATE sessions SET client_id = 'client' || (1 + get_byte(uuid_send(id), 0) % $1::int) WHERE get_byte(uuid_send(id), 1) < 64`,
		`INSERT INTO revocations (session_id, at)
			SELECT gen_random_uuid(), now() - random() * interval '1 day' FROM generate_series(1, 5 * $1::int) n`,
		`INSERT INTO authorization_codes (digest, session_id, user_id, token_version, client_id, redirect_uri, auth_time, amr, expires_at)
			SELECT sha256(uuid_send(id)), id, user_id, 1, 'client' || (1 + get_byte(uuid_send(id), 0) % $1::int), 'https://a.example/', now(), '{pwd}', now()
			FROM sessions`,
		`INSERT INTO consents (user_id, client_id, words)
			SELECT id, 'client' || (1 + get_byte(uuid_send(id), 0) % $1::int), '{openid}' FROM users`,
		`INSERT INTO river_job (kind, args, queue, max_attempts, state, finalized_at)
			SELECT 'backchannel_logout', '{}', 'backchannel_logout', 10, s::river_job_state, CASE s WHEN 'completed' THEN now() END
			FROM (SELECT CASE WHEN n % 100 = 0 THEN 'available' ELSE 'completed' END FROM generate_series(1, 5 * $1::int) n) j (s)`,
		`UPDATE users SET email = username || '@example.org', email_key = username || '@example.org', email_verified_at = now() WHERE $1::int > 0`,
		`INSERT INTO mails (id, kind, user_id, sealed, expires_at, outcome, done_at)
			SELECT gen_random_uuid(), 'reset', id, CASE WHEN n = 1 THEN decode(repeat('00', 50), 'hex') END, at,
			       CASE WHEN n > 1 THEN 'sent' END, CASE WHEN n > 1 THEN at END
			FROM users, generate_series(1, 3) n, LATERAL (SELECT now() + random() * interval '30 days' AS at) s WHERE $1::int > 0`,
		`INSERT INTO challenges (id, purpose, user_id, token_version, email, email_key, created_at, expires_at)
			SELECT gen_random_uuid(), p, id, 1, email, email, now(), now() + random() * interval '30 days'
			FROM users, unnest('{reset,verify}'::text[]) p WHERE $1::int > 0`,
		`INSERT INTO invitations (user_id, email_key, created_at)
			SELECT id, email_key, now() - random() * interval '30 days' FROM users WHERE $1::int > 0`,
		`INSERT INTO totp_secrets (user_id, sealed, last_step) SELECT id, decode(repeat('00', 50), 'hex'), 1 FROM users WHERE $1::int > 0`,
		`INSERT INTO recovery_codes (user_id, digest) SELECT id, sha256(n::text::bytea) FROM users, generate_series(1, 10) n WHERE $1::int > 0`,
		`INSERT INTO passkey_rp (rp_id) SELECT 'id.test' WHERE $1::int > 0`,
		`INSERT INTO passkeys (id, user_id, credential_id, public_key, name, sign_count, aaguid, backup_eligible, backed_up, user_verified, transports)
			SELECT gen_random_uuid(), id, uuid_send(gen_random_uuid()), 'x', 'Key', 0, id, false, false, true, '{}'
			FROM users, generate_series(1, 3) n WHERE $1::int > 0`,
		`INSERT INTO trusted_devices (user_id, device_id, expires_at, client_address, user_agent)
			SELECT id, gen_random_uuid(), now() + random() * interval '30 days', '', '' FROM users, generate_series(1, 3) n WHERE $1::int > 0`,
		`INSERT INTO redeemed_proofs (digest, expires_at)
			SELECT sha256(n::text::bytea), now() + random() * interval '1 day' FROM generate_series(1, 10 * $1::int) n`,
		`INSERT INTO rate_limits SELECT sha256(n::text::bytea), n FROM generate_series(1, 10 * $1::int) n`,
		`INSERT INTO username_skeletons (user_id, skeleton, is_alone) -- some are not made yet
			SELECT id, CASE WHEN n > 5 THEN sha256(id::text::bytea) END, n > 5 FROM (SELECT id, row_number() OVER () n FROM users LIMIT $1::int) u`,
	} {
		_, err := d.pool.Exec(t.Context(), statement, users)
		must(t, err)
	}
	d.seedRoles(t)
	_, err := d.pool.Exec(t.Context(), "INSERT INTO client_roles (client_id, role_name) SELECT client_id, 'role' || substr(client_id, 7) FROM clients WHERE substr(client_id, 7)::int BETWEEN 1 AND 2000")
	must(t, err)
	_, err = d.pool.Exec(t.Context(), "VACUUM ANALYZE")
	must(t, err)
}

// nameOf is the name that a statement has in db/queries; empty for others.
func nameOf(sql string) string {
	_, rest, _ := strings.Cut(sql, "-- name: ")
	name, _, _ := strings.Cut(rest, " ")
	return name
}

func queryNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("queries/*.sql")
	must(t, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			if name := nameOf(line); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// seedRoles makes the roles that calls names, many more, and gives each user some.
func (d *DB) seedRoles(t *testing.T) {
	t.Helper()
	for _, statement := range []string{
		"INSERT INTO roles (name) VALUES ('reader'), ('writer'), ('spare')",
		"INSERT INTO roles (name) SELECT 'role' || n FROM generate_series(1, 2000) n",
		"INSERT INTO role_permissions (role_name, permission) SELECT name, p FROM roles, unnest('{a:a,b:b,c:c}'::text[]) p WHERE name <> 'admin'",
		"INSERT INTO user_roles (user_id, role_name) SELECT id, 'role' || n % 2000 + 1 FROM (SELECT id, row_number() OVER () AS n FROM users) u",
		"INSERT INTO user_roles (user_id, role_name) SELECT id, 'role' || (n + 7) % 2000 + 1 FROM (SELECT id, row_number() OVER () AS n FROM users) u",
	} {
		_, err := d.pool.Exec(t.Context(), statement)
		must(t, err)
	}
}

// statements is a tracer that keeps what is sent to the server.
type statements struct{ statements []statement }

type statement struct {
	sql  string
	args []any
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.statements = append(s.statements, statement{data.SQL, data.Args})
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) take() []statement {
	taken := s.statements
	s.statements = nil
	return taken
}

// traced is a DB on the same database whose statements are kept.
func (d *DB) traced(t *testing.T) (*DB, *statements) {
	t.Helper()
	seen := &statements{}
	config := d.pool.Config()
	config.ConnConfig.Tracer = seen
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	traced := &DB{pool: pool, probe: d.probe, pooled: d.pooled}
	traced.queries = sqlcgen.New(newRoomy(traced.retrying()))
	traced.settler = &settler{commit: traced.queries.Settle}
	t.Cleanup(traced.settler.wait)
	return traced, seen
}

func TestNobodyIsNotFound(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	nobody := auth.User{ID: uuid.Must(uuid.NewV7()), Username: auth.Username{Key: "nobody"}}
	all := calls(d, nobody)
	for _, name := range []string{"UserByID", "UserByKey", "CredentialsByKey", "DisableUser", "EnableUser", "SetPassword", "RequirePasswordChange",
		"ReplacePassword", "RevokeRole", "DeleteUser"} {
		if err := all[name](t.Context()); !errors.Is(err, auth.ErrUserNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAUserIsReadAsItWasStored(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	stored := d.mustInsert(t, "Alice")
	if stored.Username != (auth.Username{Given: "Alice", Key: "alice"}) || stored.DisabledAt != nil || stored.TokenVersion != 1 ||
		stored.CreatedAt.IsZero() || !stored.UpdatedAt.Equal(stored.CreatedAt) {
		t.Errorf("stored %+v", stored)
	}
	byKey, err := d.CredentialsByKey(t.Context(), "alice")
	must(t, err)
	if !reflect.DeepEqual(byKey.User, stored) || byKey.PasswordHash != plainHash {
		t.Errorf("%+v, stored was %+v", byKey, stored)
	}
}

// A device is known by one password. What tells that it is another must not rest on each statement
// that changes one, also of the version before; nor must a hash that is made anew at a login be
// taken for another password.
func TestWhateverChangesAPasswordLeavesWordOfIt(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	alice := d.mustInsert(t, "alice")
	last := time.Unix(0, 0)
	for n, change := range []struct {
		set  string
		word bool
	}{
		{"password_hash = overlay(password_hash PLACING 'y' FROM 20)", false},
		{"token_version = token_version + 1", false},
		{"password_hash = password_hash, token_version = token_version + 1", false},
		{"password_hash = overlay(password_hash PLACING 'z' FROM 20), token_version = token_version + 1", true},
		{"must_change_password = true, token_version = token_version + 1", false},
		{"password_hash = overlay(password_hash PLACING 'x' FROM 20), token_version = token_version + 7", true},
	} {
		_, err := d.pool.Exec(t.Context(), "UPDATE users SET "+change.set+" WHERE id = $1", alice.ID)
		must(t, err)
		found, err := d.CredentialsByKey(t.Context(), "alice")
		must(t, err)
		if word := !found.PasswordChangedAt.Equal(last); word != change.word {
			t.Errorf("%d, %s: changed at %v, before %v", n, change.set, found.PasswordChangedAt, last)
		}
		last = found.PasswordChangedAt
	}
	// Whoever has set a password again would be told to use a passkey, which there may be none of.
	for n, change := range []struct {
		set          string
		passwordless bool
	}{
		{"password_hash = overlay(password_hash PLACING 'w' FROM 20), token_version = token_version + 1, password_removed_at = now()", true},
		{"token_version = token_version + 1", true},
		{"password_hash = overlay(password_hash PLACING 'v' FROM 20), token_version = token_version + 1", false},
	} {
		_, err := d.pool.Exec(t.Context(), "UPDATE users SET "+change.set+" WHERE id = $1", alice.ID)
		must(t, err)
		found, err := d.UserByID(t.Context(), alice.ID)
		if must(t, err); found.Passwordless != change.passwordless {
			t.Errorf("%d, %s: passwordless %t", n, change.set, found.Passwordless)
		}
	}
}

func TestANameThatIsTakenIsTaken(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.mustInsert(t, "alice")
	_, err := d.InsertUser(t.Context(), anEvent(), auth.Freely(), anAccount("ALICE", "alice"))
	if !errors.Is(err, auth.ErrUsernameTaken) {
		t.Error(err)
	}
}

// The server quotes the whole row in the details of such an error.
func TestARefusedRowIsNotQuotedInTheError(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	_, err := d.InsertUser(t.Context(), anEvent(), auth.Freely(), anAccount("alice", strings.Repeat("a", 65)))
	if err == nil || strings.Contains(err.Error(), plainHash) || !strings.Contains(err.Error(), "23514") {
		t.Error(err)
	}
}

// A hash whose key is not on record could never be verified again.
func TestAHashUnderAnUnrecordedKeyIsRefused(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.mustInsert(t, "alice")
	if _, err := d.SetPassword(t.Context(), anEvent(), auth.Freely(), "alice", auth.StoredPassword{Hash: "$hmac-sha256$k=feed$" + plainHash}); err == nil {
		t.Error("stored")
	}
	must(t, d.RecordPasswordKey(t.Context(), password.KeyRecord{ID: "feed", Check: make([]byte, 32)}))
	if _, err := d.SetPassword(t.Context(), anEvent(), auth.Freely(), "alice", auth.StoredPassword{Hash: "$hmac-sha256$k=feed$" + plainHash}); err != nil {
		t.Error(err)
	}
	if err := d.RetirePasswordKey(t.Context(), anEvent(), "feed"); !errors.Is(err, auth.ErrPasswordKeyInUse) {
		t.Error(err)
	}
}

// What cannot be verified must not be stored: its owner would be locked out, or let in by any
// password.
func TestOnlyAPasswordHashIsStoredForOne(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	d.mustInsert(t, "alice")
	for _, hash := range []string{
		"", "correct horse battery staple", "$2x" + plainHash[3:], plainHash[1:], plainHash + "x", plainHash[:len(plainHash)-1], plainHash + "\n",
		"$hmac-sha256$k=0" + plainHash, "$hmac-sha256$k=$" + plainHash, "$hmac-sha256$k=0$" + "$hmac-sha256$k=0$" + plainHash,
	} {
		if _, err := d.SetPassword(t.Context(), anEvent(), auth.Freely(), "alice", auth.StoredPassword{Hash: hash}); err == nil {
			t.Errorf("%q was stored", hash)
		}
	}
}

// A key's first record stays: whoever comes with another value under its id must find out.
func TestARecordedPasswordKeyIsNotOverwritten(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t)})
	first := password.KeyRecord{ID: "feed", Check: []byte(strings.Repeat("a", 32))}
	must(t, d.RecordPasswordKey(t.Context(), first))
	must(t, d.RecordPasswordKey(t.Context(), password.KeyRecord{ID: "feed", Check: []byte(strings.Repeat("b", 32))}))
	keys, err := d.PasswordKeys(t.Context())
	must(t, err)
	if len(keys) != 1 || string(keys[0].Check) != string(first.Check) {
		t.Errorf("%v", keys)
	}
}

func TestAConnectionHasTheSettingsThatBoundIt(t *testing.T) {
	t.Parallel()
	d := open(t, Options{URL: dbtest.New(t), StatementTimeout: 4 * time.Second})
	for setting, want := range map[string]string{
		"application_name": "gatehouse", "statement_timeout": "4s", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "8s",
	} {
		var got string
		must(t, d.pool.QueryRow(t.Context(), "SELECT current_setting($1)", setting).Scan(&got))
		if got != want {
			t.Errorf("%s is %s, want %s", setting, got, want)
		}
	}
	if mode := d.pool.Config().ConnConfig.DefaultQueryExecMode; mode != pgx.QueryExecModeCacheStatement {
		t.Errorf("query mode %v", mode)
	}
}

// Whoever waits for a lock must not keep a connection for long: enough of them, and nobody has one.
func TestAHeldLockMakesAMethodUnavailable(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.New(t)
	u := open(t, Options{URL: databaseURL}).mustInsert(t, "alice")
	d := open(t, Options{URL: databaseURL, StatementTimeout: 200 * time.Millisecond})
	// On a connection without those time-outs.
	holder, err := pgx.Connect(t.Context(), d.pool.Config().ConnString())
	must(t, err)
	defer holder.Close(context.Background())
	tx, err := holder.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "SELECT id FROM users WHERE id = $1 FOR UPDATE", u.ID)
	must(t, err)
	if _, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil); !errors.Is(err, auth.ErrUnavailable) {
		t.Error(err)
	}
	must(t, tx.Rollback(t.Context()))
	asynctest.Await(t, "the lock to be free", func() bool {
		_, err := d.DisableUser(t.Context(), anEvent(), auth.Freely(), "alice", nil)
		return err == nil
	})
}

func TestConnectionStringsThatAreRefusedAreNotShown(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:canary-secret@host:port/x", "postgres://u:canary-secret@[::1/x", "canary-secret", "password=canary-secret host='",
		"postgres://u:canary-secret@h/x?default_query_exec_mode=simple_protocol", "postgres://u:canary-secret@h/x?pool_max_conns=x",
	} {
		d, err := Open(t.Context(), Options{URL: url, StatementTimeout: time.Second})
		if err == nil {
			d.Close()
			t.Errorf("%s is accepted", url)
		} else if strings.Contains(err.Error(), "canary-secret") || !strings.HasPrefix(err.Error(), "DATABASE_URL: ") {
			t.Error(err)
		}
	}
}

func TestMaxConnsIsTheSettingOrGrowsWithTheMachine(t *testing.T) {
	t.Parallel()
	if got := open(t, Options{URL: "postgres://h/x", MaxConns: 3}).Stat().MaxConns(); got != 3 {
		t.Errorf("set to 3, it is %d", got)
	}
	if got := open(t, Options{URL: "postgres://h/x"}).Stat().MaxConns(); got < 10 {
		t.Errorf("by default it is %d", got)
	}
}
