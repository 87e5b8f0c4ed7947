package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse.example/internal/auth"
	"gatehouse.example/internal/auth/authtest"
)

// Whoever has only stolen a token must not be able to destroy the account.
func TestAnAccountIsDeletedByItsOwnerWithThePassword(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	f.loggedIn("bob")
	alice := f.tokensOf(f.loginNew("alice"))
	wrong := f.as(alice, "DELETE", "/users/me", `{"current_password":"guess"}`)
	f.want("a guess", wrong, 422)
	if !strings.Contains(wrong.body, `"current_password"`) {
		t.Error(wrong.body)
	}
	f.want("after it", f.as(alice, "GET", "/users/me", ""), 200)
	right := `{"current_password":"` + goodPassword + `"}`
	f.want("with the password", f.as(alice, "DELETE", "/users/me", right), 204)
	f.want("access token", f.as(alice, "GET", "/users/me", ""), 401)
	f.want("refresh token", f.refreshed(alice.refresh), 400)
	f.want("again", f.as(alice, "DELETE", "/users/me", right), 401)
	f.want("login", f.login("alice", goodPassword), 401)
	f.want("the name", f.register("alice", goodPassword), 409)
	f.want("another", f.login("bob", goodPassword), 200)
	f.wantUsers(1)
}

func TestTheLastAdminDoesNotDeleteTheOwnAccount(t *testing.T) {
	t.Parallel()
	f := start(t, settings{})
	root := f.root()
	right := `{"current_password":"` + goodPassword + `"}`
	f.want("the last one", f.as(root, "DELETE", "/users/me", right), 409)
	f.loggedIn("second")
	must(t, f.rules.Roles.Grant(t.Context(), authtest.Operator(), f.idOf("second"), auth.AdminRole))
	f.want("one of two", f.as(root, "DELETE", "/users/me", right), 204)
}

// columns are those of a table with something of a user: what the document says of them, by its
// names, and what it leaves out.
type columns struct {
	list string // of the document; "" is its account
	told map[string]string
	// The reasons for what is left out: hash, derived (from what is told), private (of the service,
	// or of others).
	left map[string]string
}

func plainly(names ...string) map[string]string {
	told := make(map[string]string)
	for _, name := range names {
		told[name] = name
	}
	return told
}

