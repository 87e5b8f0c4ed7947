package auth

import (
	"errors"
	"testing"
	"time"

	"gatehouse.example/internal/token"
)

// Whoever has stolen a session, or the device that stands in for the second factor, must not change
// what the owner logs in with.
func TestOnlyAFreshProofOfAllFactorsCounts(t *testing.T) {
	t.Parallel()
	now := time.Now()
	with := User{Factors: FactorCount{TOTP: true}}
	password, both := []string{"pwd"}, []string{"pwd", "otp", "mfa"}
	for name, test := range map[string]struct {
		user    User
		methods []string
		ago     time.Duration
		want    *token.StepUp
	}{
		"fresh":                         {methods: password, ago: 5 * time.Minute},
		"stale":                         {methods: password, ago: 5*time.Minute + 1, want: &token.StepUp{MaxAge: freshFor}},
		"fresh with both":               {user: with, methods: both, ago: time.Minute},
		"stale with both":               {with, both, 6 * time.Minute, &token.StepUp{ACR: "aal2", MaxAge: freshFor}},
		"fresh without the second":      {with, password, time.Second, &token.StepUp{ACR: "aal2", MaxAge: freshFor}},
		"passkey alone":                 {user: with, methods: []string{"pop", "user", "mfa"}, ago: time.Minute},
		"recovery codes are no factor":  {user: User{Factors: FactorCount{RecoveryCodes: 9}}, methods: password},
		"of an earlier release, stale":  {methods: nil, ago: time.Hour, want: &token.StepUp{MaxAge: freshFor}},
		"a demand without a factor yet": {user: User{FactorDemanded: true}, methods: password},
	} {
		err := SessionState{User: test.user, Methods: test.methods, AuthTime: now.Add(-test.ago)}.provedAnew(now)
		insufficient, ok := errors.AsType[*InsufficientError](err)
		if ok != (test.want != nil) || ok && insufficient.Demand != *test.want ||
			errors.Is(err, ErrInsufficientAuthentication) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (SessionState{}).provedAnew(now); !errors.Is(err, ErrInsufficientAuthentication) {
		t.Errorf("a session of which nobody knows anything: %v", err)
	}
}
