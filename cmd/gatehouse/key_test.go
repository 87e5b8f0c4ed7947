package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"gatehouse.example/internal/asynctest"
	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/config"
	"gatehouse.example/internal/keychain"
	"gatehouse.example/internal/token"
)

const oldKey = "the secret key of last year has 32 bytes too"

// sealedBefore is something under a name that was sealed with oldKey.
func sealedBefore(t *testing.T, name string) []byte {
	t.Helper()
	return keychainOf(t, oldKey).Sealer(keychain.SigningKeys).Seal(name, []byte("a private key"))
}

func (a accounts) keys() map[auth.KeyState][]keyLine {
	a.Helper()
	keys := map[auth.KeyState][]keyLine{}
	for line := range strings.Lines(a.run("", "key", "list", "--json").succeeded(a.T)) {
		if k := fromJSON[keyLine](a.T, line); k.Use == auth.KeyForAccess {
			keys[k.State] = append(keys[k.State], k)
		}
	}
	return keys
}

// pass lets time pass for the keys.
func (a accounts) pass(d time.Duration) {
	a.Helper()
	a.passFor("signing_keys", d)
}

func (a accounts) passFor(table string, d time.Duration) {
	a.Helper()
	a.asOwner(fmt.Sprintf(`ALTER TABLE %[1]s DISABLE TRIGGER %[1]s_forward;
		UPDATE %[1]s SET created_at = created_at - d, activated_at = activated_at - d, retiring_at = retiring_at - d
		FROM (SELECT make_interval(secs => %[2]g) AS d) passed;
		ALTER TABLE %[1]s ENABLE TRIGGER %[1]s_forward`, table, d.Seconds()))
}

// Each command ends after one step, as if it had been killed there.
func TestARotationThatIsInterruptedAfterEachStepComesToItsEnd(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	rotate := func() ending {
		return a.run("", "key", "rotate", "--no-wait", "--algorithm=ES256", "--secret-key="+testKey)
	}
	want := func(e ending, says string, states map[auth.KeyState]int) map[auth.KeyState][]keyLine {
		t.Helper()
		if e.code != exitOK || e.out != "" || !strings.Contains(e.err, says) {
			t.Errorf("want %q: %+v", says, e)
		}
		keys := a.keys()
		for _, state := range []auth.KeyState{auth.KeyNext, auth.KeyActive, auth.KeyRetiring, auth.KeyRetired, auth.KeyRevoked} {
			if len(keys[state]) != states[state] {
				t.Errorf("after %q there are %d %s keys: %+v", says, len(keys[state]), state, keys)
			}
		}
		return keys
	}
	want(rotate(), "", map[auth.KeyState]int{auth.KeyActive: 1}) // the first of all
	first := a.keys()[auth.KeyActive][0]
	keys := want(rotate(), "others may not know the key until", map[auth.KeyState]int{auth.KeyActive: 1, auth.KeyNext: 1})
	next := keys[auth.KeyNext][0]
	if next.MaySign == nil || next.MaySign.Sub(next.CreatedAt) != 330*time.Second {
		t.Errorf("%+v", next)
	}
	want(rotate(), "going on with the rotation under way", map[auth.KeyState]int{auth.KeyActive: 1, auth.KeyNext: 1})
	a.run("", "key", "retire", first.Key).failed(t, exitFailed, "is the active one")

	a.pass(330 * time.Second)
	a.asOwner("UPDATE signing_keys SET lifetime_seconds = 60 WHERE ended_at IS NULL")
	keys = want(rotate(), next.Key+" signs", map[auth.KeyState]int{auth.KeyActive: 1, auth.KeyRetiring: 1})
	if keys[auth.KeyActive][0].Key != next.Key || keys[auth.KeyRetiring][0].Key != first.Key {
		t.Errorf("%+v", keys)
	}
	a.run("", "key", "retire", first.Key).failed(t, exitFailed, "too early: tokens that it has signed live until "+keys[auth.KeyRetiring][0].MayRetire.Format(time.RFC3339))
	want(rotate(), "tokens that it has signed live until", map[auth.KeyState]int{auth.KeyActive: 1, auth.KeyRetiring: 1})

	a.pass(95 * time.Second)
	want(rotate(), first.Key+" is retired", map[auth.KeyState]int{auth.KeyActive: 1, auth.KeyRetired: 1})
	if shown := a.run("", "key", "list").succeeded(t); strings.Count(shown, "\n") != 3 || !strings.Contains(shown, next.Key+"  access  ES256") {
		t.Error(shown)
	}
}