// personal is every table that has something of a user. Whoever adds one, or a column, decides here
// whether its user gets to see it.
func personal() map[string]columns {
	with := func(told map[string]string, more map[string]string) map[string]string {
		maps.Copy(told, more)
		return told
	}
	return map[string]columns{
		"users": {"", plainly("id", "username", "disabled_at", "token_version", "created_at",
			"updated_at", "must_change_password", "password_expires_at", "password_changed_at",
			"email", "email_verified_at", "verify_until", "password_removed_at"),
			map[string]string{"factor_failures": "private", "username_key": "derived", "password_hash": "hash",
				"password_key": "private", "email_key": "derived",
				"username_address": "derived"}},
		"user_roles": {"", map[string]string{"role_name": "roles"},
			map[string]string{"user_id": "derived", "granted_at": "private",
				"username_key": "derived"}},
		"sessions": {"sessions", with(plainly("id", "created_at", "last_used_at", "ended_at",
			"end_reason", "client_address", "user_agent", "scope", "browser", "offline",
			"auth_time", "amr", "openid", "claims", "resource", "trusted"), map[string]string{
			"idle_expires_at": "expires_at", "client_id": "client", "parent_id": "parent",
			"rotated_network": "network",
		}), map[string]string{"user_id": "derived", "salt": "hash", "counter": "private",
			"rotated_at": "derived", "expires_at": "private", "repeats": "private",
			"repeated_elsewhere_at": "private", "idle_seconds": "private"}},
		"consents": {"consents", map[string]string{"client_id": "client", "words": "scope",
			"granted_at": "granted_at"}, map[string]string{"user_id": "derived"}},
		"authorization_codes": {"codes", with(plainly("redirect_uri", "scope", "openid", "claims",
			"resource", "auth_time", "expires_at", "redeemed_at"), map[string]string{
			"session_id": "session", "started_id": "started", "client_id": "client",
		}), map[string]string{"digest": "hash", "challenge": "hash", "nonce": "private",
			"user_id": "derived", "token_version": "private", "amr": "derived"}},
		"audit_events": {"events", with(plainly("at", "action", "outcome", "target", "request_id",
			"client_address", "user_agent", "count", "actor"), map[string]string{
			"user_id": "about",
		}), map[string]string{"id": "private", "actor_id": "private", "operator_name": "private"}},
		"revocations": {"", nil, map[string]string{"id": "private", "user_id": "derived",
			"version": "derived", "session_id": "derived", "at": "private"}},
		"username_skeletons": {"", nil, map[string]string{"user_id": "derived", "skeleton": "hash",
			"is_alone": "private"}},
		"mails": {"mails", plainly("kind", "created_at", "expires_at", "outcome", "done_at"),
			map[string]string{"id": "private", "user_id": "derived", "sealed": "private",
				"admitted_at": "private", "attempts": "private", "problem": "private"}},
		// With the id, a code could be guessed.
		"challenges": {"challenges", plainly("purpose", "email", "created_at", "expires_at",
			"redeemed_at"), map[string]string{"id": "private", "user_id": "derived",
			"asked_as": "private", "token_version": "private", "email_key": "derived",
			"attempts": "private"}},
		"totp_secrets": {"totp", plainly("created_at"), map[string]string{"user_id": "derived",
			"sealed": "hash", "last_step": "private"}},
		"recovery_codes": {"recovery_codes", plainly("created_at", "used_at"),
			map[string]string{"user_id": "derived", "digest": "hash"}},
		"passkeys": {"passkeys", plainly("name", "aaguid", "backup_eligible", "backed_up",
			"user_verified", "transports", "created_at", "last_used_at"),
			map[string]string{"id": "private", "user_id": "derived", "credential_id": "private",
				"public_key": "private", "sign_count": "private"}},
		// With the id, a device could pass for a trusted one.
		"trusted_devices": {"trusted_devices", plainly("created_at", "expires_at",
			"client_address", "user_agent"), map[string]string{"user_id": "derived",
			"device_id": "private"}},
		"invitations": {"", nil, map[string]string{"user_id": "derived", "email_key": "derived",
			"created_at": "private"}},
		"login_keys": {"", nil, map[string]string{"user_id": "derived", "key": "derived",
			"kind": "derived"}},
	}
}

