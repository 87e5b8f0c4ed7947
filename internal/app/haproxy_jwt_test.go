package app_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"gatehouse.example/internal/dbtest"
)

// HAProxy's documentation compares aud with a string. An array with that string would be refused.
func TestHAProxysOwnCheckOfATokenLetsItIn(t *testing.T) {
	t.Parallel()
	haproxy := proxyProgram{name: "haproxy", args: []string{"-db", "-f", "haproxy.cfg"}}
	haproxy.find(t)
	r := boot(t, dbtest.New(t), "--algorithm=ES256")
	var set jose.JSONWebKeySet
	must(t, json.Unmarshal([]byte(r.got(r.public+"/.well-known/jwks.json").body), &set))
	der, err := x509.MarshalPKIXPublicKey(set.Keys[0].Key)
	must(t, err)
	dir, address := t.TempDir(), dbtest.FreeAddr(t)
	must(t, os.WriteFile(filepath.Join(dir, "key.pem"),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "haproxy.cfg"), []byte(`
defaults
    mode http
    timeout client 1m
    timeout server 1m
    timeout connect 1s
frontend api
    bind `+address+`
    http-request set-var(txn.bearer) http_auth_bearer
    http-request set-var(txn.alg) var(txn.bearer),jwt_header_query('$.alg')
    http-request deny unless { var(txn.alg) -m str ES256 }
    http-request deny unless { var(txn.bearer),jwt_payload_query('$.iss') -m str http://localhost:8000 }
    http-request deny unless { var(txn.bearer),jwt_payload_query('$.aud') -m str gatehouse }
    http-request deny unless { var(txn.bearer),jwt_verify(txn.alg,"`+filepath.Join(dir, "key.pem")+
		`") 1 }
    http-request return status 200 content-type text/plain lf-string %[var(txn.bearer),jwt_payload_query('$.username')]
`), 0o644))
	haproxy.run(t, dir, address)
	raw := r.loggedIn("alice", goodPassword)
	for sent, want := range map[string]int{raw: http.StatusOK,
		raw[:len(raw)-1]: http.StatusForbidden} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
			"http://"+address+"/", nil)
		must(t, err)
		request.Header.Set("Authorization", "Bearer "+sent)
		a, err := send(r.plain, request)
		must(t, err)
		if a.status != want || want == http.StatusOK && a.body != "alice" {
			t.Errorf("%d %q, want %d", a.status, a.body, want)
		}
	}
}
