package password

import (
	"testing"
	"time"
)

// A wrong password for an account with a hash of cost 14 took 8 s, and for every other name 2 s.
func TestARefusalIsOwedTheTimeOfTheDearestHash(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 6)
	h.pace.Store(int64(time.Millisecond))
	h.argon2Pace.Store(100)
	for _, test := range []struct {
		dearest Costs
		took    time.Duration
		forms   int
		want    time.Duration
	}{
		{Costs{}, 0, 1, 0},
		{Costs{Bcrypt: 6}, 0, 1, 0}, // none is dearer: noise in what one took is no reason to wait
		{Costs{Bcrypt: 5}, 0, 1, 0},
		{Costs{Bcrypt: 8}, time.Millisecond, 1, 3 * time.Millisecond},
		{Costs{Bcrypt: 8}, 2 * time.Millisecond, 2, 6 * time.Millisecond},
		{Costs{Bcrypt: 8}, 5 * time.Millisecond, 1, 0}, // the dear one itself
		{Costs{Bcrypt: 6, Argon2id: 100_000}, time.Millisecond, 1, 9 * time.Millisecond},
		{Costs{Bcrypt: 8, Argon2id: 10_000}, time.Millisecond, 1, 3 * time.Millisecond},
		{Costs{Bcrypt: 16}, time.Millisecond, 1, time.Second},
	} {
		h.SetDearest(test.dearest)
		if got := h.owed(test.took, test.forms); got != test.want {
			t.Errorf("%+v after %v, %d forms: %v, want %v", test.dearest, test.took, test.forms, got, test.want)
		}
	}
}

func TestWhatAHashCostsIsRead(t *testing.T) {
	t.Parallel()
	h := newHasher(t, 5)
	for stored, want := range map[string]Costs{
		mustHash(t, h, "a password"):                                   {Bcrypt: 5},
		"$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW": {Bcrypt: 12},
		argon2idVectors[0].hash:                                        {Argon2id: parsedArgon2id(t, argon2idVectors[0].hash).work()},
		"no hash":                                                      {},
	} {
		if got := CostsOf(stored); got != want {
			t.Errorf("%s: %+v, want %+v", stored, got, want)
		}
	}
	for _, err := range []error{nil, ErrUnusableHash} {
		stored := ""
		if err != nil {
			stored = "$2x$05$" + "EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
		}
		h.SetDearest(Costs{Bcrypt: 16})
		if verdict, _ := h.Verify(t.Context(), "", stored, "a password"); verdict.Owed != mostOwed {
			t.Errorf("refused as %v, %v is owed", err, verdict.Owed)
		}
	}
}

func parsedArgon2id(t *testing.T, stored string) argon2id {
	t.Helper()
	a, err := parseArgon2id(stored)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