// A table or a column that comes later would be missing in what people get of their data.
func TestAnExportHasAllThatIsStoredOfTheUser(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	known := personal()
	rows, err := a.owner.Query(t.Context(), `
		SELECT c.relname::text, a.attname::text
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
		  AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
		  AND (c.relname = 'users' OR EXISTS (
		      SELECT FROM pg_attribute o
		      WHERE o.attrelid = c.oid AND NOT o.attisdropped
		        AND o.attname ~ '(user|actor|session|parent)_id'
		  ) OR EXISTS (
		      SELECT FROM pg_constraint f
		      WHERE f.conrelid = c.oid AND f.confrelid IN ('users'::regclass, 'sessions'::regclass)
		  ))`)
	must(t, err)
	seen := make(map[string]bool)
	for rows.Next() {
		var table, column string
		must(t, rows.Scan(&table, &column))
		seen[table+"."+column] = true
		_, told := known[table].told[column]
		if _, left := known[table].left[column]; told == left {
			t.Errorf("%s.%s is neither told nor left out", table, column)
		}
	}
	must(t, rows.Err())
	for table, c := range known {
		for _, names := range []map[string]string{c.told, c.left} {
			for column := range names {
				if !seen[table+"."+column] {
					t.Errorf("%s.%s does not exist", table, column)
				}
			}
		}
	}
	parent, session := a.fill()
	answer := a.as(a.alice, "GET", "/users/me/data", "")
	a.want("export", answer, 200)
	for table, key := range map[string][2]string{
		"users": {"username", "alice"}, "user_roles": {"role_name", "clerk"},
		"sessions": {"id", session}, "consents": {"client_id", "shop"},
		"authorization_codes": {"redirect_uri", "https://shop.test/back"},
		"audit_events":        {"target", "a target"},
		"mails":               {"kind", "new_device"}, "challenges": {"purpose", "undo"},
		"totp_secrets": {"created_at", "2026-01-02 03:04:05+00"}, "passkeys": {"name", "the key of alice"},
		"recovery_codes":  {"used_at", "2026-01-02 03:04:05+00"},
		"trusted_devices": {"user_agent", "a trusted browser"},
	} {
		a.wantTold(answer, table, known[table], key[0], key[1])
	}
	if !strings.Contains(answer.body, parent) {
		t.Error("the parent is not there")
	}
	codes := answer.json(t, "codes").([]any)
	if !slices.ContainsFunc(codes, func(code any) bool {
		c := code.(map[string]any)
		return c["client"] == nil && c["session"] == nil && c["redirect_uri"] == nil
	}) {
		t.Errorf("the code of an app without a browser is not there: %v", codes)
	}
}

// fill gives alice a row with a value in each column of each table. The parent of the session that
// it returns has been deleted, as happens to an offline session.
func (a *audited) fill() (parent, session string) {
	a.Helper()
	_, _, err := a.rules.Clients.Add(a.Context(), authtest.Operator(), auth.Client{
		ID: "shop", Title: "The shop", GrantTypes: []string{auth.GrantPassword},
	})
	must(a, err)
	alice := a.idOf("alice")
	parent, session = uuid.NewString(), uuid.NewString()
	a.exec(`UPDATE users SET email = 'Alice@example.org', email_key = 'alice@example.org',
		email_verified_at = now() - interval '1 h' WHERE id = $1`, alice)
	a.exec(`INSERT INTO sessions (id, user_id, salt, idle_expires_at, expires_at, ended_at, end_reason, client_address, user_agent,
			scope, client_id, rotated_network, parent_id, offline, trusted, auth_time, amr, openid, claims, resource)
		VALUES ($1, $2, decode(repeat('5a', 16), 'hex'), now() + interval '1 h', now() + interval '2 h', now() - interval '1 s', 'logout', '192.0.2.7', 'a browser',
			'files:read', 'shop', '192.0.2.0/24', $3, true, true, now() - interval '3 s', '{pwd}', 'openid profile', 'id_token:email', 'https://files.test/')`,
		session, alice, parent)
	a.exec("INSERT INTO consents VALUES ($1, 'shop', '{openid,profile}', now() - interval '1 h')",
		alice)
	a.exec(`INSERT INTO authorization_codes
		VALUES (sha256('code'), $1, $2, 1, 'shop', 'https://shop.test/back', repeat('c', 43), 'files:read', 'openid', 'userinfo:name', 'the nonce',
			now() - interval '3 s', '{pwd}', now() + interval '1 min', now(), $1, 'https://mail.test/')`, session, alice)
	a.exec(`INSERT INTO authorization_codes (digest, user_id, token_version, challenge, auth_time, amr, expires_at)
		VALUES (sha256('another code'), $1, 1, repeat('d', 43), now(), '{pwd}', now() + interval '1 min')`, alice)
	a.exec(`INSERT INTO totp_secrets VALUES ($1, decode(repeat('7e', 40), 'hex'), 1, '2026-01-02T03:04:05Z')`, alice)
	a.exec(`INSERT INTO recovery_codes VALUES ($1, sha256('used'), '2026-01-01T03:04:05Z', '2026-01-02T03:04:05Z'),
		($1, sha256('left'), '2026-01-01T03:04:05Z', NULL)`, alice)
	a.exec(`INSERT INTO passkeys VALUES (gen_random_uuid(), $1, decode(repeat('7d', 20), 'hex'), decode(repeat('7c', 40), 'hex'),
		'the key of alice', 7, gen_random_uuid(), true, true, true, '{usb,nfc}', now() - interval '1 h', now())`, alice)
	a.exec(`INSERT INTO trusted_devices VALUES ($1, gen_random_uuid(), now() - interval '1 h', now() + interval '1 h', '192.0.2.9', 'a trusted browser')`, alice)
	a.exec(`INSERT INTO mails (id, kind, user_id, created_at, expires_at, attempts, outcome, problem, done_at)
		VALUES (gen_random_uuid(), 'new_device', $1, now() - interval '1 h', now() + interval '1 h', 2, 'dead', 'the problem', now())`, alice)
	a.exec(`INSERT INTO challenges (id, purpose, user_id, email, email_key, created_at, expires_at, redeemed_at)
		VALUES (gen_random_uuid(), 'undo', $1, 'Old@example.org', 'old@example.org', now() - interval '1 h', now() + interval '1 h', now())`, alice)
	a.exec(`INSERT INTO audit_events (action, outcome, actor, actor_id, user_id, target, request_id, client_address, user_agent, count)
		VALUES ('logout', 'success', 'user', $1, $1, 'a target', 'a request', '192.0.2.8', 'another browser', 3)`,
		alice)
	return parent, session
}