func TestARotationWaitsAndSaysForWhat(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	args := append([]string{"key", "rotate", "--algorithm=EdDSA", "--secret-key=" + testKey}, a.flags...)
	a.run("", args...).succeeded(t) // the first key of all
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var told asynctest.Buffer
	ended := make(chan int, 1)
	go func() { ended <- runHere(ctx, args, terminal{in: os.Stdin, out: &told, err: &told}) }()
	asynctest.Await(t, "the wait for the others", func() bool { return strings.Contains(told.String(), "others may not know the key") })
	a.pass(330 * time.Second)
	asynctest.Await(t, "the wait for the tokens", func() bool { return strings.Contains(told.String(), "tokens that it has signed live") })
	a.pass(25 * time.Hour)
	if code := <-ended; code != exitOK || !strings.HasSuffix(told.String(), "is retired\n") {
		t.Errorf("%d: %s", code, told.String())
	}
}

func TestALeakedKeyIsRevokedOnlyOnPurposeAndReplacedAtOnce(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.run("", "key", "rotate", "--algorithm=ES256", "--secret-key="+testKey).succeeded(t)
	leaked := a.keys()[auth.KeyActive][0].Key
	a.run("", "key", "revoke", leaked, "--secret-key="+testKey).failed(t, exitUsage, "--force")
	a.run("", "key", "revoke", leaked, "--force", "--algorithm=ES256", "--secret-key="+testKey).succeeded(t)
	keys := a.keys()
	if len(keys[auth.KeyRevoked]) != 1 || keys[auth.KeyRevoked][0].Key != leaked || len(keys[auth.KeyActive]) != 1 {
		t.Errorf("%+v", keys)
	}
	a.run("", "key", "revoke", leaked, "--force", "--secret-key="+testKey).failed(t, exitFailed, "no such signing key, or it has ended")
}

func TestPrivateKeysAreReadWithTheSecretAloneAndInNoDump(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for _, algorithm := range []token.Algorithm{token.ES256, token.EdDSA, token.RS256} {
		for _, passes := range []time.Duration{330 * time.Second, 25 * time.Hour, 0} { // made, activated, the one before retired
			a.run("", "key", "rotate", "--algorithm="+string(algorithm), "--secret-key="+oldKey, "--no-wait")
			a.pass(passes)
		}
	}
	a.run("", "key", "rotate", "--use=id", "--secret-key="+oldKey, "--no-wait")
	a.run("", "key", "rewrap", "--secret-key="+testKey).failed(t, exitFailed, "SECRET_KEY does not open the signing key")
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey+","+oldKey).succeeded(t); out != "encrypted anew: 4 signing keys, 0 authenticator apps\n" {
		t.Error(out)
	}
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey).succeeded(t); out != "encrypted anew: 0 signing keys, 0 authenticator apps\n" {
		t.Error(out)
	}
	const all = "(TABLE signing_keys UNION ALL TABLE id_token_keys) k"
	var dump string
	if err := a.connect().QueryRow(t.Context(), "SELECT json_agg(row_to_json(k))::text FROM "+all).Scan(&dump); err != nil {
		t.Fatal(err)
	}
	rows, err := a.connect().Query(t.Context(), "SELECT kid, sealed_private FROM "+all+" WHERE sealed_private IS NOT NULL")
	if err != nil {
		t.Fatal(err)
	}
	var id string
	var sealed []byte
	found, err := pgx.ForEachRow(rows, []any{&id, &sealed}, func() error {
		private, _, err := keychainOf(t, testKey).Sealer(keychain.SigningKeys).Open(id, sealed)
		if err != nil || bytes.Contains(sealed, private[len(private)-32:]) || strings.Contains(dump, fmt.Sprintf("%x", private[len(private)-32:])) {
			t.Errorf("the private key of %s can be read: %v", id, err)
		}
		return nil
	})
	if err != nil || found.RowsAffected() != 4 {
		t.Errorf("%s: %v", found, err)
	}
	var keys []struct {
		JWK string `json:"public_jwk"`
	}
	if err := json.Unmarshal([]byte(dump), &keys); err != nil || len(keys) == 0 {
		t.Fatal(err)
	}
	for _, k := range keys {
		for _, member := range []string{`"d"`, `"p"`, `"q"`, `"dp"`, `"dq"`, `"qi"`, `"k"`} {
			if strings.Contains(k.JWK, member) {
				t.Errorf("%s is public: %s", member, k.JWK)
			}
		}
	}
}

