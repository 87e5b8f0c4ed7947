package token

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"testing"
)

func TestJWKSAreThePublicKeysInAnOrderThatStays(t *testing.T) {
	t.Parallel()
	secret, ec, ed, rs := keyOf(t, HS256), keyOf(t, ES256), keyOf(t, EdDSA), keyOf(t, RS256)
	if got := string(ringOf(t, secret).JWKS()); got != `{"keys":[]}` {
		t.Errorf("of a secret: %s", got)
	}
	want := string(ringOf(t, ec, ed, rs, secret).JWKS())
	if got := string(ringOf(t, rs, secret, ec, ed, rs).JWKS()); got != want {
		t.Errorf("%s\nand in another order of keys %s", want, got)
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal([]byte(want), &set); err != nil || len(set.Keys) != 3 {
		t.Fatalf("%s: %v", want, err)
	}
	for _, jwk := range set.Keys {
		if _, err := ParsePublicKey(jwk); err != nil {
			t.Errorf("%s: %v", jwk, err)
		}
	}
}

// A revoked key's tokens are refused at once, also by a replica that has them in memory.
func TestARememberedTokenDiesWithItsKeyAndOthersLive(t *testing.T) {
	t.Parallel()
	for _, gone := range algorithms() {
		leaving := keyOf(t, gone)
		staying := keyOf(t, ES256)
		i := issuerOf(t, leaving)
		v := NewVerifier(i, 1000)
		dead := issue(t, i)
		i.SetRing(ringOf(t, staying, leaving))
		alive := issue(t, i)
		mustVerify(t, v, dead)
		mustVerify(t, v, alive)
		if v.Len() != 2 {
			t.Fatalf("%s: %d tokens are remembered", gone, v.Len())
		}
		i.SetRing(ringOf(t, staying))
		if _, err := v.Verify(issued, dead); !errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnknownKey) != (gone != HS256) {
			t.Errorf("%s: %v", gone, err)
		}
		mustVerify(t, v, alive)
		i.SetRing(ringOf(t, staying, leaving))
		mustVerify(t, v, dead)
	}
}

