package token

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

// Whoever reads the token elsewhere, and this service itself, would otherwise not know a weak login
// from a strong one.
func TestAnAccessTokenSaysHowAndWhenItsUserLoggedIn(t *testing.T) {
	t.Parallel()
	i := issuer(t, keyA)
	at := issued.Add(-time.Minute - time.Millisecond)
	s := Subject{
		UserID: alice, SessionID: session, Username: "Alice", Version: 7, ACR: ACR2, AuthTime: at,
	}
	raw, err := i.Issue(issued, s, time.Hour, "pwd", "otp", "mfa")
	if err != nil {
		t.Fatal(err)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(raw, ".")[1])
	if want := `"auth_time":1767322984,"acr":"aal2","amr":["pwd","otp","mfa"]`; err != nil ||
		!strings.Contains(string(payload), want) {
		t.Errorf("%s, %v: want %s", payload, err, want)
	}
	for name, verify := range map[string]func(time.Time, string) (Access, error){
		"the short way": i.Verify, "the library": i.verifyAny,
	} {
		got, err := verify(issued, raw)
		if err != nil || got.ACR != ACR2 || got.AuthTime.Unix() != at.Unix() {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// Every case is a request that would be let in with a login that is too weak or too old.
func TestALoginSatisfiesADemandOnlyIfTheTokenSaysSo(t *testing.T) {
	t.Parallel()
	ago := func(d time.Duration) time.Time { return issued.Add(-d) }
	for name, test := range map[string]struct {
		acr    string
		at     time.Time
		demand StepUp
		want   bool
	}{
		"nothing demanded":             {want: true},
		"two of two":                   {acr: ACR2, demand: StepUp{ACR: ACR2}, want: true},
		"two of one":                   {acr: ACR2, demand: StepUp{ACR: ACR1}, want: true},
		"one of one":                   {acr: ACR1, demand: StepUp{ACR: ACR1}, want: true},
		"one of two":                   {acr: ACR1, demand: StepUp{ACR: ACR2}},
		"an earlier release's":         {demand: StepUp{ACR: ACR1}},
		"another word":                 {acr: ACR2, demand: StepUp{ACR: "phr"}},
		"the same other word":          {acr: "phr", demand: StepUp{ACR: "phr"}, want: true},
		"another word of two":          {acr: "phr", demand: StepUp{ACR: ACR2}},
		"young":                        {at: ago(59 * time.Second), demand: StepUp{MaxAge: time.Minute}, want: true},
		"just so old":                  {at: ago(time.Minute), demand: StepUp{MaxAge: time.Minute}, want: true},
		"too old":                      {at: ago(61 * time.Second), demand: StepUp{MaxAge: time.Minute}},
		"nobody knows when":            {acr: ACR2, demand: StepUp{MaxAge: time.Minute}},
		"by a clock that is ahead":     {at: ago(-Leeway), demand: StepUp{MaxAge: time.Minute}, want: true},
		"strong, and too old for both": {acr: ACR2, at: ago(time.Hour), demand: StepUp{ACR2, time.Minute}},
		"young, and too weak for both": {acr: ACR1, at: issued, demand: StepUp{ACR2, time.Minute}},
		"both":                         {acr: ACR2, at: issued, demand: StepUp{ACR2, time.Minute}, want: true},
	} {
		s := Subject{ACR: test.acr, AuthTime: test.at}
		if got := s.Satisfies(test.demand, issued); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestAChallengeTellsWhatIsDemanded(t *testing.T) {
	t.Parallel()
	const start = `Bearer realm="gatehouse", error="insufficient_user_authentication", ` +
		`error_description="A stronger or more recent login is needed"`
	for demand, want := range map[StepUp]string{
		{ACR: ACR2}:               start + `, acr_values="aal2"`,
		{MaxAge: 5 * time.Minute}: start + `, max_age="300"`,
		{ACR2, 5 * time.Minute}:   start + `, acr_values="aal2", max_age="300"`,
	} {
		if got := demand.Challenge(); got != want {
			t.Errorf("%+v: %s", demand, got)
		}
	}
}