// An operator who replaces the keys of ID tokens must not touch those of access tokens by it, nor
// the other way round.
func TestKeysOfIDTokensAreReplacedAndEndedByTheSameCommands(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.serveOnce("--secret-key=" + testKey)
	access := a.keys()
	ids := func(state auth.KeyState) (keys []keyLine) {
		for line := range strings.Lines(a.run("", "key", "list", "--json").succeeded(t)) {
			if k := fromJSON[keyLine](t, line); k.Use == auth.KeyForID && k.State == state {
				keys = append(keys, k)
			}
		}
		return keys
	}
	rotate := func() ending {
		return a.run("", "key", "rotate", "--use=id", "--no-wait", "--algorithm=HS256", "--secret-key="+testKey)
	}
	if e := rotate(); e.code != exitOK || len(ids(auth.KeyNext)) != 3 || len(ids(auth.KeyActive)) != 3 {
		t.Fatalf("%+v", e)
	}
	before, next := ids(auth.KeyActive), ids(auth.KeyNext)
	a.run("", "key", "retire", before[0].Key).failed(t, exitFailed, "is the active one")
	a.run("", "key", "retire", next[0].Key).succeeded(t)
	a.passFor("id_token_keys", 330*time.Second)
	if e := rotate(); e.code != exitOK || !strings.Contains(e.err, next[1].Key+" signs") || !strings.Contains(e.err, next[2].Key+" signs") {
		t.Errorf("%+v", e)
	}
	if n := len(ids(auth.KeyRetiring)); n != 2 {
		t.Errorf("%d are retiring", n)
	}
	a.passFor("id_token_keys", 25*time.Hour)
	rotate()
	if n := len(ids(auth.KeyRetired)); n != 3 || len(ids(auth.KeyActive)) != 3 {
		t.Errorf("%d are retired", n)
	}
	leaked := ids(auth.KeyActive)[0]
	a.run("", "key", "revoke", leaked.Key, "--force", "--secret-key="+testKey).succeeded(t)
	if gone, now := ids(auth.KeyRevoked), ids(auth.KeyActive); len(gone) != 1 || gone[0].Key != leaked.Key || len(now) != 3 {
		t.Errorf("%+v, %+v", gone, now)
	}
	if after := a.keys(); !reflect.DeepEqual(after, access) {
		t.Errorf("the keys of access tokens were\n%+v, and are\n%+v", access, after)
	}
	if shown := a.run("", "key", "list").succeeded(t); !strings.Contains(shown, leaked.Key+"  id ") || !strings.Contains(shown, access[auth.KeyActive][0].Key+"  access") {
		t.Error(shown)
	}
	a.run("", "key", "rotate", "--use=both", "--secret-key="+testKey).failed(t, exitUsage, "--use")
}

