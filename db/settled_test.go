package db

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
	"gatehouse.example/internal/dbtest"
)

// cutOffAtCommit runs something while no standby answers, and cuts it off when its commit waits for
// one. It tells whether something waited, and its error if nothing did.
func cutOffAtCommit(t *testing.T, watch *pgx.Conn, do func(context.Context) error) (waited bool, err error) {
	t.Helper()
	ctx, cutOff := context.WithCancel(t.Context())
	defer cutOff()
	outcome := make(chan error, 1)
	go func() { outcome <- do(ctx) }()
	ended := false
	asynctest.Await(t, "a commit that waits, or an end", func() bool {
		select {
		case err = <-outcome:
			ended = true
		default:
			must(t, watch.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')").Scan(&waited))
		}
		return ended || waited
	})
	if ended {
		return false, err
	}
	cutOff()
	if err := <-outcome; err == nil {
		t.Error("it was cut off, and says that it is done")
	}
	asynctest.Await(t, "the end of the wait", func() bool { // what was committed can be seen here then
		var waits bool
		must(t, watch.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')").Scan(&waits))
		return !waits
	})
	return true, nil
}

// reading are the methods of the store that change nothing, and of which nobody takes the answer
// for a change.
var reading = []string{"SigningKeys", "UserByID", "UserByKey", "CredentialsByKey", "UsernameOfLogin", "ExportUsers", "RoleByName", "ListRoles", "FindUsers",
	"SessionByID", "ListSessions", "ListLogins", "ClientByID", "ListClients", "PasswordKeys", "PasswordKeyUsers", "FindEvents", "Server", "Growth",
	"SchemaVersion", "ConsentTo", "ListConsents", "Health", "DearestHash", "PasswordCosts", "SecretIDs", "WaitingJobs", "MailsOfUser", "UserByLogin",
	"HolderOfAddress", "AddressToProve", "UserOfMail", "FactorsOf", "PasskeysOf", "PasskeyRP",
	"PendingLogin", "PasskeysToProve", "PasskeyByCredential", "DeviceIsTrusted", "SealedTOTPs"}

// tellingNobody are those of a replica for itself, and those on a table that no standby has: nobody
// is told that it is done.
var tellingNobody = []string{"TakeRates", "SettleRates", "GiveBackRates", "PruneRates", "PruneRevocations", "PruneSessions", "PruneCodes", "PruneEvents", "ExpireMails", "PruneMails", "PruneChallenges", "PruneUnproved", "PruneProofs", "PruneTrustedDevices", "ClaimPasskeyRP",
	"AddEventPartitions", "RehashPassword", "RaiseTokenLifetime", "RecordPasswordKey", "MakeSkeletons", "NoteSessionUse", "NoteSessionUses"}

// hungStandby is a server whose commits wait for a standby that is not there, from the call of hang
// on.
func hungStandby(t *testing.T) (databaseURL string, hang func(watch *pgx.Conn)) {
	t.Helper()
	server := dbtest.Private(t, "wal_level=replica", "max_wal_senders=2", "synchronous_commit=on")
	return server.URL(), func(watch *pgx.Conn) {
		execOn(t, watch, "ALTER SYSTEM SET synchronous_standby_names = 'absent'")
		execOn(t, watch, "SELECT pg_reload_conf()")
		on := connectTo(t, server.URL())
		asynctest.Await(t, "commits to wait", func() bool {
			waited, err := cutOffAtCommit(t, watch, func(ctx context.Context) error {
				conn, err := pgx.Connect(ctx, server.URL())
				if err != nil {
					return err
				}
				defer conn.Close(context.WithoutCancel(ctx))
				_, err = conn.Exec(ctx, "SELECT pg_logical_emit_message(true, 'test', '')")
				return err
			})
			must(t, err)
			return waited
		})
		must(t, on.Close(t.Context()))
	}
}

// The first caller is cut off while the commit waits for a standby that hangs: what they did can be
// seen here, and is lost with this server. The second one finds that it is so already, and must not
// say yes before the standby has it.
func TestNothingIsSaidToBeDoneBeforeAStandbyHasItTheSecondTimeEither(t *testing.T) {
	t.Parallel()
	databaseURL, hang := hungStandby(t)
	d, watch := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	u := d.mustInsert(t, "alice")
	execOn(t, watch, `INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, client_address, user_agent)
		VALUES ($1, $1, decode(repeat('00', 16), 'hex'), now() + interval '1 h', now() + interval '1 h', '', '')`, u.ID)
	execOn(t, watch, `INSERT INTO clients (client_id, subject, name, secret_digest, grant_types) VALUES ('client1', gen_random_uuid(), 'Client', sha256('x'), '{}'), ('client0', gen_random_uuid(), 'App', NULL, '{}');
		INSERT INTO roles (name) VALUES ('reader'), ('writer'), ('spare')`)
	hang(watch)
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(calls(d, u))), func(name string) bool {
		// Where RotateSession and RepeatSession find that another was first, the rule looks again,
		// and answers by what it finds.
		return slices.Contains(reading, name) || slices.Contains(tellingNobody, name) ||
			slices.Contains([]string{"DeleteUser", "RotateSession", "RepeatSession"}, name)
	})
	for _, name := range append(names, "DeleteUser") {
		call := func(ctx context.Context) error { return calls(d, u)[name](ctx) }
		for _, time := range []string{"first", "second"} {
			waited, err := cutOffAtCommit(t, watch, call)
			if !waited && err == nil {
				t.Errorf("%s, the %s time: done, though no standby has it", name, time)
			}
		}
		now, err := d.UserByID(t.Context(), u.ID)
		if !errors.Is(err, auth.ErrUserNotFound) {
			must(t, err)
			u = now
		}
	}
}