// wantTold compares a row with what the document says of it.
func (a *audited) wantTold(answer answered, table string, c columns, key, value string) {
	a.Helper()
	var raw string
	must(a, a.owner.QueryRow(a.Context(), fmt.Sprintf(
		"SELECT to_jsonb(t) FROM %s t WHERE %s::text = $1", table, key), value).Scan(&raw))
	var row map[string]any
	must(a, json.Unmarshal([]byte(raw), &row))
	entries := []any{answer.json(a, "account")}
	if c.list != "" {
		entries = answer.json(a, c.list).([]any)
	}
	if !slices.ContainsFunc(entries, func(entry any) bool {
		return slices.ContainsFunc(slices.Collect(maps.Keys(c.told)), func(column string) bool {
			return column == key &&
				strings.Contains(said(entry.(map[string]any)[c.told[column]]), said(row[column]))
		})
	}) {
		a.Fatalf("%s: there is no entry for %s", table, raw)
	}
	for _, entry := range entries {
		entry := entry.(map[string]any)
		if said(entry[c.told[key]]) != said(row[key]) && len(entries) > 1 {
			continue
		}
		for column, name := range c.told {
			want, got := said(row[column]), said(entry[name])
			switch {
			case table == "audit_events" && (column == "actor" || column == "user_id"):
				want = "self"
			case column == "password_changed_at" && strings.HasPrefix(want, "1970"):
				want = "<nil>"
			}
			if got != want {
				a.Errorf("%s.%s is %q, and %s says %q", table, column, want, name, got)
			}
		}
	}
}

// said is a value of JSON in a form that does not depend on who wrote it.
func said(value any) string {
	switch v := value.(type) {
	case string:
		if at, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return at.UTC().Format(time.RFC3339Nano)
		}
	case []any:
		var parts []string
		for _, part := range v {
			parts = append(parts, said(part))
		}
		return strings.Join(parts, " ")
	case map[string]any:
		return said(v["id"])
	}
	return fmt.Sprint(value)
}

