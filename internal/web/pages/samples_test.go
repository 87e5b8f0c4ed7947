package pages

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var (
	sampleNow   = time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC)
	longName    = strings.Repeat("grandmother.of.the.", 12) + "@example.org"
	longApp     = "The Department of Orders, Deliveries and Complaints of the Northern Regions"
	sampleNext  = "/authorize?client_id=orders&redirect_uri=https%3A%2F%2Forders.example%2F&state=x"
	firefox     = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
	iphone      = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
	androidUA   = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36"
	failedLogin = Failure{Why: WrongCredentials}
)

// drawn are pages as people may meet them, and with what is too long for any design.
func drawn() map[string]Page {
	return map[string]Page{
		"home":        Home{RegistrationOpen: true},
		"home closed": Home{Notice: NoticeDeleted},
		"home in":     Home{Username: "alice"},
		"login":       Login{RegistrationOpen: true, ForgotOpen: true, ByAddress: true},
		"login to":    Login{To: "Orders", Next: sampleNext, RegistrationOpen: true, Remember: true},
		"login wrong": Login{
			Username: "alice", To: "Orders", Next: sampleNext, Failure: failedLogin,
		},
		"login first":   Login{Notice: NoticeLoginFirst},
		"login already": Login{AlreadyAs: "bob", To: "Orders", Next: sampleNext},
		"login again": Login{
			Username: "alice", UsernameFixed: true, AlreadyAs: "alice", Next: sampleNext,
		},
		"login again wrong": Login{Username: "alice", UsernameFixed: true, Failure: failedLogin},
		"login long": Login{
			Username: longName, AlreadyAs: longName, To: longApp, Next: sampleNext,
			RegistrationOpen: true, Failure: failedLogin,
		},
		"register":         Register{MinLength: 8, NameMayBeAddress: true, To: "Orders", Next: sampleNext},
		"register address": Register{MinLength: 8, AsksAddress: true},
		"register address alone": Register{
			MinLength: 8, AsksAddress: true, NeedsAddress: true, Address: longName,
			AddressProblem: Problem{Why: AddressRefused},
		},
		"register wrong": Register{
			Username: "admin", MinLength: 15, UsernameProblem: Problem{Why: NameReserved},
			PasswordProblem: Problem{Why: PasswordShort, Bound: 15},
		},
		"password": DemandedPassword{Username: "alice", MinLength: 8, Remember: true, Next: "/"},
		"password wrong": DemandedPassword{
			Username: "alice", MinLength: 8, CurrentProblem: Problem{Why: PasswordWrong},
			NewProblem: Problem{Why: PasswordIsWord},
		},
		"forgot": Forgot{Next: sampleNext},
		"forgot long": Forgot{
			Login: longName, Failure: Failure{Why: Limited, RetryAfter: time.Minute},
		},
		"code": ResetByCode{
			Challenge: "9f9bd7a5-4cb0-4ef7-9f5c-04bb1d7a0001", MinLength: 8, Next: sampleNext,
		},
		"code again": ResetByCode{Challenge: "x", MinLength: 8, Notice: NoticeMailAgain},
		"code wrong": ResetByCode{Challenge: "x", MinLength: 8, Failure: Failure{Why: WrongCode}},
		"code with a short password": ResetByCode{
			Challenge: "x", Code: "A1B2-C3D4", MinLength: 15,
			NewProblem: Problem{Why: PasswordShort, Bound: 15},
		},
		"reset": ResetByLink{Token: "ghm_x", MinLength: 8},
		"reset wrong": ResetByLink{
			Token: "ghm_x", MinLength: 8, NewProblem: Problem{Why: PasswordBreached},
		},
		"verify":       VerifyByLink{Token: "ghm_x"},
		"verify in":    VerifyByLink{Token: "ghm_x", Username: "alice"},
		"verify long":  VerifyByLink{Token: "ghm_x", Username: longName, Failure: Failure{Why: AddressTaken}},
		"verify wrong": VerifyByLink{Token: "ghm_x", PasswordProblem: Problem{Why: PasswordWrong}},
		"proof": VerifyByCode{
			Challenge: "9f9bd7a5-4cb0-4ef7-9f5c-04bb1d7a0001", Login: "alice", Next: sampleNext,
			Notice: NoticeMailSent,
		},
		"proof in": VerifyByCode{Challenge: "x", Username: longName, Notice: NoticeMailAgain},
		"proof wrong": VerifyByCode{
			Challenge: "x", Login: longName, Failure: Failure{Why: WrongCode},
		},
		"proof with a wrong password": VerifyByCode{
			Challenge: "x", Code: "A1B2-C3D4", PasswordProblem: Problem{Why: PasswordWrong},
		},
		"undo":             UndoByLink{Token: "ghm_x"},
		"undo too late":    UndoByLink{Token: "ghm_x", Failure: Failure{Why: AddressTaken}},
		"invitation":       Invitation{Token: "ghm_x", MinLength: 8},
		"invitation named": Invitation{Token: "ghm_x", NeedsName: true, MinLength: 8},
		"invitation wrong": Invitation{
			Token: "ghm_x", NeedsName: true, Username: "alice", MinLength: 15,
			UsernameProblem: Problem{Why: NameTaken},
			NewProblem:      Problem{Why: PasswordShort, Bound: 15},
		},
		"error of an invitation": Error{Status: 400, Why: FaultBadInvitation, RequestID: "abc"},
		"error of a link": Error{
			Status: 400, Why: FaultBadLink, AskAgain: true, RequestID: "abc",
		},
		"consent": Consent{
			Username: "alice", App: "Orders", Next: sampleNext,
			Asks: []string{"openid", "profile", "email", "offline_access", "orders:write"},
		},
		"consent all":  Consent{Username: "alice", App: "Orders", Asks: []string{"openid", "*"}},
		"consent none": Consent{Username: longName, App: longApp},
		"end session":  EndSession{Username: "alice"},
		"end session for an app": EndSession{
			Username: "alice", App: "Orders", Hidden: []Hidden{{"state", "x"}, {"client_id", "orders"}},
		},
		"logged out": LoggedOut{},
		"no factor":  NoFactor{Username: "alice", App: "wiki.example.org"},
		"logged out onward": LoggedOut{
			App: "Orders", Onward: "https://orders.example/bye?state=x",
		},
		"account": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions(),
			Notice: NoticePasswordChanged,
		},
		"account alone": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
		},
		"account wrong": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:2],
			CurrentProblem: Problem{Why: PasswordWrong}, NewProblem: Problem{Why: PasswordIsUsername},
		},
		"account long": Account{
			Username: longName, Now: sampleNow, MinLength: 8, Sessions: manySessions(), Older: "c",
			Later: true, Failure: Failure{Why: Limited, RetryAfter: 7 * time.Minute},
		},
		"account with apps": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Apps: []AllowedApp{
				{"orders", "Orders", []string{"openid", "email", "offline_access", "orders:write"}, sampleNow},
				{"long", longApp, []string{"*"}, sampleNow.AddDate(-1, 0, 0)},
				{"quiet", "wiki.example.org", nil, sampleNow.AddDate(0, 0, -1)},
			}, Notice: NoticeAppOut,
		},
		"account with an address": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Address: AccountAddress{
				Verified: longName, Waiting: "alice@example.net", MayChange: true,
			},
		},
		"account that could have one": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Address: AccountAddress{MayChange: true},
		},
		"email": AccountEmail{Username: "alice", Address: AccountAddress{MayChange: true}},
		"email to be confirmed": AccountEmail{Username: "alice", Address: AccountAddress{
			Verified: longName, Waiting: "alice@example.net", MayChange: true, MayRemove: true,
		}},
		"email wrong": AccountEmail{
			Username: "alice", Given: "alice", AddressProblem: Problem{Why: AddressRefused},
			CurrentProblem: Problem{Why: PasswordWrong},
		},
		"delete": DeleteAccount{Username: "alice"},
		"delete wrong": DeleteAccount{
			Username: "alice", PasswordProblem: Problem{Why: PasswordWrong},
		},
		"delete last admin":      DeleteAccount{Username: "alice", Failure: Failure{Why: LastAdmin}},
		"login passkeys":         Login{Passkeys: true, To: "Orders", Next: sampleNext, ForgotOpen: true},
		"login passkeys already": Login{Passkeys: true, AlreadyAs: "bob", Username: "bob"},
		"home offered":           Home{Username: "alice", OffersPasskey: true},
		"account offers": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Factors: AccountFactors{Shown: true}, OfferDays: 30, OffersPasskey: true,
		},
		"account with factors": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Factors: AccountFactors{Shown: true, App: true, Passkeys: 2, Codes: 7},
		},
		"account without a password": Account{
			Username: "alice", Now: sampleNow, MinLength: 8, Sessions: sampleSessions()[:1],
			Factors: AccountFactors{Shown: true, Passkeys: 2}, Passwordless: true,
		},
		"email without a password": AccountEmail{
			Username: "alice", Passwordless: true, Address: AccountAddress{
				Verified: "alice@example.org", MayChange: true, MayRemove: true,
			},
		},
		"delete without a password": DeleteAccount{Username: "alice", Passwordless: true},
		"factor": Factor{
			Username: "alice", Next: sampleNext, App: true, Passkeys: true, Codes: true, TrustDays: 30,
		},
		"factor app": Factor{Username: longName, App: true, TrustDays: 30},
		"factor app wrong": Factor{
			Username: "alice", App: true, Codes: true, Failure: Failure{Why: WrongFactor},
		},
		"factor passkey":  Factor{Username: "alice", Passkeys: true, TrustDays: 30},
		"factor recovery": Factor{Username: "alice", Codes: true, Failure: Failure{Why: FactorLocked}},
		"enrol": Enrol{
			Username: "alice", Next: sampleNext, App: sampleApp(), Passkeys: true,
			PasskeyName: "Firefox, Linux",
		},
		"enrol wrong": Enrol{Username: longName, App: sampleApp(), Failure: Failure{Why: WrongFactor}},
		"codes":       RecoveryCodes{Username: "alice", Codes: sampleCodes(), Next: sampleNext},
		"security": Security{
			Username: "alice", Now: sampleNow, MaySetUp: true, MakesPasskeys: true, App: true,
			AppSince: sampleNow, Codes: 8, Passkeys: samplePasskeys(), Devices: sampleDevices(),
			MayRemovePassword: true, Notice: NoticeFactorAdded,
		},
		"security none": Security{Username: longName, MaySetUp: true, MakesPasskeys: true},
		"security few": Security{
			Username: "alice", Now: sampleNow, MaySetUp: true, App: true, AppSince: sampleNow, Codes: 2,
			Failure: Failure{Why: FactorDemanded},
		},
		"security without a password": Security{
			Username: "alice", Now: sampleNow, MakesPasskeys: true, Passkeys: samplePasskeys()[:1],
			Passwordless: true,
		},
		"security off": Security{Username: "alice", Now: sampleNow},
		"app":          SetUpApp{Username: "alice", App: sampleApp(), Others: true},
		"app wrong": SetUpApp{
			Username: "alice", App: sampleApp(), Failure: Failure{Why: WrongFactor},
		},
		"passkey new": NewPasskey{Username: "alice", Name: "Firefox, Linux", Others: true},
		"passkey new wrong": NewPasskey{
			Username: "alice", Name: longName[:64], Failure: Failure{Why: PasskeyRefused},
		},
		"passkey": ChangePasskey{Username: "alice", ID: "9f9bd7a5", Name: "Key"},
		"passkey long": ChangePasskey{
			Username: "alice", ID: "9f9bd7a5", Name: longName[:64],
		},
		"passkey last": ChangePasskey{
			Username: "alice", ID: "9f9bd7a5", Name: "Key",
			Failure: Failure{Why: LastWayIn},
		},
		"error detail": Error{
			Status: 400, Why: FaultBadApp, RequestID: "0f8a2c54-6a3f-4b1e-9d35-2f6cf2a1c001",
			Detail: "invalid_request: redirect_uri is not one of the client's", Username: "alice",
		},
	}
}

