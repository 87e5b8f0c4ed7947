package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/asynctest"
	"gatehouse/internal/auth"
	"gatehouse/internal/token"
)

const oldKey = "the secret key of last year has 32 bytes too"

// sealedBefore is something under a name that was sealed with oldKey.
func sealedBefore(t *testing.T, name string) []byte {
	t.Helper()
	sealer, err := token.NewSealer([][]byte{[]byte(oldKey)})
	if err != nil {
		t.Fatal(err)
	}
	return sealer.Seal(name, []byte("a private key"))
}

func (a accounts) keys() map[auth.KeyState][]keyLine {
	a.Helper()
	keys := map[auth.KeyState][]keyLine{}
	for line := range strings.Lines(a.run("", "key", "list", "--json").succeeded(a.T)) {
		k := fromJSON[keyLine](a.T, line)
		keys[k.State] = append(keys[k.State], k)
	}
	return keys
}

// pass lets time pass for the keys.
func (a accounts) pass(d time.Duration) {
	a.Helper()
	a.asOwner(fmt.Sprintf(`ALTER TABLE signing_keys DISABLE TRIGGER signing_keys_forward;
		UPDATE signing_keys SET created_at = created_at - d, activated_at = activated_at - d, retiring_at = retiring_at - d
		FROM (SELECT make_interval(secs => %g) AS d) passed;
		ALTER TABLE signing_keys ENABLE TRIGGER signing_keys_forward`, d.Seconds()))
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
	if shown := a.run("", "key", "list").succeeded(t); strings.Count(shown, "\n") != 3 || !strings.Contains(shown, next.Key+"  ES256") {
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
	go func() { ended <- run(ctx, args, terminal{os.Stdin, &told, &told}) }()
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
	a.run("", "key", "rewrap", "--secret-key="+testKey).failed(t, exitFailed, "SECRET_KEY does not open the signing key")
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey+","+oldKey).succeeded(t); out != "1 keys are encrypted anew\n" {
		t.Error(out)
	}
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey).succeeded(t); out != "0 keys are encrypted anew\n" {
		t.Error(out)
	}
	var sealed []byte
	var id, dump string
	if err := a.connect().QueryRow(t.Context(), `SELECT kid, sealed_private, (SELECT json_agg(row_to_json(k))::text FROM signing_keys k)
		FROM signing_keys WHERE sealed_private IS NOT NULL`).Scan(&id, &sealed, &dump); err != nil {
		t.Fatal(err)
	}
	sealer, err := token.NewSealer([][]byte{[]byte(testKey)})
	if err != nil {
		t.Fatal(err)
	}
	private, _, err := sealer.Open(id, sealed)
	if err != nil || bytes.Contains(sealed, private[len(private)-32:]) || strings.Contains(dump, fmt.Sprintf("%x", private[len(private)-32:])) {
		t.Errorf("the private key can be read: %v", err)
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

// kill -9 leaves nobody the time to tidy up: whatever a rotation knows must be in the database at each moment.
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
	a.run("", "key", "rewrap", "--secret-key="+testKey).failed(t, exitFailed, "SECRET_KEY does not open")
	a.run("", "key", "retire", keys[auth.KeyNext][0].Key).succeeded(t)
	a.run("", "key", "revoke", keys[auth.KeyActive][0].Key, "--force", "--algorithm=ES256", "--secret-key="+testKey).succeeded(t)
	if out := a.run("", "key", "rewrap", "--secret-key="+testKey).succeeded(t); out != "0 keys are encrypted anew\n" {
		t.Error(out)
	}
	if keys = a.keys(); len(keys[auth.KeyActive]) != 1 {
		t.Errorf("%+v", keys)
	}
}