// kill -9 leaves nobody the time to tidy up: whatever a rotation knows must be in the database at
// each moment.
func TestARotationThatIsKilledGoesOn(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	rotate := append([]string{"key", "rotate", "--algorithm=ES256", "--secret-key=" + testKey}, a.flags...)
	a.run("", rotate...).succeeded(t) // the first key of all
	first := a.keys()[auth.KeyActive][0].Key
	for _, step := range []struct {
		waits  string
		passes time.Duration
	}{{"others may not know the key", 330 * time.Second}, {"tokens that it has signed live", time.Hour}} {
		var told asynctest.Buffer
		process := child(t, nil, rotate...)
		process.Stderr = &told
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		asynctest.Await(t, step.waits, func() bool { return strings.Contains(told.String(), step.waits) })
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait() // of the signal
		a.pass(step.passes)
	}
	if e := ended(t, child(t, nil, rotate...)); e.code != exitOK || !strings.HasSuffix(e.err, first+" is retired\n") {
		t.Errorf("%+v", e)
	}
	if keys := a.keys(); len(keys[auth.KeyActive]) != 1 || len(keys[auth.KeyRetired]) != 1 || len(keys) != 2 {
		t.Errorf("%+v", keys)
	}
}

// Nobody can open the keys of a secret that is lost, and nobody has to.
func TestALostSecretIsReplaced(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	for range 2 { // an active key and a next one
		a.run("", "key", "rotate", "--no-wait", "--algorithm=ES256", "--secret-key="+oldKey)
	}
	keys := a.keys()
	a.run("", "key", "reset", "--secret-key="+testKey).failed(t, exitFailed, "give --yes")
	if out := a.run("", "key", "reset", "--yes", "--secret-key="+testKey).succeeded(t); !strings.Contains(out, idOf(t, testKey)) || strings.Contains(out, testKey) {
		t.Error(out)
	}
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey).succeeded(t); out != "encrypted anew: 0 signing keys, 0 authenticator apps\n" {
		t.Error(out)
	}
	after := a.keys()
	if len(after[auth.KeyActive]) != 1 || len(after[auth.KeyRevoked]) != 2 || len(after) != 2 || len(keys[auth.KeyNext]) != 1 {
		t.Errorf("%+v", after)
	}
	a.serveOnce("--secret-key=" + testKey)
}

// A script that has to parse sentences breaks with the next release.
func TestEveryCommandThatEndsOrSealsAKeyPrintsJSON(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	secret := "--secret-key=" + testKey
	for range 2 { // an active key and a next one
		a.run("", "key", "rotate", "--no-wait", "--algorithm=ES256", secret)
	}
	keys := a.keys()
	next, active := keys[auth.KeyNext][0].Key, keys[auth.KeyActive][0].Key
	out := func(args ...string) string { return a.run("", append(args, "--json")...).succeeded(t) }
	if l := fromJSON[endedKeyLine](t, out("key", "retire", next)); l.Key != next {
		t.Errorf("retire: %+v", l)
	}
	if l := fromJSON[endedKeyLine](t, out("key", "revoke", active, "--force", secret)); l.Key != active {
		t.Errorf("revoke: %+v", l)
	}
	if l := fromJSON[rewrappedLine](t, out("key", "rewrap", "--secret-key="+oldKey+","+testKey)); l.Keys != 1 {
		t.Errorf("rewrap: %+v", l)
	}
	if l := fromJSON[resetLine](t, out("key", "reset", "--yes", secret)); !slices.Equal(l.SecretKeys, []string{idOf(t, testKey)}) {
		t.Errorf("reset: %+v", l)
	}
}

// A command that is added without --json is one that no script can use.
func TestEveryCommandThatIsDoneAtOnceHasJSON(t *testing.T) {
	t.Parallel()
	without := []string{
		"serve", "healthcheck", // print nothing, or one word
		"key rotate",  // says on standard error what it waits for
		"user export", // is JSON
		"restored",
	}
	for _, leaf := range kong.Must(&commandLine{}, config.Environment()).Model.Leaves(true) {
		name := strings.TrimPrefix(leaf.Path(), " ")
		has := slices.ContainsFunc(leaf.Flags, func(f *kong.Flag) bool { return f.Name == "json" })
		if has == slices.Contains(without, name) {
			t.Errorf("%s: --json %t", name, has)
		}
	}
}