// Whoever gets hold of the file must not get into the account with it, nor know anybody else.
func TestAnExportHasNoSecretsAndNothingOfAnother(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	mallory := a.tokensOf(a.loginNew("mallory"))
	a.fill()
	a.want("a grant to another", a.as(a.root, "PUT", a.path("mallory", "/roles/clerk"), ""), 204)
	a.want("a ban by another", a.as(a.root, "DELETE", a.path("mallory", "/sessions"), ""), 204)
	answer := a.as(a.alice, "GET", "/users/me/data", "")
	a.want("export", answer, 200)
	if got := answer.header.Get("Content-Disposition"); got !=
		`attachment; filename="account-data.json"` {
		t.Error(got)
	}
	secrets := map[string]string{
		"the password": goodPassword, "access token": a.alice.access,
		"refresh token": a.alice.refresh, "mallory": "mallory", "mallory's id": a.idOf("mallory").String(),
		"mallory's session": sessionOf(t, mallory), "root": `"root"`,
		"root's id": a.idOf("root").String(), "root's session": sessionOf(t, a.root),
		"nonce": "the nonce",
	}
	rows, err := a.owner.Query(t.Context(), `
		SELECT 'hash of a password', password_hash FROM users
		UNION ALL SELECT 'salt', encode(salt, 'hex') FROM sessions
		UNION ALL SELECT 'salt', encode(salt, 'base64') FROM sessions
		UNION ALL SELECT 'digest of a code', encode(digest, 'hex') FROM authorization_codes
		UNION ALL SELECT 'challenge', challenge FROM authorization_codes
		UNION ALL SELECT 'challenge of a mail', id::text FROM challenges
		UNION ALL SELECT 'problem of a relay', problem FROM mails
		UNION ALL SELECT 'secret of an app', encode(sealed, 'hex') FROM totp_secrets
		UNION ALL SELECT 'recovery code', encode(digest, 'hex') FROM recovery_codes
		UNION ALL SELECT 'key of a passkey', encode(public_key, 'hex') FROM passkeys
		UNION ALL SELECT 'passkey', encode(credential_id, 'hex') FROM passkeys
		UNION ALL SELECT 'trusted device', device_id::text FROM trusted_devices
		UNION ALL SELECT 'skeleton', encode(skeleton, 'hex') FROM username_skeletons WHERE skeleton IS NOT NULL`)
	must(t, err)
	for rows.Next() {
		var name, secret string
		must(t, rows.Scan(&name, &secret))
		secrets[name+" "+secret] = secret
	}
	must(t, rows.Err())
	for name, secret := range secrets {
		if strings.Contains(answer.body, secret) {
			t.Errorf("%s is in it", name)
		}
	}
	if !strings.Contains(answer.body, a.session) {
		t.Error("the own session is not in it")
	}
}

// The list of sessions would show an app as a login of nobody knows whom.
func TestTheListOfSessionsNamesAppsAndBrowsers(t *testing.T) {
	t.Parallel()
	a := startAudited(t, settings{})
	grant, err := a.rules.Logins.LoginInBrowser(t.Context(), "alice", goodPassword, auth.Caller{},
		auth.BrowserLogin{})
	must(t, err)
	opened, err := a.rules.Browsers.Open(t.Context(), grant.Cookie)
	must(t, err)
	parent := opened.Access.SessionID.String()
	_, child := a.fill()
	a.exec(`UPDATE sessions SET ended_at = NULL, end_reason = NULL, parent_id = $1 WHERE id = $2`,
		parent, child)
	want := map[string]string{
		a.session: "map[browser:false client:<nil> parent:<nil>]",
		parent:    "map[browser:true client:<nil> parent:<nil>]",
		child:     "map[browser:false client:map[id:shop title:The shop] parent:" + parent + "]",
	}
	for path, by := range map[string]tokens{
		"/users/me/sessions": a.alice, a.path("alice", "/sessions"): a.root,
	} {
		got := make(map[string]string)
		for _, s := range a.as(by, "GET", path, "").json(t, "sessions").([]any) {
			s := s.(map[string]any)
			got[s["id"].(string)] = fmt.Sprint(map[string]any{
				"client": s["client"], "browser": s["browser"], "parent": s["parent"],
			})
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