// samples are those, and one for everything that can be said.
func samples(t *testing.T) map[string]Page {
	t.Helper()
	all := drawn()
	for _, why := range wordsOf(t, "FailureReason") {
		all["login "+why] = Login{
			Failure: Failure{Why: FailureReason(why), RetryAfter: 90 * time.Second},
		}
	}
	for _, why := range wordsOf(t, "ProblemReason") {
		all["register "+why] = Register{
			Username: "x", MinLength: 8, UsernameProblem: Problem{Why: ProblemReason(why), Bound: 8},
		}
	}
	for _, notice := range wordsOf(t, "Notice") {
		all["account "+notice] = Account{Username: "alice", Notice: Notice(notice)}
	}
	for _, why := range wordsOf(t, "Fault") {
		all["error "+why] = Error{Status: 404, Why: Fault(why), App: "Orders", RequestID: "abc"}
	}
	return all
}

// wordsOf are the constants of one of the types of reasons.go.
func wordsOf(t *testing.T, kind string) (words []string) {
	t.Helper()
	source, err := os.ReadFile("reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	constant := regexp.MustCompile(`(?m)^\t\w+ +` + kind + ` = "(\w+)"`)
	for _, match := range constant.FindAllStringSubmatch(string(source), -1) {
		words = append(words, match[1])
	}
	if len(words) == 0 {
		t.Fatalf("there is no constant of type %s", kind)
	}
	return words
}

func sampleApp() AppOffer {
	return AppOffer{
		URI: "otpauth://totp/Example%20Bakery:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP" +
			"&issuer=Example%20Bakery&algorithm=SHA1&digits=6&period=30",
		Secret: "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", Sealed: "c2VhbGVk",
	}
}

func sampleCodes() (codes []string) {
	for n := range 10 {
		codes = append(codes, fmt.Sprintf("K7QM-2X9%d-W4TP-ZB3H-9C0D-1EVN", n))
	}
	return codes
}

func samplePasskeys() []Passkey {
	return []Passkey{
		{ID: "9f9bd7a5", Name: "Firefox, Linux", Made: sampleNow.AddDate(0, -2, 0), LastUsed: sampleNow, Synced: true},
		{ID: "9f9bd7a6", Name: "The blue key on my key ring", Made: sampleNow.AddDate(0, 0, -1)},
		{ID: "9f9bd7a7", Name: longName[:64], Made: sampleNow, LastUsed: sampleNow},
	}
}

func sampleDevices() []TrustedDevice {
	return []TrustedDevice{
		{ID: "9f9bd7a8", UserAgent: firefox, Address: "192.0.2.17", Until: sampleNow.AddDate(0, 0, 30)},
		{ID: "9f9bd7a9", UserAgent: iphone, Address: "2001:db8:85a3:1234:5678:8a2e:370:7334",
			Until: sampleNow.AddDate(0, 0, 3)},
	}
}

func sampleSessions() []Session {
	return []Session{
		{ID: "1", UserAgent: firefox, Address: "192.0.2.17", LastUsed: sampleNow, Current: true,
			Apps: []string{"Orders", "Wiki"}},
		{ID: "2", UserAgent: iphone, Address: "2001:db8:85a3:1234:5678:8a2e:370:7334",
			LastUsed: sampleNow.Add(-5 * time.Hour)},
		{ID: "3", UserAgent: androidUA, Address: "203.0.113.9",
			LastUsed: sampleNow.Add(-17 * 24 * time.Hour), Apps: []string{longApp}},
		{ID: "5", UserAgent: "Go-http-client/1.1", Address: "203.0.113.11",
			LastUsed: sampleNow.Add(-20 * 24 * time.Hour), App: "Orders"},
		{ID: "4", UserAgent: "curl/8.5.0", Address: "203.0.113.10",
			LastUsed: sampleNow.Add(-200 * 24 * time.Hour)},
	}
}

func manySessions() []Session {
	var all []Session
	for n := range 20 {
		all = append(all, Session{
			ID: fmt.Sprint(n), UserAgent: strings.Repeat("Program", n+1), Address: "192.0.2.1",
			LastUsed: sampleNow.Add(-time.Duration(n*n) * time.Hour), Current: n == 3,
		})
	}
	return all
}

func newPages(t *testing.T, base string) *Pages {
	t.Helper()
	p, err := New(Options{AppName: "Example Bakery", Base: base})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func render(t *testing.T, p *Pages, language Language, page Page) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.Render(&out, language, page); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