// What a rule finds out by reading alone is a yes too.
func TestALogoutAndARefreshThatFindItDoneWaitForTheStandbyAsWell(t *testing.T) {
	t.Parallel()
	databaseURL, hang := hungStandby(t)
	d, watch := open(t, Options{URL: databaseURL}), connectTo(t, databaseURL)
	s := d.limited(t)
	from := auth.Caller{Address: "192.0.2.1"}
	login := func(name string) auth.Grant {
		_, _, err := s.Accounts.Register(t.Context(), authtest.Operator(), auth.NewAccount{Username: name, Password: goodPassword})
		must(t, err)
		grant, err := s.Logins.Login(t.Context(), name, goodPassword, from)
		must(t, err)
		return grant
	}
	refreshed, byRefresh, byAccess, revoked, deleted := login("anna"), login("berta"), login("clara"), login("dora"), login("emma")
	access, err := s.Access.Authenticate(byAccess.AccessToken)
	must(t, err)
	unknown := s.RefreshKeys.Make(uuid.New(), 0, make([]byte, 16))
	hang(watch)
	for _, test := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"refresh", func(ctx context.Context) error {
			_, err := s.Tokens.Refresh(ctx, refreshed.RefreshToken, from)
			return err
		}},
		{"logout by a refresh token", func(ctx context.Context) error {
			return s.Tokens.LogoutByRefresh(ctx, auth.Client{}, byRefresh.RefreshToken)
		}},
		{"logout", func(ctx context.Context) error { return s.Sessions.Logout(ctx, access) }},
		{"revocation", func(ctx context.Context) error { return s.Tokens.Revoke(ctx, auth.Client{}, revoked.RefreshToken) }},
		{"ban", func(ctx context.Context) error {
			_, err := s.Accounts.Disable(ctx, authtest.Operator(), auth.ByName("dora"), nil)
			return err
		}},
		{"logout of a session that is not known", func(ctx context.Context) error { return s.Tokens.LogoutByRefresh(ctx, auth.Client{}, unknown) }},
		{"revocation of one", func(ctx context.Context) error { return s.Tokens.Revoke(ctx, auth.Client{}, unknown) }},
		{"end of all sessions", func(ctx context.Context) error {
			return s.Sessions.EndAll(ctx, auth.Reach{UserID: deleted.User.ID, AllClients: true}, uuid.Nil)
		}},
	} {
		for _, time := range []string{"first", "second"} {
			if waited, err := cutOffAtCommit(t, watch, test.do); !waited {
				t.Errorf("%s, the %s time: %v, though no standby has it", test.name, time, err)
			}
		}
	}
}
