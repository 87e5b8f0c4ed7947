package token

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func serviceKeys(t testing.TB, keys ...[]byte) *ServiceKeys {
	t.Helper()
	k, err := NewServiceKeys(keys, "https://id.test")
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func serviceToken(t testing.TB, k *ServiceKeys) string {
	t.Helper()
	raw, err := k.Issue(issued, "shop")
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAServicesTokenIsGoodForAMinute(t *testing.T) {
	t.Parallel()
	k := serviceKeys(t, keyA)
	raw := serviceToken(t, k)
	for after, good := range map[time.Duration]bool{
		-Leeway - time.Second: false, -Leeway: true, 0: true,
		serviceLifetime + Leeway - 1: true, serviceLifetime + Leeway: false,
	} {
		name, err := k.Verify(issued.Add(after), raw)
		if good && (err != nil || name != "shop") || !good && !errors.Is(err, ErrInvalid) {
			t.Errorf("after %v: %q, %v", after, name, err)
		}
	}
}

// Both are signed with one key: only typ tells them apart, whatever else an operator makes equal.
func TestNeitherKindOfTokenPassesForTheOther(t *testing.T) {
	t.Parallel()
	i, err := NewIssuer(Settings{Ring: secretRing(t, keyA), Issuer: "same", Audience: "same", Lifetime: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewServiceKeys([][]byte{keyA}, "same")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Verify(issued, issue(t, i)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "typ") {
		t.Errorf("a user's token: %v", err)
	}
	raw, err := k.Issue(issued, "same")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Verify(issued, raw); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "typ") {
		t.Errorf("a service's token: %v", err)
	}
}

func TestWhatIsNoTokenOfAServiceIsRefused(t *testing.T) {
	t.Parallel()
	k := serviceKeys(t, keyA)
	for name, change := range map[string]struct {
		header map[string]any
		claims jwt.MapClaims
		method jwt.SigningMethod
		key    any
	}{
		"another key":     {key: keyB},
		"no signature":    {method: jwt.SigningMethodNone, key: jwt.UnsafeAllowNoneSignatureType},
		"another method":  {method: jwt.SigningMethodHS512},
		"plain typ":       {header: map[string]any{"typ": "JWT"}},
		"no typ":          {header: map[string]any{"typ": nil}},
		"crit":            {header: map[string]any{"crit": []string{"exp"}}},
		"another aud":     {claims: jwt.MapClaims{"aud": "gatehouse"}},
		"no aud":          {claims: jwt.MapClaims{"aud": nil}},
		"no exp":          {claims: jwt.MapClaims{"exp": nil}},
		"expired":         {claims: jwt.MapClaims{"exp": issued.Add(-Leeway).Unix()}},
		"too long a life": {claims: jwt.MapClaims{"exp": issued.Add(maxServiceLifetime + time.Second).Unix()}},
		"no iat":          {claims: jwt.MapClaims{"iat": nil}},
		"from the future": {claims: jwt.MapClaims{"iat": issued.Add(time.Minute).Unix(), "exp": issued.Add(2 * time.Minute).Unix()}},
		"not yet":         {claims: jwt.MapClaims{"nbf": issued.Add(time.Minute).Unix()}},
		"no iss":          {claims: jwt.MapClaims{"iss": nil}},
		"empty iss":       {claims: jwt.MapClaims{"iss": ""}},
		"iss of lines":    {claims: jwt.MapClaims{"iss": "shop\nadmin"}},
		"long iss":        {claims: jwt.MapClaims{"iss": strings.Repeat("s", maxServiceName+1)}},
		"good":            {claims: jwt.MapClaims{"exp": issued.Add(maxServiceLifetime).Unix()}},
	} {
		claims := jwt.MapClaims{"iss": "shop", "aud": "https://id.test", "iat": issued.Unix(), "exp": issued.Add(time.Minute).Unix()}
		for member, value := range change.claims {
			if claims[member] = value; value == nil {
				delete(claims, member)
			}
		}
		if change.method == nil {
			change.method = jwt.SigningMethodHS256
		}
		if change.key == nil {
			change.key = keyA
		}
		made := jwt.NewWithClaims(change.method, claims)
		made.Header["typ"] = serviceMediaType
		for member, value := range change.header {
			if made.Header[member] = value; value == nil {
				delete(made.Header, member)
			}
		}
		raw, err := made.SignedString(change.key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Verify(issued, raw); errors.Is(err, ErrInvalid) != (name != "good") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAServiceWithAnOldKeyIsLetInWhileTheKeyVerifies(t *testing.T) {
	t.Parallel()
	raw := serviceToken(t, serviceKeys(t, keyA))
	if _, err := serviceKeys(t, keyB, keyA).Verify(issued, raw); err != nil {
		t.Error(err)
	}
	if _, err := serviceKeys(t, keyB).Verify(issued, raw); !errors.Is(err, ErrInvalid) {
		t.Errorf("after the rotation: %v", err)
	}
}

func TestServiceKeysRefuseWhatWouldBeUseless(t *testing.T) {
	t.Parallel()
	for name, try := range map[string]func() error{
		"no key":      func() error { _, err := NewServiceKeys(nil, "x"); return err },
		"a short key": func() error { _, err := NewServiceKeys([][]byte{keyA, keyA[1:]}, "x"); return err },
		"no audience": func() error { _, err := NewServiceKeys([][]byte{keyA}, ""); return err },
		"no name":     func() error { _, err := serviceKeys(t, keyA).Issue(issued, ""); return err },
		"a long name": func() error { _, err := serviceKeys(t, keyA).Issue(issued, strings.Repeat("s", 65)); return err },
		"a space":     func() error { _, err := serviceKeys(t, keyA).Issue(issued, "the shop"); return err },
	} {
		if try() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestBearerTakesOneTokenInAnyCase(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		headers []string
		want    string
		err     error
	}{
		{nil, "", ErrNone},
		{[]string{""}, "", ErrNone},
		{[]string{"Bearer"}, "", ErrNone},
		{[]string{"Bearer  "}, "", ErrNone},
		{[]string{"Basic eA=="}, "", ErrNone},
		{[]string{"Bearerx"}, "", ErrNone},
		{[]string{"bEARER   x"}, "x", nil},
		{[]string{"Bearer x", "Bearer x"}, "", ErrInvalid},
	} {
		if got, err := Bearer(test.headers); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: %q, %v", test.headers, got, err)
		}
	}
}