// idOf names a secret as the errors and the log do.
func idOf(t *testing.T, secret string) string {
	t.Helper()
	return keychainOf(t, secret).IDs()[0]
}

func keychainOf(t *testing.T, secret string) *keychain.Keychain {
	t.Helper()
	keys, err := keychain.New([][]byte{[]byte(secret)})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// serveOnce runs a replica until it is ready, and ends it.
func (a accounts) serveOnce(flags ...string) {
	a.Helper()
	process := a.serving(flags...)
	var errs bytes.Buffer
	process.Stderr = &errs
	process.Stdout = cancelOn{`"ready"`, func() { _ = process.Process.Signal(syscall.SIGTERM) }}
	if err := process.Run(); err != nil || errs.Len() > 0 {
		a.Fatalf("%v: %s", err, errs.String())
	}
}

// serving is a replica, in a process of its own: it takes threads for itself.
func (a accounts) serving(flags ...string) *exec.Cmd {
	a.Helper()
	args := append([]string{"serve", "--listen-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0", "--shutdown-delay=0s"}, append(flags, a.flags...)...)
	return child(a.T, nil, args...)
}

// A key that is sealed under another secret than the replicas' takes the whole service down 40
// seconds later.
func TestNothingIsWrittenWithAnotherSecretThanTheServices(t *testing.T) {
	t.Parallel()
	for _, algorithm := range []token.Algorithm{token.ES256, token.HS256} {
		t.Run(string(algorithm), func(t *testing.T) {
			t.Parallel()
			a := newAccounts(t)
			a.insert("alice")
			if algorithm == token.HS256 {
				a.asOwner(`INSERT INTO signing_keys (kid, algorithm, state, lifetime_seconds, created_at, activated_at)
					VALUES ('secret-0', 'HS256', 'active', 86400, now(), now())`)
			}
			a.serveOnce("--secret-key="+testKey, "--algorithm="+string(algorithm))
			active := a.keys()[auth.KeyActive][0].Key
			before := a.stored()
			for _, args := range [][]string{
				{"key", "rotate", "--no-wait", "--algorithm=EdDSA"},
				{"key", "revoke", active, "--force", "--algorithm=EdDSA"},
				{"key", "rewrap"},
				{"user", "unlock", "alice"},
				{"user", "send-reset", "alice"},
				{"user", "invite", "alice@example.org"},
				{"user", "password", "alice", "--initial-secret"},
				{"user", "delete", "alice", "--yes"},
			} {
				for _, secret := range []string{oldKey, oldKey + "," + testKey} {
					e := a.run("", append(args, "--secret-key="+secret)...)
					e.failed(t, exitFailed, "SECRET_KEY is not the one of this installation: its replicas log \"secret_keys\" with "+idOf(t, testKey))
					if strings.Contains(e.err, "openssl") || strings.Contains(e.err, oldKey) {
						t.Errorf("%q: %s", args, e.err)
					}
				}
				if after := a.stored(); after != before {
					t.Fatalf("%q has written:\n%s\nbefore:\n%s", args, after, before)
				}
			}
			a.run("", "key", "rotate", "--no-wait", "--algorithm=EdDSA", "--secret-key="+testKey+","+oldKey)
			if after := a.stored(); after == before {
				t.Error("the right one is refused")
			}
		})
	}
}

// stored is what a secret is needed for.
func (a accounts) stored() (rows string) {
	a.Helper()
	err := a.connect().QueryRow(a.Context(), `SELECT coalesce((SELECT string_agg(k::text, E'\n' ORDER BY kid) FROM signing_keys k), '')
		|| coalesce((SELECT string_agg(s.id, E'\n' ORDER BY id) FROM secret_keys s), '')`).Scan(&rows)
	if err != nil {
		a.Fatal(err)
	}
	return rows
}

// A replica that is given a new secret without the old one would make everybody log in anew, and
// nobody would know why.
func TestAReplicaIsNotGivenANewSecretByMistake(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	a.insert("alice")
	a.asOwner(`INSERT INTO signing_keys (kid, algorithm, state, lifetime_seconds, created_at, activated_at)
		VALUES ('secret-0', 'HS256', 'active', 86400, now(), now())`)
	serve := func(secret string) ending {
		e := ended(t, a.serving("--secret-key="+secret))
		e.out = "" // its log
		return e
	}
	a.serveOnce("--secret-key=" + oldKey)
	serve(testKey).failed(t, exitFailed, "SECRET_KEY is not the one of this installation: its replicas log \"secret_keys\" with "+idOf(t, oldKey))
	a.serveOnce("--secret-key=" + oldKey + "," + testKey) // at leisure
	a.serveOnce("--secret-key=" + testKey + "," + oldKey)
	a.run("", "key", "rewrap", "--secret-key="+testKey+","+oldKey).succeeded(t)
	a.serveOnce("--secret-key=" + testKey)
	a.asOwner("UPDATE secret_keys SET seen_at = seen_at - interval '25 hours' WHERE id = '" + idOf(t, oldKey) + "'")
	a.serveOnce("--secret-key=" + testKey)
	serve(oldKey).failed(t, exitFailed, "its replicas log \"secret_keys\" with "+idOf(t, testKey)+", ")
}

// An app whose secret opens no more keeps its user out. Whoever has the old key must still be able
// to save it, and must hear of those that it does not open.
func TestAppsAreSealedAnewWithTheNewKeyAlsoAfterALeak(t *testing.T) {
	t.Parallel()
	a := newAccounts(t)
	const lostKey = "a key that nobody has any more, of 32 bytes"
	seal := func(name, key string) {
		t.Helper()
		a.insert(name)
		var id string
		if err := a.connect().QueryRow(t.Context(), "SELECT id FROM users WHERE username = $1", name).Scan(&id); err != nil {
			t.Fatal(err)
		}
		sealed := keychainOf(t, key).Sealer(keychain.TOTPSecrets).Seal(id, []byte("the secret of "+name))
		a.asOwner(fmt.Sprintf(`INSERT INTO totp_secrets (user_id, sealed, last_step) VALUES ('%s', '\x%x', 7)`, id, sealed))
	}
	opened := func(key string) (n int) {
		t.Helper()
		rows, err := a.connect().Query(t.Context(), "SELECT t.user_id::text, t.sealed, u.username FROM totp_secrets t JOIN users u ON u.id = t.user_id WHERE t.last_step = 7")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var id, name string
			var sealed []byte
			if err := rows.Scan(&id, &sealed, &name); err != nil {
				t.Fatal(err)
			}
			plain, _, err := keychainOf(t, key).Sealer(keychain.TOTPSecrets).Open(id, sealed)
			if err == nil && string(plain) == "the secret of "+name {
				n++
			}
		}
		return n
	}
	seal("alice", oldKey)
	seal("bob", testKey)
	both := "--secret-key=" + testKey + "," + oldKey
	if l := fromJSON[rewrappedLine](t, a.run("", "key", "rewrap", "--json", both).succeeded(t)); l.Apps != 1 || opened(testKey) != 2 {
		t.Errorf("at leisure: %+v, %d open", l, opened(testKey))
	}
	if l := fromJSON[rewrappedLine](t, a.run("", "key", "rewrap", "--json", both).succeeded(t)); l.Apps != 0 {
		t.Errorf("again: %+v", l)
	}
	seal("carol", oldKey)
	seal("dora", lostKey)
	alone := "--secret-key=" + testKey
	a.run("", "key", "rewrap", alone).failed(t, exitFailed, "2 authenticator apps are sealed with another SECRET_KEY")
	a.run("", "key", "rewrap", alone, "--old-secret-key="+oldKey).failed(t, exitFailed, "1 authenticator apps are sealed with another SECRET_KEY")
	if n := opened(testKey); n != 3 {
		t.Errorf("after a leak: %d open", n)
	}
	a.run("", "user", "factors", "reset", "dora").succeeded(t)
	if out := a.run("", "key", "rewrap", alone).succeeded(t); out != "encrypted anew: 0 signing keys, 0 authenticator apps\n" {
		t.Error(out)
	}
}