func TestASecretThatIsTakenAwayTakesItsTokensAlong(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	v := NewVerifier(i, 1000)
	raw := issue(t, i)
	i.SetRing(secretRing(t, keyB, keyA))
	mustVerify(t, v, raw)
	i.SetRing(secretRing(t, keyB))
	if _, err := v.Verify(issued, raw); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestARingThatOnlyGainsKeysForgetsNothing(t *testing.T) {
	t.Parallel()
	first, second := keyOf(t, ES256), keyOf(t, EdDSA)
	i := issuerOf(t, first)
	v := NewVerifier(i, 1000)
	raw := issue(t, i)
	mustVerify(t, v, raw)
	remembered := func() *Access {
		for n := range v.memory.shards {
			for _, access := range v.memory.shards[n].young {
				return access
			}
		}
		return nil
	}
	before := remembered()
	i.SetRing(ringOf(t, first, second))
	i.SetRing(ringOf(t, second, first))
	mustVerify(t, v, raw)
	if before == nil || remembered() != before {
		t.Error("it was verified anew")
	}
}

// Else a token of a revoked key, verified just before the swap, would be remembered just after it.
func TestWhatTheRingBeforeHasVerifiedIsNotRememberedInTheNext(t *testing.T) {
	t.Parallel()
	i := issuerOf(t, keyOf(t, ES256))
	v := NewVerifier(i, 1000)
	shard, losses := &v.memory.shards[0], i.losses.Load()
	i.SetRing(ringOf(t, keyOf(t, ES256)))
	shard.put(digest{}, &Access{}, losses, v.memory.perGeneration) // as Verify does, had the swap come between
	if shard.get(digest{}, i.losses.Load(), v.memory.perGeneration) != nil {
		t.Error("it is answered before anything else is remembered")
	}
	shard.put(digest{1}, &Access{}, i.losses.Load(), v.memory.perGeneration)
	shard.put(digest{}, &Access{}, losses, v.memory.perGeneration)
	if shard.get(digest{}, i.losses.Load(), v.memory.perGeneration) != nil {
		t.Error("it is answered")
	}
}

// A rotation goes on under load: whoever signs and verifies meanwhile sees the one ring or the
// other.
func TestRingsMaySwapWhileManySignAndVerify(t *testing.T) {
	t.Parallel()
	ec, ed, secret, revoked := keyOf(t, ES256), keyOf(t, EdDSA), keyOf(t, HS256), keyOf(t, ES256)
	rings := []*Ring{
		ringOf(t, ec, ed, secret), ringOf(t, ed, ec, secret), ringOf(t, secret, ec, ed), ringOf(t, secret, ec, ed, revoked),
	}
	i := issuerOf(t, ec, ed, secret)
	v := NewVerifier(i, 1000)
	done := make(chan struct{})
	var swaps, users sync.WaitGroup
	swaps.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				i.SetRing(rings[n%len(rings)])
			}
		}
	})
	for range 4 {
		users.Go(func() {
			for range 100 {
				raw, err := i.Issue(issued, Subject{UserID: alice, SessionID: session, Username: "Alice", Version: 7}, 1e12)
				if err != nil {
					t.Error(err)
				}
				for range 3 {
					if _, err := v.Verify(issued, raw); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	users.Wait()
	close(done)
	swaps.Wait()
}

// It must not run beside others, whose allocations would count.
func TestAHitDoesNotAllocateByAnyAlgorithm(t *testing.T) {
	for _, a := range algorithms() {
		i := issuerOf(t, keyOf(t, a))
		v := NewVerifier(i, 1000)
		raw := issue(t, i)
		if got := testing.AllocsPerRun(100, func() { mustVerify(t, v, raw) }); got != 0 {
			t.Errorf("%s: %v allocations", a, got)
		}
	}
}

// The keys of a fuzz target are new in each of its processes, so a token is made in them.
func FuzzTheShortWayAgreesWithTheLibraryByEveryAlgorithm(f *testing.F) {
	keys := []Key{keyOf(f, HS256), keyOf(f, ES256), keyOf(f, EdDSA), keyOf(f, RS256)}
	i := issuerOf(f, keys[0], keys[1:]...)
	for n := range keys {
		f.Add(uint8(n), "typ", mediaType, ownPayload("", ""))
		f.Add(uint8(n), "alg", "HS256", ownPayload("", ""))
		f.Add(uint8(n), "kid", "../../dev/null", ownPayload(`"ver":7`, `"ver":7,"nbf":9`))
		f.Add(uint8(n), "crit", "exp", ownPayload(`["app"]`, `"app"`))
	}
	f.Fuzz(func(t *testing.T, n uint8, member, value, payload string) {
		key := keys[int(n)%len(keys)]
		header := key.headerOf(mediaType)
		header[member] = value
		raw := signedAs(t, key.algorithm.method(), key.signing(), header, payload)
		wantAlike(t, i, issued, raw)
		_, err := i.Verify(issued, raw)
		said, _ := header["alg"].(string)
		kid, _ := header["kid"].(string)
		if err == nil && (said != string(key.algorithm) || kid != key.id && key.id != "") {
			t.Errorf("a key of %s, said to be %s of %q, signs", key.algorithm, said, kid)
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%v is not ErrInvalid", err)
		}
	})
}

// FuzzVerifyByEveryAlgorithm lets nothing in that was not issued.
func FuzzVerifyByEveryAlgorithm(f *testing.F) {
	i := issuerOf(f, keyOf(f, ES256), keyOf(f, EdDSA), keyOf(f, RS256), keyOf(f, HS256))
	ring := i.Ring()
	var issuedHere []string
	for _, a := range algorithms() {
		for _, key := range ring.byHeader {
			if key.algorithm == a {
				signer := issuerOf(f, key)
				issuedHere = append(issuedHere, issue(f, signer))
			}
		}
	}
	for _, raw := range append(slices.Clone(issuedHere), "..", "eyJhbGciOiJub25lIn0.e30.") {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := i.Verify(issued, raw)
		// What another process of the fuzzer has issued is a stranger's here, but for the secret,
		// which all have.
		if err == nil && !slices.Contains(issuedHere, raw) {
			if _, bySecret := issuer(t, keyA).Verify(issued, raw); bySecret != nil {
				t.Errorf("%q is let in", raw)
			}
		}
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v is not ErrInvalid", raw, err)
		}
	})
}

// Tokens of HS256 name no key: of two lists, one would sign what the other is asked to verify.
func TestARingHasOneListOfSecretsPerhapsTwice(t *testing.T) {
	t.Parallel()
	var keys []Key
	for _, secret := range [][]byte{keyA, keyB} {
		k, err := SecretKey([][]byte{secret})
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	if _, err := NewRing(keys[0], keys[1]); err == nil {
		t.Error("two lists")
	}
	if _, err := NewRing(keys[0], keys[0]); err != nil {
		t.Error(err)
	}
}
